"""How files of the formats that need telling are written, and how much a packed one may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

Compression = Literal["auto", "none", "gzip", "bz2", "zstd", "xz", "zip"]


@dataclass(frozen=True)
class Limits:
    """What one lake file may cost. What goes beyond is refused before the disk or memory is spent.

    Attributes:
        unpacked_bytes: that it holds when unpacked, all members of an archive together.
        ratio: of the unpacked size to the packed one, once `ratio_from_bytes` are unpacked.
        members: of an archive.
        free_disk_bytes: that are left free where it is unpacked.
        depth: of elements within elements in XML.

    """

    unpacked_bytes: int = 64 << 30
    ratio: float = 250
    ratio_from_bytes: int = 32 << 20
    members: int = 10_000
    free_disk_bytes: int = 1 << 30
    depth: int = 64


@dataclass(frozen=True)
class JsonOptions:
    """Where the array of rows stands in a JSON document.

    Attributes:
        records: the keys that lead to it, with points between, such as `data.items`; "" where the document is the array.

    """

    records: str = ""


@dataclass(frozen=True)
class XmlOptions:
    """Which elements of an XML document are rows.

    Attributes:
        record: the names that lead to them from the root on, such as `orders/order`. A prefix in it stands for a namespace of
            `namespaces`; a name without one is that name in any namespace.
        namespaces: prefix -> URI.
        null_markers: texts that stand for no value, beside the empty one.

    """

    record: str = ""
    namespaces: Mapping[str, str] = field(default_factory=dict)
    null_markers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for step in self.steps:
            prefix, colon, name = step.rpartition(":")
            if not name or (colon and prefix not in self.namespaces):
                raise ValueError(f"xml.record is `{self.record}`: `{step}` is no name, or its prefix is not in `namespaces`")

    @property
    def steps(self) -> list[str]:
        """The names from the root on."""
        return self.record.strip("/").split("/") if self.record else []


@dataclass(frozen=True)
class FixedWidthOptions:
    """Where the values stand on a line, in characters.

    Attributes:
        columns: name -> (first place from 1, width).
        widths: instead, those of the contract's columns, which stand side by side in its order.
        length: of a line; None for the last place of the last column.
        encoding: as Python names it, or `auto`.
        skip_lines, skip_footer: lines before the first row and after the last; blank ones at the end are not counted.
        null_markers: texts that stand for no value, beside blanks.

    """

    columns: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    widths: tuple[int, ...] = ()
    length: int | None = None
    encoding: str = "utf-8"
    skip_lines: int = 0
    skip_footer: int = 0
    null_markers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, place in self.columns.items():
            if len(place) != 2 or min(place) < 1:
                raise ValueError(f"fixed_width.columns.{name} is {list(place)}; expected [first place from 1, width]")
        if self.widths and (self.columns or min(self.widths) < 1):
            raise ValueError(f"fixed_width.widths is {list(self.widths)}; expected widths from 1, and no `columns` beside them")

    def places(self, names: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """Where each column stands, in a contract of the columns `names`.

        Raises:
            ValueError: the widths are not as many.

        """
        if not self.widths:
            return self.columns
        if len(self.widths) != len(names):
            raise ValueError(f"fixed_width.widths has {len(self.widths)} widths; the contract has {len(names)} columns")
        starts = accumulate(self.widths, initial=1)
        return {name: (start, width) for name, start, width in zip(names, starts, self.widths, strict=False)}

    @property
    def line_length(self) -> int:
        """How many characters a line has."""
        ends = [start + width - 1 for start, width in self.columns.values()]
        return self.length or max(ends, default=sum(self.widths))
