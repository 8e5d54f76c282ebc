"""The online store: one immutable SQLite file for each version, built from published tables and swapped in by
one rename.

    <online>/versions/<version>.sqlite    whole once it bears this name
    <online>/current                      the name of the version that serves
    <online>/publish.lock                 held while a version is built; dies with its holder

A reader follows `current`, so it sees the old version or the new one. Wherever a publisher is killed,
`current` names a whole file; what the dead one left behind is removed by the next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import exclusive_lock, write_atomically
from caudal.warehouse.published import connect

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment

KEPT_VERSIONS = 3
"""How many versions stay on disk, the current one included: a reader that has just read `current` finds its
file.
"""

BATCH_ROWS = 10_000

SCHEMA = """ CREATE TABLE store (version TEXT NOT NULL, published_at TEXT NOT NULL, warehouse_version TEXT);
CREATE TABLE contents (name TEXT PRIMARY KEY, relation TEXT NOT NULL, key TEXT NOT NULL, rows INTEGER NOT
NULL); CREATE TABLE forecasts (series TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID; CREATE TABLE
keyed_rows (name TEXT, key TEXT, body TEXT NOT NULL, PRIMARY KEY (name, key)) WITHOUT ROWID;
"""

FORECASTS = "forecasts"
"""The name of the forecasts among the contents."""


class UnservableTable(ValueError):
    """A table cannot be looked up by its declared key, or does not have the declared columns."""


@dataclass(frozen=True)
class ForecastTable:
    """A published table of forecasts, by column."""

    relation: str
    series: str = "series"
    date: str = "date"
    value: str = "value"
    lower: str = "lower"
    upper: str = "upper"
    model_version: str = "model_version"
    made_at: str = "made_at"


@dataclass(frozen=True)
class KeyedTable:
    """A published table whose rows are looked up by the text of one column, which is never null and never
    repeated.
    """

    name: str
    relation: str
    key: str


@dataclass(frozen=True)
class OnlineVersion:
    """A version that has been published: rows by table, forecasts counted by day and series; and its size."""

    version: str
    rows: Mapping[str, int]
    size_bytes: int


def publish_online(env: Environment, forecasts: ForecastTable | None, tables: tuple[KeyedTable, ...]) -> OnlineVersion:
    """Build a version from the published tables, all as of one version of the warehouse, and make it current.

    Waits for another publisher to finish.

    Raises:
        NothingPublished: the warehouse has no published version.
        UnservableTable: a table or column is missing, or a key is null or repeated; the current version
            stays.
    """
    with exclusive_lock(env.online / "publish.lock"):
        _remove_unfinished(env)
        moment = datetime.now(UTC)
        version = f"{moment:%Y%m%dT%H%M%S%f}Z"
        target = version_path(env, version)
        with (
            write_atomically(target) as path,
            connect(env) as warehouse,
            closing(sqlite3.connect(path)) as store,
        ):
            warehouse.execute("SET TimeZone = 'UTC'")
            store.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA)
            with store:
                rows = {} if forecasts is None else {FORECASTS: _store_forecasts(warehouse, store, forecasts)}
                rows |= {table.name: _store_rows(warehouse, store, table) for table in tables}
                built_from = warehouse.execute("SELECT version FROM caudal.published").fetchone()
                store.execute(
                    "INSERT INTO store VALUES (?, ?, ?)",
                    (version, moment.isoformat(), built_from[0] if built_from else None),
                )
        with write_atomically(pointer_path(env)) as pointer:
            pointer.write_text(version + "\n", encoding="utf-8")
        _remove_old(env, version)
    return OnlineVersion(version, rows, target.stat().st_size)


def version_path(env: Environment, version: str) -> Path:
    """The file of a version."""
    return env.online / "versions" / f"{version}.sqlite"


def pointer_path(env: Environment) -> Path:
    """The file that names the current version."""
    return env.online / "current"


def _store_forecasts(warehouse: duckdb.DuckDBPyConnection, store: sqlite3.Connection, table: ForecastTable) -> int:
    """One row for each series, its body the JSON that the API answers with. Returns the days stored."""
    columns = _columns(warehouse, table.relation)
    value = {
        name: _json_value(columns, getattr(table, name), table.relation)
        for name in ("date", "value", "lower", "upper", "model_version", "made_at")
    }
    series = f"CAST({_key(columns, table.series, table.relation)} AS VARCHAR)"
    days = f"{{date: {value['date']}, value: {value['value']}, lower: {value['lower']}, upper: {value['upper']}}}"
    body = (
        f"{{series: {series}, model_version: max({value['model_version']}), made_at: max({value['made_at']}), "
        f"forecast: list({days} ORDER BY {_quoted(table.date)})}}"
    )
    relation = _quoted_relation(table.relation)
    _refuse_repeated(warehouse, table.relation, f"{series} || ' on ' || CAST({_quoted(table.date)} AS VARCHAR)")
    selected = f"SELECT {series}, CAST(to_json({body}) AS VARCHAR) FROM {relation} GROUP BY 1"
    for batch in _batches(warehouse, selected):
        store.executemany("INSERT INTO forecasts VALUES (?, ?)", batch)
    return _record(warehouse, store, FORECASTS, table.relation, table.series)


def _store_rows(warehouse: duckdb.DuckDBPyConnection, store: sqlite3.Connection, table: KeyedTable) -> int:
    columns = _columns(warehouse, table.relation)
    key = f"CAST({_key(columns, table.key, table.relation)} AS VARCHAR)"
    _refuse_repeated(warehouse, table.relation, key)
    fields = ", ".join(f"{_quoted(name)}: {_json_value(columns, name, table.relation)}" for name in columns)
    selected = f"SELECT {key}, CAST(to_json({{{fields}}}) AS VARCHAR) FROM {_quoted_relation(table.relation)}"
    for batch in _batches(warehouse, selected):
        store.executemany("INSERT INTO keyed_rows VALUES (?, ?, ?)", ((table.name, *row) for row in batch))
    return _record(warehouse, store, table.name, table.relation, table.key)


def _record(warehouse: duckdb.DuckDBPyConnection, store: sqlite3.Connection, name: str, relation: str, key: str) -> int:
    (rows,) = warehouse.execute(f"SELECT count(*) FROM {_quoted_relation(relation)}").fetchone() or (0,)
    store.execute("INSERT INTO contents VALUES (?, ?, ?, ?)", (name, relation, key, rows))
    return rows


def _columns(warehouse: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Column -> DuckDB type."""
    import duckdb

    try:
        described = warehouse.execute(f"DESCRIBE {_quoted_relation(relation)}").fetchall()
    except duckdb.Error as cause:
        raise UnservableTable(f"{relation} cannot be read: {cause}") from cause
    return {row[0]: row[1] for row in described}


def _key(columns: Mapping[str, str], name: str, relation: str) -> str:
    if name not in columns:
        raise UnservableTable(f"{relation} has no column {name}; expected one of: {', '.join(columns)}.")
    return _quoted(name)


def _json_value(columns: Mapping[str, str], name: str, relation: str) -> str:
    """An expression whose JSON is valid and unambiguous: no NaN, and times as RFC 3339. Decimals keep every
    digit.
    """
    column = _key(columns, name, relation)
    kind = columns[name]
    if kind in ("DOUBLE", "FLOAT"):
        return f"CASE WHEN isfinite({column}) THEN {column} END"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"replace(CAST({column} AS VARCHAR), ' ', 'T') || ':00'"
    if kind.startswith("TIMESTAMP"):
        return f"replace(CAST({column} AS VARCHAR), ' ', 'T')"
    if kind == "BLOB":
        return f"to_base64({column})"
    return column


def _refuse_repeated(warehouse: duckdb.DuckDBPyConnection, relation: str, key: str) -> None:
    found = warehouse.execute(
        f"SELECT {key} AS key, count(*) AS rows FROM {_quoted_relation(relation)} GROUP BY key "
        "HAVING rows > 1 OR key IS NULL ORDER BY key NULLS FIRST LIMIT 1"
    ).fetchone()
    if found is None:
        return
    what = "no key" if found[0] is None else f"the key {found[0]!r}"
    raise UnservableTable(f"{relation} has {found[1]} rows with {what}; expected one row for each key. Declare another key.")


def _batches(warehouse: duckdb.DuckDBPyConnection, sql: str) -> Iterator[list[tuple[str, ...]]]:
    selected = warehouse.execute(sql)
    while batch := selected.fetchmany(BATCH_ROWS):
        yield batch


def _remove_unfinished(env: Environment) -> None:
    """Remove what killed publishers left; the lock says that nobody is at it."""
    for folder in (env.online, env.online / "versions"):
        for path in folder.glob(".*.tmp*"):
            path.unlink(missing_ok=True)


def _remove_old(env: Environment, current: str) -> None:
    others = sorted(path for path in (env.online / "versions").glob("*.sqlite") if path.stem != current)
    for path in others[: len(others) - KEPT_VERSIONS + 1]:
        path.unlink(missing_ok=True)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted_relation(relation: str) -> str:
    return ".".join(_quoted(part) for part in relation.split("."))
