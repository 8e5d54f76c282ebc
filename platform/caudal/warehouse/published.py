"""Reading what has been published. Readers hold the version that they opened and are never waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caudal.warehouse.engine import link_extensions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from caudal.environment import Environment


class NothingPublished(FileNotFoundError):
    """No version has been published yet."""


@dataclass(frozen=True)
class PublishedTable:
    """A table that readers may rely on, and the asset that it is.

    Attributes:
        key: the asset key, `(stage, domain, name)`.
        relation: `schema.table` in the published file.
        columns: `(name, type, description)` of each.
        personal: columns whose values are masked wherever they are shown, `caudal.contracts.masking.Names`.

    """

    key: tuple[str, ...]
    relation: str
    description: str = ""
    owners: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    columns: tuple[tuple[str, str, str], ...] = ()
    personal: Collection[str] = ()

    @property
    def domain(self) -> str:
        return self.key[1]

    @property
    def name(self) -> str:
        return self.key[-1]


def connect(env: Environment, file: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the published file, that looks for a table in `marts`, then in the other schemas.

    Args:
        file: of a version that is kept, to be read instead of the newest.

    Raises:
        NothingPublished: with what to do about it.

    """
    import duckdb

    if not env.published.is_file():
        raise NothingPublished(
            f"Nothing is published in {env.published} yet. Materialize a mart first (`make run`, or the Dagster UI)."
        )
    config: dict[str, str | float | list[str]] = {"extension_directory": str(link_extensions(env))}
    if file is not None:
        connection = duckdb.connect(str(file), read_only=True, config=config)
        _search_published(connection)
        return connection
    version = env.published.resolve()  # A process shares its connections to one path, so each version needs its own.
    while True:
        try:
            connection = duckdb.connect(str(version), read_only=True, config=config)
        except duckdb.IOException:
            # Whoever slept between the two lines for longer than a version stays finds that it was removed.
            newer = env.published.resolve()
            if newer == version:
                raise
            version = newer
        else:
            _search_published(connection)
            return connection


def read_arrow(env: Environment, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> pa.Table:
    """The result of one query on the published version, as an Arrow table.

    Raises:
        NothingPublished: no version has been published yet.

    """
    with connect(env) as connection:
        return connection.execute(sql, parameters).to_arrow_table()


def _search_published(connection: duckdb.DuckDBPyConnection) -> None:
    schemas = {row[0] for row in connection.execute("SELECT schema_name FROM duckdb_schemas()").fetchall()}
    path = [s for s in ("marts", "predictions", "evaluation", "explore", "staging", "raw", "quarantine") if s in schemas]
    if path:
        connection.execute(f"SET search_path = '{','.join(path)}'")
