"""The SQL that makes a part, and the rejects, of rows that a reader gives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from caudal.lake.readers.rows import LakeFile, SourceColumn, Unreadable
from caudal.warehouse.casting import Cast, is_absent, without_markers
from caudal.warehouse.native_casting import cast_native, shown
from caudal.warehouse.rules import violations
from caudal.warehouse.sql import first_of, identifier, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from caudal.contracts import Column, Contract


@dataclass(frozen=True)
class _Typed:
    """A column of the contract: `s<n>` is its value in the source, `v<n>` the typed one."""

    column: Column
    source: SourceColumn | None
    number: int
    cast: Cast
    null_markers: Sequence[str]

    @property
    def s(self) -> str:
        return f"s{self.number}"

    @property
    def v(self) -> str:
        return f"v{self.number}"

    @property
    def source_value(self) -> str:
        if self.source is None:
            return "CAST(NULL AS VARCHAR)"
        name = identifier(self.source.name)
        return without_markers(self.column, name, self.null_markers) if self.source.kind == "text" else name

    @property
    def value(self) -> str:
        """SQL of the typed value. A zero has no sign: DuckDB's Parquet would keep that of some and not of others."""
        typed = f"CAST({self.cast.value} AS {self.column.duckdb_type})"
        return f"{typed} + 0::DOUBLE" if self.column.duckdb_type == "DOUBLE" else typed

    @property
    def _absent(self) -> str:
        is_text = self.source is not None and self.source.kind == "text"
        return is_absent(self.column, self.s) if is_text else f"{self.s} IS NULL"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Conditions under which the row is rejected, each with the SQL of the reason to tell."""
        yield f"{self.v} IS NULL AND NOT ({self._absent})", self.cast.reason
        if self.column.required:
            yield self._absent, text("no value, and one is required")
        for condition, reason in violations(self.column, self.v):
            yield condition, text(reason)

    @property
    def accepted(self) -> str:
        """A condition that is true where none of `problems` is."""
        has_value = f"{self.v} IS NOT NULL"
        present = has_value if self.column.required else f"({has_value} OR {self._absent})"
        return " AND ".join([present, *(f"({condition}) IS NOT TRUE" for condition, _ in violations(self.column, self.v))])


@dataclass(frozen=True)
class Statements:
    """The statements over a relation of lake files that give the same source columns.

    Attributes:
        relation: with the source columns, `PLACE_COLUMNS`, and `_index`, the place of the lake file in `files`.

    """

    contract: Contract
    sources: tuple[SourceColumn, ...]
    null_markers: tuple[str, ...]
    relation: str
    loaded_at: datetime

    @cached_property
    def _typed(self) -> list[_Typed]:
        by_name = {source.name: source for source in self.sources}
        typed = []
        for number, column in enumerate(self.contract.columns):
            source = by_name.get(column.name)
            cast = cast_native(column, source, f"s{number}") if source else Cast("NULL", "NULL")
            if cast is None:
                assert source is not None
                raise Unreadable(_mismatch(column, source))
            typed.append(_Typed(column, source, number, cast, self.null_markers))
        return typed

    def check(self) -> None:
        """Raise `Unreadable` where the type of a source column is no form of the declared one."""
        _ = self._typed

    def part(self, files: Sequence[LakeFile]) -> str:
        """SELECT of the rows that the contract accepts, in the part's schema."""
        columns = ", ".join(f"{t.v} AS {identifier(t.column.name)}" for t in self._typed)
        return f"SELECT {columns}, {', '.join(self._lineage(files))} FROM ({self._evaluated()}) WHERE {self._accepted}"

    def rejects(self, files: Sequence[LakeFile]) -> str:
        """SELECT of one row for each problem of the rows that it does not."""
        split = "_problem IS NULL"
        found = ["{'name': _column, 'value': _text, 'reason': _problem}"]
        for t in self._typed:
            name, value = text(t.column.name), shown(t.source, t.s) if t.source else "NULL"
            for condition, reason in t.problems():
                told = first_of((f"{split} AND {condition}", reason))
                found.append(f"{{'name': {name}, 'value': {value}, 'reason': {told}}}")
        problems = f"list_filter([{', '.join(found)}], lambda p: p.reason IS NOT NULL)"
        rows = f"SELECT *, unnest({problems}) AS p FROM ({self._evaluated()}) WHERE NOT ({self._accepted})"
        file, version, row, loaded_at = self._lineage(files)
        told = 'p.name AS "column", p.value AS value, p.reason AS reason'
        return f"SELECT {file}, {version}, {row}, {told}, {loaded_at} FROM ({rows})"

    @property
    def _accepted(self) -> str:
        return " AND ".join(["_problem IS NULL", *(t.accepted for t in self._typed)])

    def _evaluated(self) -> str:
        present = ", ".join(f"{t.source_value} AS {t.s}" for t in self._typed)
        values = ", ".join(f"{t.value} AS {t.v}" for t in self._typed)
        return f"SELECT *, {values} FROM (SELECT {present}, _index, _row, _problem, _text, _column FROM {self.relation})"

    def _lineage(self, files: Sequence[LakeFile]) -> tuple[str, str, str, str]:
        paths, versions = (
            [text(value) for value in values] for values in ([f.name for f in files], [f.version for f in files])
        )
        return (
            f"{_at_index(paths)} AS _file",
            f"{_at_index(versions)} AS _version",
            "_row",
            f"TIMESTAMPTZ '{self.loaded_at.isoformat(' ')}' AS _loaded_at",
        )


def _at_index(literals: Sequence[str]) -> str:
    return literals[0] if len(literals) == 1 else f"([{', '.join(literals)}])[_index + 1]"


def _mismatch(column: Column, source: SourceColumn) -> str:
    declared = f"{column.logical_type} with a time zone" if column.timezone else column.logical_type
    return (
        f"column `{column.name}` holds {_named(source)} and the contract declares {declared}, which is another thing. "
        "Correct the file, or the contract"
    )


def _named(source: SourceColumn) -> str:
    names = {
        "timestamp": "timestamps without a time zone", "timestamp_ns": "timestamps without a time zone",
        "timestamptz": "timestamps with a time zone", "timestamptz_ns": "timestamps with a time zone",
        "time": "times of day", "time_ns": "times of day", "unsigned": "integers",
        "float": "floating-point numbers", "double": "floating-point numbers",
        "integer": "integers", "decimal": "decimals", "boolean": "booleans", "date": "dates",
    }  # fmt: skip
    return names.get(source.kind, f"{source.arrow_type}")
