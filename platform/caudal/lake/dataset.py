"""A dataset: files of one shape under one lake prefix, declared once."""

from __future__ import annotations

import datetime as dt
import fnmatch
import hashlib
import re
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Literal

from caudal.contracts import Contract
from caudal.lake.excel_options import ExcelOptions
from caudal.lake.options import Compression, FixedWidthOptions, JsonOptions, Limits, XmlOptions

Format = Literal["csv", "jsonl", "json", "parquet", "avro", "orc", "excel", "xml", "fixed_width"]
PartitionBy = Literal["none", "file", "day", "hour"]
OnDelete = Literal["keep", "remove"]
Copies = Literal["load", "refuse"]
Duplicates = Literal["row", "key", "off"]

#: Settings that say nothing of how a file is read.
_NOT_READING = frozenset(
    {
        "contract",
        "owners",
        "on_delete",
        "max_rejected_share",
        "workers",
        "order_by",
        "duplicates",
        "expect_duplicates",
        "rejects_retention_days",
        "timeout_s",
    }
)

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
        delimiter: one character between the values, or `auto`: found out by the first lines, and recorded.
        quote: the character around values that hold a delimiter, or "" for none.
        encoding: as Python names it: text in another one is quarantined. `auto`: found out by the bytes, and recorded.
        header: whether the first line names the columns; without, the columns are the contract's, in order.
        null_markers: texts that stand for no value, beside the empty one.
        escape: a character that takes the meaning from the delimiter, quote, newline or itself after it, or "" for none.
        comment: what a line starts with that is no row, or "" for none.
        skip_lines, skip_footer: lines before the header and after the last row; blank ones at the end are not counted.

    """

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool = True
    null_markers: tuple[str, ...] = ()
    escape: str = ""
    comment: str = ""
    skip_lines: int = 0
    skip_footer: int = 0


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
        copies: whether a file is loaded that has the same content, byte for byte, as one that is loaded under another name.
        workers: processes that normalize its files side by side, where a run has much to load.
        encoding: of JSON lines and JSON, as Python names it, or `auto`.
        compression: of its files: `auto` tells by their first bytes.
        members: which files of an archive are read: a glob such as `*.csv`.
        limits: what one file may cost.
        order_by: the column that tells which of several rows of one key is the newest; for the view of the latest rows.
        duplicates: what is counted when it stands in more than one file, or member of a file: whole rows, keys, or nothing.
        expect_duplicates: such rows are meant; they are counted all the same, and the check says so.
        rejects_retention_days: how long rejects are kept, and those of files that are gone no longer; None: for ever.
        timeout_s: a load that takes longer is ended; None: none is.

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
    copies: Copies = "load"
    workers: int = 1
    encoding: str = "utf-8"
    csv: CsvOptions = field(default_factory=CsvOptions)
    excel: ExcelOptions = field(default_factory=ExcelOptions)
    json: JsonOptions = field(default_factory=JsonOptions)
    xml: XmlOptions = field(default_factory=XmlOptions)
    fixed_width: FixedWidthOptions = field(default_factory=FixedWidthOptions)
    compression: Compression = "auto"
    members: str = "*"
    limits: Limits = field(default_factory=Limits)
    order_by: str | None = None
    duplicates: Duplicates = "row"
    expect_duplicates: bool = False
    rejects_retention_days: int | None = None
    timeout_s: float | None = None
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
        if self.format == "xml" and not self.xml.record:
            raise ValueError(f"{self.id}: `xml.record` is missing: which elements are rows, such as `orders/order`")
        if self.format == "fixed_width" and not self.fixed_width.places(self.contract.column_names):
            raise ValueError(f"{self.id}: `fixed_width.columns` is missing: where values stand, such as `{{name: [1, 20]}}`")
        if self.workers < 1 or (self.workers > 1 and self.copies == "refuse"):
            raise ValueError(
                f"{self.id}: workers is {self.workers}; expected at least 1, and 1 with `copies: refuse`, which compares files"
            )
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise ValueError(f"{self.id}: timeout_s is {self.timeout_s}; expected a number of seconds above 0")
        _ = self._name_pattern
        self._check_order()

    @property
    def id(self) -> str:
        """`<source>/<name>`: what the ledger and people call it."""
        return f"{self.source}/{self.name}"

    @property
    def table(self) -> str:
        """`<source>__<name>`: its raw table."""
        return f"{self.source}__{self.name}"

    @property
    def null_markers(self) -> tuple[str, ...]:
        """Texts that stand for no value, beside the empty one."""
        options = {"csv": self.csv, "excel": self.excel, "xml": self.xml, "fixed_width": self.fixed_width}.get(self.format)
        return options.null_markers if options else ()

    @property
    def prefix(self) -> str:
        """Where its files lie, relative to the lake."""
        return f"{self.source}/{self.name}"

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of all that decides how its files are read: when it changes, files that were refused are tried again."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_READING}
        return hashlib.sha256(repr((self.contract.fingerprint, told)).encode()).hexdigest()[:16]

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

    def _check_order(self) -> None:
        for setting, value in (("order_by", self.order_by), ("duplicates", self.duplicates == "key")):
            if value and not self.contract.primary_key:
                raise ValueError(f"{self.id}: `{setting}` needs a key: declare `primaryKey: true` on columns of the contract")
        if self.order_by is not None:
            column = next((c for c in self.contract.columns if c.name == self.order_by), None)
            if column is None:
                names = ", ".join(self.contract.column_names)
                raise ValueError(f"{self.id}: order_by is {self.order_by!r}; expected a column of the contract: {names}")
            if column.logical_type in ("object", "array"):
                kind = column.logical_type
                raise ValueError(f"{self.id}: order_by is `{column.name}`, an {kind}; expected a column that has an order")
        days = self.rejects_retention_days
        if days is not None and days < 1:
            raise ValueError(f"{self.id}: rejects_retention_days is {days}; expected at least 1, or none")

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
