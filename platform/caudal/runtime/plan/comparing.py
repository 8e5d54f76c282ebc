"""The rows of one table in two DuckDB files: how many differ, in which columns, and some of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caudal.contracts.masking import mask_text
from caudal.runtime.plan.plan import RowDifference
from caudal.warehouse.connection import quoted
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb

#: The name under which the file of before is attached. The connection's own file is the one after.
BEFORE = "before_the_change"

_SAMPLE_ROWS = 3
_FLOATS = ("FLOAT", "DOUBLE")
#: Numbers are compared by value, whatever their types are; other values of two types as text.
_NUMBERS = (
    "DECIMAL",
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINY",
    "USMALL",
    "UINTEGER",
    "UBIGINT",
    *_FLOATS,
)
#: Sums of floating point numbers differ in their last digits with the order in which they were added.
_RELATIVE_TOLERANCE = 1e-9


def compare(
    connection: duckdb.DuckDBPyConnection,
    asset: str,
    relation: str,
    keys: Sequence[Sequence[str]],
    hides: Callable[[str], bool] = lambda _: False,
) -> RowDifference:
    """How the table differs between the attached file of before and the connection's own.

    Args:
        relation: `schema.table`.
        keys: sets of columns that may tell rows apart; the first that does so on both sides is used, else whole rows.
        hides: whether a column's values are shown masked, by its name in small letters.

    """
    after, before = _columns(connection, relation, None), _columns(connection, relation, BEFORE)
    if not after:
        return RowDifference(asset, problem="it was not built")
    rows_after = _count(connection, quoted(relation))
    if not before:
        return RowDifference(asset, None, rows_after, added=rows_after)
    one, other = f"{BEFORE}.{quoted(relation)}", quoted(relation)
    common = {name: (before[name], after[name]) for name in before if name in after}
    hidden = {name for name in common if hides(name)}
    rows_before = _count(connection, one)
    for key in keys:
        named = [name.lower() for name in key]
        if named and all(name in common for name in named) and all(_tells_apart(connection, t, named) for t in (one, other)):
            return _by_key(connection, asset, (one, other), named, common, (rows_before, rows_after), hidden)
    if not common:
        return RowDifference(asset, rows_before, rows_after, problem="no column is in both")
    shown = ", ".join(identifier(name) for name in common)
    removed, added = (
        _count(connection, f"(SELECT {shown} FROM {x} EXCEPT ALL SELECT {shown} FROM {y})")
        for x, y in ((one, other), (other, one))
    )
    return RowDifference(asset, rows_before, rows_after, added, removed)


def _by_key(
    connection: duckdb.DuckDBPyConnection,
    asset: str,
    tables: tuple[str, str],
    key: list[str],
    common: Mapping[str, tuple[str, str]],
    counts: tuple[int, int],
    hidden: Collection[str],
) -> RowDifference:
    one, other = tables
    matched = " AND ".join(f"a.{identifier(name)} IS NOT DISTINCT FROM b.{identifier(name)}" for name in key)
    values = [name for name in common if name not in key]
    differs = {name: _differs(name, common[name]) for name in values}
    both = f"{one} AS b JOIN {other} AS a ON {matched}"
    counted = ", ".join(f"count(*) FILTER ({condition})" for condition in differs.values())
    anything = " OR ".join(f"({condition})" for condition in differs.values()) or "false"
    row = connection.execute(
        f"SELECT count(*), count(*) FILTER ({anything}){', ' + counted if counted else ''} FROM {both}"
    ).fetchone()
    assert row is not None
    pairs, changed, *each = row
    sample = (
        _shown(connection, "added", "a", f"{other} AS a ANTI JOIN {one} AS b ON {matched}", common, key, hidden)
        + _shown(connection, "removed", "b", f"{one} AS b ANTI JOIN {other} AS a ON {matched}", common, key, hidden)
        + _pairs(connection, f"{both} WHERE {anything}", common, key, hidden)
    )
    return RowDifference(
        asset,
        *counts,
        added=counts[1] - pairs,
        removed=counts[0] - pairs,
        changed=changed,
        key=tuple(key),
        columns={name: count for name, count in zip(values, each, strict=True) if count},
        sample=tuple(sample),
        hidden=tuple(name for name in common if name in hidden),
    )


def _differs(name: str, types: tuple[str, str]) -> str:
    before, after = f"b.{identifier(name)}", f"a.{identifier(name)}"
    if all(kind in _FLOATS for kind in types):
        near = f"abs({before} - {after}) <= {_RELATIVE_TOLERANCE} * greatest(abs({before}), abs({after}))"
        return f"{before} IS DISTINCT FROM {after} AND NOT coalesce({near}, false)"
    if types[0] != types[1] and not all(kind.startswith(_NUMBERS) for kind in types):
        before, after = f"CAST({before} AS VARCHAR)", f"CAST({after} AS VARCHAR)"
    return f"{before} IS DISTINCT FROM {after}"


def _tells_apart(connection: duckdb.DuckDBPyConnection, table: str, key: Sequence[str]) -> bool:
    columns = ", ".join(identifier(name) for name in key)
    repeated = connection.execute(f"SELECT 1 FROM {table} GROUP BY {columns} HAVING count(*) > 1 LIMIT 1").fetchone()
    return repeated is None


def _shown(
    connection: duckdb.DuckDBPyConnection,
    change: str,
    side: str,
    source: str,
    names: Collection[str],
    key: Sequence[str],
    hidden: Collection[str],
) -> list[Mapping[str, str | None]]:
    columns = ", ".join(f"{side}.{identifier(name)}" for name in names)
    order = ", ".join(f"{side}.{identifier(name)}" for name in key)
    found = connection.execute(f"SELECT {columns} FROM {source} ORDER BY {order} LIMIT {_SAMPLE_ROWS}").fetchall()
    return [_told(change, names, row, hidden) for row in found]


def _pairs(
    connection: duckdb.DuckDBPyConnection, source: str, names: Collection[str], key: Sequence[str], hidden: Collection[str]
) -> list[Mapping[str, str | None]]:
    columns = ", ".join(f"{side}.{identifier(name)}" for side in ("b", "a") for name in names)
    order = ", ".join(f"a.{identifier(name)}" for name in key)
    found = []
    for row in connection.execute(f"SELECT {columns} FROM {source} ORDER BY {order} LIMIT {_SAMPLE_ROWS}").fetchall():
        found.append(_told("before", names, row[: len(names)], hidden))
        found.append(_told("after", names, row[len(names) :], hidden))
    return found


def _told(change: str, names: Collection[str], row: Sequence[Any], hidden: Collection[str]) -> Mapping[str, str | None]:
    values = {
        name: None if value is None else mask_text(value) if name in hidden else f"{value}"
        for name, value in zip(names, row, strict=True)
    }
    return {"change": change, **values}


def _columns(connection: duckdb.DuckDBPyConnection, relation: str, database: str | None) -> dict[str, str]:
    schema, name = relation.split(".", 1)
    found = connection.execute(
        "SELECT lower(column_name), data_type FROM duckdb_columns() "
        f"WHERE database_name = {text(database) if database else 'current_database()'} AND schema_name = ? AND table_name = ? "
        "ORDER BY column_index",
        [schema, name],
    )
    return dict(found.fetchall())


def _count(connection: duckdb.DuckDBPyConnection, source: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    assert row is not None
    return row[0]
