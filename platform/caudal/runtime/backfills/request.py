"""One file `backfills/<date>-<name>.yaml` of a company: what to make again, why, who asks, and who has looked at it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from caudal.declaration import DeclarationError, Document, read_yaml

_NAME = re.compile(r"(?P<date>\d{4}-\d{2}-\d{2})-[a-z0-9][a-z0-9_-]*\.ya?ml")
#: The runtime and Dagster set these themselves.
_OWN_TAGS = ("dagster/", "caudal/")


def _text(value: Any) -> Any:
    """YAML reads 2017-03-01 as a date, and a time of day with it as a moment; partitions are texts."""
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d-%H:%M}"
    return value.isoformat() if isinstance(value, dt.date) else value


Text = Annotated[str, BeforeValidator(_text), Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class DeclaredRange(_Strict):
    """From the first partition to the last, both included."""

    first: Text = Field(alias="from")
    last: Text = Field(alias="to")


class DeclaredBackfill(_Strict):
    """The file as it is written."""

    assets: list[Text] = Field(min_length=1)
    downstream: bool = False
    partitions: DeclaredRange | list[Text] | None = None
    files: list[Text] | None = None
    reason: str = Field(min_length=10)
    requested_by: str = Field(min_length=1)
    reviewed_by: str | None = None
    tags: dict[str, Text] = {}
    priority: int = 0
    one_run_at_a_time: bool = False

    @field_validator("partitions", mode="before")
    @classmethod
    def _is_one_of_two(cls, value: Any) -> Any:
        if value is None or isinstance(value, dict | list):
            return value
        raise ValueError(f"found {value!r}; expected a list of partitions, or `from` and `to`")


@dataclass(frozen=True)
class Request:
    """What a file asks for.

    Attributes:
        path: the file.
        name: its name without suffix.
        assets: keys with slashes.
        downstream: whether all that is below them is made again as well.
        first, last: the ends of a range of partitions, both included; "" if there is none.
        partitions: partitions by name; empty with a range, and for assets without partitions. The files of datasets that are
            partitioned by file are named so too.
        reviewed_by: "" as long as nobody has.
        document: where each setting stands in the file.

    """

    path: Path
    name: str
    assets: tuple[str, ...]
    reason: str
    requested_by: str
    reviewed_by: str = ""
    downstream: bool = False
    first: str = ""
    last: str = ""
    partitions: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    priority: int = 0
    one_run_at_a_time: bool = False
    document: Document | None = None

    @property
    def content_hash(self) -> str:
        """Differs when the file asks for anything else, or by or for somebody else. Comments and layout do not count."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("path", "document")}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def id(self) -> str:
        """The name of the backfill in Dagster: always the same for the same request, and at most 32 letters long."""
        return f"caudal-{self.content_hash[:20]}"

    def error(self, setting: str, problem: str) -> DeclarationError:
        """An error about one of the file's settings, with its line."""
        if self.document is None:
            return DeclarationError(f"{self.path}: {problem}")
        return self.document.error((setting,), problem)


def read_request(path: Path) -> Request:
    """The request in the file at `path`.

    Raises:
        DeclarationError: it is not one; with file, line and what was expected.

    """
    document = read_yaml(path)
    named = _NAME.fullmatch(path.name)
    if named is None or not _is_date(named["date"]):
        raise DeclarationError(
            f"{path}: the file's name is {path.name!r}; expected a date and a name in small letters, such as "
            "2026-11-21-reload-march.yaml"
        )
    declared = document.validate(DeclaredBackfill)
    if declared.partitions is not None and declared.files is not None:
        raise document.error(("files",), "`files` and `partitions` are both given; keep one. The files are the partitions")
    reviewer = (declared.reviewed_by or "").strip()
    if reviewer and reviewer.casefold() == declared.requested_by.strip().casefold():
        raise document.error(
            ("reviewed_by",), f"`reviewed_by` is {reviewer!r}, who asks for it; expected somebody else, who has read this file"
        )
    for tag in declared.tags:
        if tag.startswith(_OWN_TAGS):
            raise document.error(("tags", tag), f"the tag {tag!r} is the platform's own; choose a name of yours")
    ends = declared.partitions if isinstance(declared.partitions, DeclaredRange) else None
    listed = (
        declared.files if declared.files is not None else declared.partitions if isinstance(declared.partitions, list) else []
    )
    if ends is None and not listed and (declared.files is not None or declared.partitions is not None):
        place = "files" if declared.files is not None else "partitions"
        raise document.error(
            (place,), f"`{place}` is empty; name what to make again, or leave it out for assets without partitions"
        )
    return Request(
        path=path,
        name=path.stem,
        assets=tuple(dict.fromkeys(asset.strip("/") for asset in declared.assets)),
        reason=declared.reason.strip(),
        requested_by=declared.requested_by.strip(),
        reviewed_by=reviewer,
        downstream=declared.downstream,
        first=ends.first if ends else "",
        last=ends.last if ends else "",
        partitions=tuple(dict.fromkeys(listed)),
        tags=tuple(sorted(declared.tags.items())),
        priority=declared.priority,
        one_run_at_a_time=declared.one_run_at_a_time,
        document=document,
    )


def requests_in(folder: Path) -> list[Path]:
    """The files of requests, the oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and not path.name.startswith("."))


def _is_date(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True
