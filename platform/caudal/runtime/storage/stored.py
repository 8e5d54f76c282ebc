"""What the three storages have in common: where their file is, and which of Dagster's methods are one transaction."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from caudal.runtime.storage import databases

if TYPE_CHECKING:
    from dagster._config.config_schema import UserConfigSchema
    from dagster._serdes import ConfigurableClassData

    from caudal.runtime.storage.databases import Database


class Stored:
    """A storage in one file below the folder of the instance that it is registered with.

    Dagster makes storages before the instance that they belong to, and only that knows its folder.
    """

    file_name: str
    _database_or_none: Database | None = None
    _folder: str | None = None

    def __init__(self, base_dir: str | None = None) -> None:
        self._folder = base_dir
        super().__init__("")  # ty: ignore[too-many-positional-arguments] - Dagster's, which asks for a connection string

    @staticmethod
    def make(path: Path) -> None:
        """A new, empty database at `path`, by Dagster's own class."""
        raise NotImplementedError

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        made: Any = cls(**config_value)
        made._inst_data = inst_data  # noqa: SLF001
        return made

    @property
    def database(self) -> Database:
        """The file of this storage, opened when it is first asked for.

        Raises:
            RuntimeError: the storage has neither a folder nor an instance.

        """
        if self._database_or_none is None:
            if self._folder is None:
                raise RuntimeError(f"{type(self).__name__} has no `base_dir` and is not registered with an instance")
            self._database_or_none = databases.hold(Path(self._folder) / "database" / self.file_name, self, self.make)
        return self._database_or_none

    def register_instance(self, instance: Any) -> None:
        """Below the instance's folder, unless another one was said."""
        super().register_instance(instance)  # ty: ignore[missing-attribute]
        if self._folder is None:
            self._folder = instance.root_directory

    def dispose(self) -> None:
        """Close the file, if nobody else in this process uses it. It is opened again when it is asked for."""
        super().dispose()  # ty: ignore[missing-attribute]
        self._database_or_none = None
        databases.release(self)


def in_one_transaction(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same method of a `Stored`, as one transaction that nobody else's changes come between."""

    @functools.wraps(method)
    def whole(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.database.transaction():
            return method(self, *args, **kwargs)

    return whole


def known_once_true(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same question about the schema, asked until the answer is yes: a schema loses nothing while it is in use."""
    name = getattr(method, "__name__", "")

    @functools.wraps(method)
    def known(self: Any, *args: Any) -> Any:
        answers = self.__dict__.setdefault("_known", set())
        question = (name, *(each for each in args if isinstance(each, str)))
        if question in answers:
            return True
        answer = method(self, *args)
        if answer:
            answers.add(question)
        return answer

    return known
