"""A dataset: files of one shape under one lake prefix, declared once."""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from caudal.contracts import Contract

Format = Literal["csv", "jsonl", "parquet", "excel"]
PartitionBy = Literal["none", "file", "day", "hour"]
OnDelete = Literal["keep", "remove"]

PARTITION_KEY_FORMATS = {"day": "%Y-%m-%d", "hour": "%Y-%m-%d-%H:%M"}

_DIRECTIVES = {
    "%Y": r"\d{4}",
    "%m": r"\d{2}",
    "%d": r"\d{2}",
    "%H": r"\d{2}",
    "%M": r"\d{2}",
    "%y": r"\d{2}",
    "%b": "[A-Za-z]{3}",
}


@dataclass(frozen=True)
class CsvOptions:
    """How delimited text is written.

    Attributes:
        delimiter: one character between the values.
        quote: the character around values that hold a delimiter, or "" for none.
        encoding: as Python names it. Text in another encoding is quarantined, never guessed.
        header: whether the first line names the columns; without, the columns are the contract's, in order.
        null_markers: texts that stand for no value, beside the empty one.

    """

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool = True
    null_markers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExcelOptions:
    """Where the table stands in the workbook.

    Attributes:
        sheet: its name, or None for the only sheet of the workbook.
        header_row: the row that names the columns, counted from 1 as Excel does.
        null_markers: texts that stand for no value, beside the empty cell.

    """

    sheet: str | None = None
    header_row: int = 1
    null_markers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """One dataset as declared.

    Attributes:
        source, name: lower-case words; together the prefix below the lake.
        path: which objects below the prefix belong to it: a glob such as `*.csv`, or for time partitions a template such as
            `{day:%Y-%m-%d}.csv`.
        partition_by: `file`: a Dagster partition for each lake file; `day`, `hour`: for each of those; `none`.
        start, end: the first partition, and the one after the last (None: it goes on), for time partitions.
        on_delete: whether the rows of a lake file that was deleted stay in the raw table.
        max_rejected_share: above this share of rejected rows, 0 to 1, the check on the raw table fails.
        encoding: of JSON lines.

    """

    source: str
    name: str
    format: Format
    contract: Contract
    path: str = "*"
    partition_by: PartitionBy = "none"
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    on_delete: OnDelete = "keep"
    max_rejected_share: float = 0.0
    encoding: str = "utf-8"
    csv: CsvOptions = field(default_factory=CsvOptions)
    excel: ExcelOptions = field(default_factory=ExcelOptions)
    owners: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for label, value in (("source", self.source), ("name", self.name)):
            if not re.fullmatch(r"[a-z][a-z0-9_]*", value) or "__" in value:
                raise ValueError(f"{label} is {value!r}; expected lower-case letters, digits and single underscores")
        if self.partition_by in PARTITION_KEY_FORMATS:
            if self.start is None:
                raise ValueError(f"{self.id}: partition_by {self.partition_by} needs `start`, the first {self.partition_by}")
            if f"{{{self.partition_by}:" not in self.path:
                raise ValueError(
                    f"{self.id}: path is {self.path!r}; with partition_by {self.partition_by} it must say where in the name "
                    f"the {self.partition_by} stands, such as `{{{self.partition_by}:%Y-%m-%d}}.{self.format}`"
                )
        _ = self._name_pattern

    @property
    def id(self) -> str:
        """`<source>/<name>`: what the ledger and people call it."""
        return f"{self.source}/{self.name}"

    @property
    def table(self) -> str:
        """`<source>__<name>`: its raw table."""
        return f"{self.source}__{self.name}"

    @property
    def prefix(self) -> str:
        """Where its files lie, relative to the lake."""
        return f"{self.source}/{self.name}"

    def refusal(self, path: str) -> str | None:
        """Why the object at `path` (relative to the lake) cannot belong to the dataset, or None if it does."""
        match = self._name_pattern.fullmatch(self._relative(path))
        if not match:
            return f"the name does not match the declared path `{self.path}`"
        if self.partition_by in PARTITION_KEY_FORMATS:
            try:
                moment = self._moment(match)
            except ValueError as bad:
                return f"the name does not hold a {self.partition_by}: {bad}"
            if (self.start and moment < self.start) or (self.end and moment >= self.end):
                span = f"{self.start} to {self.end or 'now on'}"
                return f"{self.partition_by} {moment:%Y-%m-%d %H:%M} is outside the declared partitions ({span})"
        return None

    def partition_of(self, path: str) -> str | None:
        """The Dagster partition key of an object that belongs to the dataset; None where it has no partitions."""
        if self.partition_by == "none":
            return None
        if self.partition_by == "file":
            return self._relative(path)
        match = self._name_pattern.fullmatch(self._relative(path))
        if match is None:
            raise ValueError(f"{path}: {self.refusal(path)}")
        return self._moment(match).strftime(PARTITION_KEY_FORMATS[self.partition_by])

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self.prefix}/")

    def _moment(self, match: re.Match[str]) -> dt.datetime:
        return dt.datetime.strptime(match["moment"], self._moment_format)

    @cached_property
    def _moment_format(self) -> str:
        found = re.search(r"\{(?:day|hour):([^}]+)\}", self.path)
        return found[1] if found else ""

    @cached_property
    def _name_pattern(self) -> re.Pattern[str]:
        template = re.fullmatch(r"(.*)\{(?:day|hour):([^}]+)\}(.*)", self.path)
        if not template:
            return re.compile(fnmatch.translate(self.path))
        before, moment, after = template.groups()
        pieces = re.split(r"(%[A-Za-z])", moment)
        for piece in pieces[1::2]:
            if piece not in _DIRECTIVES:
                raise ValueError(f"{self.id}: path {self.path!r}: {piece} is not understood; known are {' '.join(_DIRECTIVES)}")
        body = "".join(_DIRECTIVES.get(piece, re.escape(piece)) for piece in pieces)
        return re.compile(f"{_glob(before)}(?P<moment>{body}){_glob(after)}")


def _glob(text: str) -> str:
    return fnmatch.translate(text).removeprefix("(?s:").removesuffix(r")\Z")
