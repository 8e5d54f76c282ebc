"""How a table differs between two kept versions: columns, rows, cells. DuckDB streams and spills: memory is bounded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from caudal.contracts.masking import mask_told
from caudal.warehouse import relations, versions
from caudal.warehouse.connection import kind_of, quoted
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment

_MEMORY = "1GB"
_ARROW = " -> "


@dataclass(frozen=True)
class Difference:
    """From the version `a` to the version `b`.

    Attributes:
        key: the columns that say which rows are the same one; empty if rows were compared as a whole.
        note: why rows were compared as a whole although a key was given, or "".
        rows_a, rows_b: how many rows there are.
        columns_added, columns_removed: name -> type.
        columns_retyped: name -> (type in a, type in b). Their values are compared as text.
        rows_added, rows_removed, rows_changed: counts; without a key a changed row is one removed and one added.
        cells_changed: column -> in how many rows of the same key it differs.
        sample: the first of them: `change` (added, removed, changed) and the columns; a changed value is `old -> new`.

    """

    relation: str
    a: str
    b: str
    key: tuple[str, ...]
    note: str
    rows_a: int
    rows_b: int
    columns_added: Mapping[str, str]
    columns_removed: Mapping[str, str]
    columns_retyped: Mapping[str, tuple[str, str]]
    rows_added: int
    rows_removed: int
    rows_changed: int
    cells_changed: Mapping[str, int] = field(default_factory=dict)
    sample: Sequence[Mapping[str, str | None]] = ()

    def masked(self, hidden: Collection[str]) -> Difference:
        """The same, with only the shape of each value of the columns `hidden`. What is counted stays."""
        sample = [{name: _masked(v, row["change"]) if name in hidden else v for name, v in row.items()} for row in self.sample]
        return replace(self, sample=sample)

    @property
    def is_none(self) -> bool:
        rows = self.rows_added or self.rows_removed or self.rows_changed
        return not (rows or self.columns_added or self.columns_removed or self.columns_retyped)


def diff(env: Environment, relation: str, a: str, b: str, key: Sequence[str] = (), limit: int = 10) -> Difference:
    """Compare `relation`, a `schema.name`, in two kept versions.

    Args:
        a, b: names of kept versions, or the beginnings of them.
        key: columns that identify a row. If they do not in one of the versions, rows are compared as a whole.
        limit: how many differing rows are shown.

    Raises:
        caudal.warehouse.versions.NoSuchVersion: one of them is not kept.
        LookupError: one of them does not have the table, or it has no such column as `key` says.

    """
    first, second = versions.find(env, a), versions.find(env, b)
    if env.cloud is not None:
        from caudal.warehouse.bigquery.brought import bring_kept

        with connect_memory(env, _MEMORY) as connection:
            bring_kept(env, connection, first, relation, "a")
            bring_kept(env, connection, second, relation, "b")
            return _diff(connection, relation, (first.name, second.name), ("a", "b"), tuple(key), limit)
    with connect_memory(env, _MEMORY) as connection, relations.attached(connection, first.file, "a"):
        # A process shares what it opens by path: one version cannot be attached twice.
        both = second.file != first.file
        if both:
            connection.execute(f"ATTACH {text(str(second.file))} AS b (READ_ONLY)")
        return _diff(connection, relation, (first.name, second.name), ("a", "b" if both else "a"), tuple(key), limit)


def _diff(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    names: tuple[str, str],
    databases: tuple[str, str],
    key: tuple[str, ...],
    limit: int,
) -> Difference:
    for name, database in zip(names, databases, strict=True):
        kind = kind_of(connection, relation, database)
        if kind != "TABLE":
            what = "is a view there: compare the tables that it reads" if kind else "is not there"
            raise LookupError(f"Version {name}: {relation} {what}. `caudal versions {relation}` lists where it is a table")
    table_a, table_b = (f"{database}.{quoted(relation)}" for database in databases)
    in_a, in_b = (_columns(connection, table) for table in (table_a, table_b))
    missing = [column for column in key if column not in in_a or column not in in_b]
    if missing:
        raise LookupError(f"{relation} has no column {', '.join(missing)} in both versions. It has: {', '.join(in_b)}")
    common = [column for column in in_b if column in in_a]
    retyped = {c: (in_a[c], in_b[c]) for c in common if in_a[c] != in_b[c]}
    note = ""
    if key and any(not _is_unique(connection, table, key) for table in (table_a, table_b)):
        note, key = f"{', '.join(key)} does not identify rows: they were compared as a whole", ()
    sides = [
        "SELECT " + ", ".join(f"{identifier(c)}::VARCHAR AS {identifier(c)}" if c in retyped else identifier(c) for c in common)
        + f" FROM {table}"
        for table in (table_a, table_b)
    ]  # fmt: skip
    compare = _by_key if key else _whole
    counts, cells, sample = compare(connection, sides, common, key, limit) if common else ((0, 0, 0), {}, [])
    return Difference(
        relation,
        *names,
        key,
        note,
        _count(connection, table_a),
        _count(connection, table_b),
        {c: t for c, t in in_b.items() if c not in in_a},
        {c: t for c, t in in_a.items() if c not in in_b},
        retyped,
        *counts,
        cells,
        sample,
    )


Compared = tuple[tuple[int, int, int], dict[str, int], list[dict[str, str | None]]]


def _by_key(
    connection: duckdb.DuckDBPyConnection, sides: list[str], common: list[str], key: tuple[str, ...], limit: int
) -> Compared:
    others = [c for c in common if c not in key]
    on = " AND ".join(f"a.{identifier(c)} IS NOT DISTINCT FROM b.{identifier(c)}" for c in key)
    differs = {c: f"a.{identifier(c)} IS DISTINCT FROM b.{identifier(c)}" for c in others}
    changed = f"a._in AND b._in AND ({' OR '.join(differs.values()) or 'false'})"
    joined = f"FROM (SELECT *, true AS _in FROM ({sides[0]})) a FULL JOIN (SELECT *, true AS _in FROM ({sides[1]})) b ON {on}"
    counted = ["count(*) FILTER (a._in IS NULL)", "count(*) FILTER (b._in IS NULL)", f"count(*) FILTER ({changed})"]
    counted += [f"count(*) FILTER (a._in AND b._in AND {each})" for each in differs.values()]
    ((added, removed, altered, *cells),) = connection.execute(f"SELECT {', '.join(counted)} {joined}").fetchall()
    shown = [f"coalesce(a.{identifier(c)}, b.{identifier(c)})::VARCHAR AS {identifier(c)}" for c in key]
    for c, differ in differs.items():
        old, new = f"a.{identifier(c)}::VARCHAR", f"b.{identifier(c)}::VARCHAR"
        both = f"coalesce({old}, 'null') || '{_ARROW}' || coalesce({new}, 'null')"
        unlike = f"WHEN b._in IS NULL OR NOT ({differ}) THEN {old} ELSE {both} END"
        shown.append(f"CASE WHEN a._in IS NULL THEN {new} {unlike} AS {identifier(c)}")
    change = "CASE WHEN a._in IS NULL THEN 'added' WHEN b._in IS NULL THEN 'removed' ELSE 'changed' END AS change"
    where = f"a._in IS NULL OR b._in IS NULL OR ({changed})"
    sample = _rows(connection, f"SELECT {change}, {', '.join(shown)} {joined} WHERE {where} ORDER BY ALL LIMIT {limit}")
    return (added, removed, altered), {c: n for c, n in zip(others, cells, strict=True) if n}, sample


def _whole(
    connection: duckdb.DuckDBPyConnection, sides: list[str], common: list[str], _: tuple[str, ...], limit: int
) -> Compared:
    """Equal rows that are there several times count as often."""
    names = ", ".join(map(identifier, common))
    united = f"SELECT {names}, -1 AS _n FROM ({sides[0]}) UNION ALL SELECT {names}, 1 AS _n FROM ({sides[1]})"
    grouped = f"SELECT {names}, sum(_n) AS _n FROM ({united}) GROUP BY {names} HAVING sum(_n) <> 0"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE differing AS {grouped}")
    counted = (
        "SELECT coalesce(sum(_n) FILTER (_n > 0), 0)::BIGINT, coalesce(-sum(_n) FILTER (_n < 0), 0)::BIGINT FROM differing"
    )
    ((added, removed),) = connection.execute(counted).fetchall()
    shown = ", ".join(f"{identifier(c)}::VARCHAR AS {identifier(c)}" for c in common)
    change = (
        "CASE WHEN _n > 0 THEN 'added' ELSE 'removed' END || CASE abs(_n) WHEN 1 THEN '' ELSE ' ' || abs(_n) || ' times' END"
    )
    sample = _rows(connection, f"SELECT {change} AS change, {shown} FROM differing ORDER BY ALL LIMIT {limit}")
    return (added, removed, 0), {}, sample


def _rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    found = connection.execute(sql)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {table}").fetchall()}


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]


def _is_unique(connection: duckdb.DuckDBPyConnection, table: str, key: Sequence[str]) -> bool:
    names = ", ".join(map(identifier, key))
    return not connection.execute(f"SELECT 1 FROM {table} GROUP BY {names} HAVING count(*) > 1 LIMIT 1").fetchall()


def _masked(value: str | None, change: str | None) -> str | None:
    """Both sides of a changed value; that there was none is no secret."""
    sides = (value or "").split(_ARROW)
    if value is None or change != "changed" or len(sides) != 2:
        return mask_told(value)
    return _ARROW.join(side if side == "null" else mask_told(side) or "" for side in sides)
