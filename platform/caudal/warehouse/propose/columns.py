"""The columns of the sample, each with its type, whether it may be absent, and what is suspected of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from caudal.warehouse.native_casting import cast_native
from caudal.warehouse.propose import kinds, moments, nested
from caudal.warehouse.propose.candidates import STRING, Candidate, of_column, of_declared
from caudal.warehouse.propose.keys import find_keys
from caudal.warehouse.propose.kinds import Inferred
from caudal.warehouse.propose.names import plain_names
from caudal.warehouse.propose.personal import suspicion
from caudal.warehouse.propose.table import RELATION, TYPED, Sample, native
from caudal.warehouse.propose.values import Values
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    import duckdb

    from caudal.contracts.columns import Column
    from caudal.lake.readers.rows import SourceColumn
    from caudal.warehouse.verdict import Reject

#: So many different texts at most may be a closed set, if each is there so often on average.
_CLOSED_SET, _OFTEN = 12, 10

#: Types whose values may be a key.
_KEYS = ("string", "integer")


@dataclass
class ProposedColumn:
    """A column as proposed, with what is to be said beside each line of it.

    Attributes:
        values: all that it holds, if it is a small set.
        typed: the format gives it its type, and declared as another the file would be refused.
        in_files: what files call it, where that is no name to be written in SQL.

    """

    name: str
    chosen: Candidate
    in_files: str | None = None
    required: bool = False
    primary_key: bool = False
    classification: str | None = None
    values: tuple[str, ...] = ()
    typed: bool = False
    notes: dict[str, list[str]] = field(default_factory=dict)

    def note(self, line: str, told: str) -> None:
        self.notes.setdefault(line, []).append(told)


@dataclass
class Proposed:
    """The columns, and pairs of them that are unique together where no single one is."""

    columns: list[ProposedColumn]
    pairs: tuple[tuple[str, str], ...] = ()


def propose_columns(connection: duckdb.DuckDBPyConnection, held: Sample, file_format: str) -> Proposed:
    """Propose the columns of the table of the sample."""
    inferred: list[Inferred] = []
    proposed: list[ProposedColumn] = []
    for number, source in enumerate(held.columns):
        place = f"c{number}"
        if source.kind == "text":
            values = Values(connection, RELATION, place)
            why = suspicion(source.name, values.some())
            found = kinds.infer(values, source.name, whole_days=file_format == "excel", private=bool(why))
            if found.chosen.meaning in ("object", "array"):
                found = nested.structured(values, found)
            if file_format in TYPED and found.chosen != STRING:
                told = f"text in the file, and every value is of the type {found.chosen.declared['logicalType']}"
                found = Inferred(STRING, values.absent, (f"unsure: {told}: kept as string",))
            column = ProposedColumn(source.name, found.chosen)
            why = why or nested.personal(found.chosen.declared)
            if not why:
                column.values = _closed_set(found.chosen, values)
        else:
            found = _typed(connection, source, held.typed.get(source.name), place, held.rows)
            column = ProposedColumn(source.name, found.chosen, typed=True)
            why = suspicion(source.name, []) or nested.personal(found.chosen.declared)
        if why:
            column.classification = "personal"
            column.note("classification", f"unsure: {why}")
        column.required = held.rows > 0 and found.absent == 0
        if 0 < found.absent < held.rows:
            column.note("name", f"{found.absent:,} of {held.rows:,} rows have no value")
        inferred.append(found)
        proposed.append(column)
    _decide(proposed, inferred)
    keys = find_keys(connection, _possible(proposed), held.rows)
    for column in proposed:
        if column.name == keys.chosen and column.chosen.declared["logicalType"] in _KEYS:
            column.primary_key = True
            column.note("primaryKey", f"unsure: unique over the {held.rows:,} rows looked at")
        elif column.name in keys.single:
            column.note("name", f"unique over the {held.rows:,} rows looked at")
    plain = plain_names([column.name for column in proposed])
    for column, name in zip(proposed, plain.values(), strict=True):
        if name != column.name:
            column.in_files, column.name = column.name, name
            column.note("name", f'unsure: files call it "{column.in_files}", which SQL cannot say everywhere')
    return Proposed(proposed, tuple((plain[one], plain[other]) for one, other in keys.pairs))


def repair(proposed: Sequence[ProposedColumn], rejects: Iterable[Reject]) -> bool:
    """Propose columns that refuse values of the sample as text; whether any was."""
    by_name = {c.name: c for c in proposed}
    repaired = False
    for reject in rejects:
        column = by_name.get(reject.column or "")
        if column is None:
            continue
        if reject.value is None and column.required:
            column.required = column.primary_key = False
        elif column.chosen != STRING and reject.value is not None:
            loose = nested.plain(column.chosen.declared)
            shown = "a value" if column.classification else f'"{reject.value[:30]}"'
            told = f"unsure: {shown} is refused as {column.chosen.meaning} ({reject.reason})"
            if loose != column.chosen.declared:
                column.note("name", f"{told}: kept as JSON text")
                column.chosen = of_declared(column.chosen.meaning, loose)
            elif not column.typed:
                column.note("name", f"{told}: kept as string")
                column.chosen = STRING
            else:
                continue
        else:
            continue
        repaired = True
    return repaired


def _closed_set(chosen: Candidate, values: Values) -> tuple[str, ...]:
    """The texts that a column has, if they are few and each is there often."""
    listed = values.listed(_CLOSED_SET + 1)
    closed = chosen == STRING and 1 < len(listed) <= _CLOSED_SET and values.present >= len(listed) * _OFTEN
    return tuple(sorted(s for s, _ in listed)) if closed else ()


def _typed(
    connection: duckdb.DuckDBPyConnection, source: SourceColumn, given: Column | None, place: str, rows: int
) -> Inferred:
    """A column that the format gives a type to."""
    chosen = of_column(given) if given else native(source)
    cast = cast_native(chosen.column("value"), source, "s")
    lost = f"count(*) FILTER (s IS NOT NULL AND ({cast.value}) IS NULL)" if cast else "0"
    select = f"SELECT count(s), {lost} FROM (SELECT {identifier(place)} AS s FROM {RELATION})"
    counts = connection.execute(select).fetchone() or (0, 0)
    if counts[1] and source.kind.endswith("_ns"):
        told = f"unsure: {counts[1]:,} values are finer than a microsecond, and what is beyond is cut"
        return Inferred(chosen.with_custom("nanoseconds", "cut"), rows - counts[0], (told,))
    notes = (f"unsure: {counts[1]:,} values are not exactly that, and would be rejected",) if counts[1] else ()
    return Inferred(chosen, rows - counts[0], notes)


def _decide(proposed: Sequence[ProposedColumn], inferred: Sequence[Inferred]) -> None:
    """Let columns that are sure of the order of dates, or of the decimal separator, decide for those that are not."""
    both = list(zip(proposed, inferred, strict=True))
    sure = {_reading(f.chosen): c.name for c, f in both if not f.undecided and _reading(f.chosen)}
    for column, found in both:
        fitting = [c for c in found.undecided if _reading(c) in sure]
        if len(fitting) == 1:
            column.chosen = fitting[0]
            column.note("logicalType", f"unsure: could be read otherwise; read as in column `{sure[_reading(fitting[0])]}`")
        else:
            for told in found.notes:
                column.note("logicalType", told)


def _reading(chosen: Candidate) -> str | None:
    """What a type says of how others in the file are written: the order of dates, or the decimal separator."""
    if chosen.meaning.startswith("decimal "):
        return chosen.meaning
    written = chosen.declared.get("logicalTypeOptions", {}).get("format", "")
    return moments.order_of(chosen.meaning) if written and written != "yyyyMMdd" else None


def _possible(proposed: Sequence[ProposedColumn]) -> list[tuple[str, str]]:
    """Columns that may be a key, each with its place in the table."""
    return [
        (c.name, f"c{n}")
        for n, c in enumerate(proposed)
        if c.required and c.chosen.declared["logicalType"] in (*_KEYS, "date", "timestamp")
    ]
