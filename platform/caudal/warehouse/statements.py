"""The SQL that types rows as a reader gives them, and tells why some are rejected."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from caudal.lake.readers.rows import SourceColumn, Unreadable
from caudal.warehouse.casting import Cast, is_absent
from caudal.warehouse.native_casting import cast_native, present, shown
from caudal.warehouse.nested_casting import OtherType, unknown_fields
from caudal.warehouse.rules import violations
from caudal.warehouse.sql import first_of, identifier, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        return present(self.column, self.source, name, self.null_markers)

    @property
    def value(self) -> str:
        """SQL of the typed value. A zero has no sign."""
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
    """The statements over a relation of rows.

    Attributes:
        sources: the columns that the rows have.
        relation: with the source columns, `PLACE_COLUMNS`, and `_index`, the number of the lake file.

    """

    contract: Contract
    sources: tuple[SourceColumn, ...]
    null_markers: tuple[str, ...]
    relation: str

    @cached_property
    def _typed(self) -> list[_Typed]:
        by_name = {source.name: source for source in self.sources}
        typed = []
        for number, column in enumerate(self.contract.columns):
            source = by_name.get(column.name)
            cast = _cast(column, source, f"s{number}") if source else Cast("NULL", "NULL")
            typed.append(_Typed(column, source, number, cast, self.null_markers))
        return typed

    def check(self) -> None:
        """Raise `Unreadable` where the type of a source column is no form of the declared one, or drifted from it inside."""
        typed = ((t.column, t.source) for t in self._typed)
        for column, source in typed:
            for path, alike in _unknown(column, source):
                if alike is not None or self.contract.drift == "freeze":
                    why = f"differs from `{alike}` only in case" if alike else "is not in the contract"
                    raise Unreadable(f"column `{column.name}`: the field `{path}` {why}. Correct the file, or the contract")

    @property
    def left_out(self) -> set[str]:
        """The paths of fields inside structs that the contract does not have."""
        return {path for t in self._typed for path, _ in _unknown(t.column, t.source)}

    def typed(self, columns: Sequence[int]) -> str:
        """SELECT of the rows in order: whether the row has no problem in some columns of the contract, as `_accepted`, and
        the value of each of them, named by its number.

        Args:
            columns: their numbers in the contract.

        """
        chosen = [self._typed[n] for n in columns]
        values = [f'{t.v} AS "{t.number}"' for t in chosen]
        accepted = " AND ".join(["_problem IS NULL", *(t.accepted for t in chosen)])
        return f"SELECT {', '.join([*values, f'{accepted} AS _accepted'])} FROM ({self._evaluated(chosen)})"

    def rejects(self, columns: Sequence[int]) -> str:
        """SELECT of `_index`, `_row`, `column`, `value`, `reason` and `record`, one row for each problem that a row has.

        Args:
            columns: numbers of those columns of the contract in which there may be problems.

        """
        chosen = [self._typed[n] for n in columns]
        found = ["{'name': _column, 'value': _text, 'reason': _problem}"]
        for t in chosen:
            name, value = text(t.column.name), shown(t.source, t.s) if t.source else "NULL"
            for condition, reason in t.problems():
                told = first_of((f"_problem IS NULL AND {condition}", reason))
                found.append(f"{{'name': {name}, 'value': {value}, 'reason': {told}}}")
        problems = f"list_filter([{', '.join(found)}], lambda p: p.reason IS NOT NULL)"
        rows = f"SELECT *, unnest({problems}) AS p FROM ({self._evaluated(chosen, self._record)})"
        return f'SELECT _index, _row, p.name AS "column", p.value AS value, p.reason AS reason, _record AS record FROM ({rows})'

    @property
    def _record(self) -> str:
        """The whole row as JSON text, its values as they are shown to people."""
        values = [f"{text(s.name)}: {shown(s, identifier(s.name))}" for s in self.sources]
        return f"CASE WHEN _problem IS NULL THEN CAST(to_json({{{', '.join(values)}}}) AS VARCHAR) END AS _record"

    def _evaluated(self, columns: Sequence[_Typed], *others: str) -> str:
        present = [f"{t.source_value} AS {t.s}" for t in columns]
        given = f"SELECT {', '.join([*present, *others, '_index, _row, _problem, _text, _column'])} FROM {self.relation}"
        prepared = [f"{t.cast.prepared} AS {t.s}p" for t in columns if t.cast.prepared]
        if prepared:
            given = f"SELECT *, {', '.join(prepared)} FROM ({given})"
        return f"SELECT {', '.join(['*', *(f'{t.value} AS {t.v}' for t in columns)])} FROM ({given})"


def _cast(column: Column, source: SourceColumn, s: str) -> Cast:
    try:
        cast = cast_native(column, source, s)
    except OtherType as other:
        raise Unreadable(
            f"column `{column.name}` holds {source.arrow_type}, and what it holds at `{other}` is no form of what the contract "
            "declares there. Correct the file, or the contract"
        ) from None
    if cast is None:
        raise Unreadable(_mismatch(column, source))
    return cast


def _unknown(column: Column, source: SourceColumn | None) -> Iterator[tuple[str, str | None]]:
    if column.is_nested and source is not None and source.kind == "nested":
        yield from unknown_fields(column, source.arrow_type, column.name)


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
