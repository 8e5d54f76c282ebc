"""From rows of a published table back to the lake files, and the rows in them, that they were made of.

The models above a table are put together to one query over the raw tables, in which each row carries its lake rows
(`provenance`). What cannot be put together so is read as it is published, and all files of the raw tables above it are named:
an upper bound, and said to be one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from caudal.transform.columns.assembled import FILES, PLACES, Plan
from caudal.transform.columns.provenance import LAKE
from caudal.transform.columns.query import words
from caudal.warehouse.published import connect
from caudal.warehouse.query import RefusedQuery, confine
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment
    from caudal.transform.manifest import Manifest

#: Row numbers that are shown of a file.
SHOWN_ROWS = 10

#: So many rows are looked for by their values.
FEW_ROWS = 1000

#: DuckDB's memory.
MEMORY = "2GB"

#: Types whose values, written as text, are read as the same values.
_PLAIN = {"VARCHAR", "DATE", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DECIMAL", "TIMESTAMP"}


@dataclass(frozen=True)
class TracedFile:
    """A lake file that the rows were made of.

    Attributes:
        dataset: `<source>/<name>`.
        rows: how many rows of the file; None where that is not known, and the file is one that may have been used.
        numbers: the first of their places in the file, from 1.

    """

    dataset: str
    file: str
    version: str
    rows: int | None
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Trace:
    """Where rows come from.

    Attributes:
        rows: how many rows of the table were meant.
        files: those that the rows were made of, then those that they may have been made of.
        notes: why some files are an upper bound, and which columns depend on more than what is named.

    """

    table: str
    rows: int
    files: tuple[TracedFile, ...]
    notes: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """With these files alone, the table's rows would be the same, but for columns that the notes name."""
        return all(file.rows is not None for file in self.files)


def trace(
    env: Environment,
    manifests: Sequence[Manifest],
    table: str,
    where: str = "true",
    warn: Callable[[str], object] = lambda _: None,
) -> Trace:
    """The lake files of the rows of the published `table` for which the SQL condition `where` holds.

    Args:
        warn: told how many bytes are read, before they are, where that is billed for.

    Raises:
        LookupError: no model is called `table`.
        caudal.warehouse.query.RefusedQuery: `where` is no condition on the table's columns.
        caudal.warehouse.published.NothingPublished: nothing is there to be read yet.

    """
    import duckdb

    plan = _plan(manifests, table)
    with connect(env) as connection:
        _bound_memory(env, connection)
        confine(connection, env)
        names = connection.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'")
        aggregates = {name for (name,) in names.fetchall()}
        rows = _count(connection, f"SELECT count(*) FROM {plan.published} WHERE ({where}\n)")
        try:
            files = _exact(connection, plan, where, rows, aggregates, lambda: _tell(env, plan, warn))
        except duckdb.Error as problem:
            plan.give_up(f"the query cannot be put together: {str(problem).splitlines()[0]}")
            files = []
        exact = {(file.dataset, file.file) for file in files}
        for unique_id in plan.whole_sources:
            files += [f for f in _all_files(connection, plan, unique_id) if (f.dataset, f.file) not in exact]
    return Trace(plan.key, rows, tuple(files), tuple(plan.notes))


def as_text(found: Trace, limit: int) -> str:
    """A table for people, of at most `limit` files."""
    lines = [f"{found.table}: {found.rows} row{'' if found.rows == 1 else 's'}"]
    for file in found.files[:limit]:
        if file.rows is None:
            lines.append(f"  at most  {file.dataset}  {file.file}")
            continue
        more = ", ..." if file.rows > len(file.numbers) else ""
        lines.append(f"  {file.rows:>7}  {file.dataset}  {file.file}  rows {', '.join(map(str, file.numbers))}{more}")
    if len(found.files) > limit:
        lines.append(f"  and {len(found.files) - limit} files more; --limit shows them")
    if not found.files:
        lines.append("  made of no file")
    return "\n".join([*lines, *found.notes])


def as_value(found: Trace) -> dict[str, Any]:
    """A value for JSON."""
    return {**asdict(found), "is_exact": found.is_exact}


def _plan(manifests: Sequence[Manifest], table: str) -> Plan:
    refused = LookupError("the company has no dbt project")
    for manifest in manifests:
        try:
            return Plan(manifest, table)
        except LookupError as problem:
            refused = problem
    raise refused


def _count(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    import duckdb

    try:
        if len(connection.extract_statements(sql)) != 1:
            raise RefusedQuery("the condition holds more than one statement")
        row = connection.execute(sql).fetchone()
    except duckdb.Error as problem:
        raise RefusedQuery(f"that is no condition on the table's rows: {problem}") from None
    return row[0] if row else 0


def _exact(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    where: str,
    rows: int,
    aggregates: Collection[str],
    before_reading: Callable[[], None],
) -> list[TracedFile]:
    """The files of the rows as they come out again.

    Few rows are looked for by their values, which DuckDB can carry down to the lake rows. Where not all of them come out so,
    and where there are many, the condition is asked of all rows.
    """
    plan.build(aggregates)
    before_reading()
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {FILES} AS {plan.files}")
    if rows <= FEW_ROWS and (alike := _alike(connection, plan, where)):
        again = f"SELECT again.* FROM ({plan.sql}) AS again {alike}"
        if not _missing(connection, plan, where, again):
            return list(_files(connection, again))
    plan.build(aggregates, needed=words(where))
    again = f"SELECT * FROM ({plan.sql}) AS again WHERE ({where}\n)"
    missing = _missing(connection, plan, where, again)
    if missing:
        plan.notes.append(
            f"{missing} of the rows come out differently from what is loaded now and from today's SQL: the table was built "
            "before one of them changed. What is named is where such rows would come from today"
        )
    return list(_files(connection, again))


def _compared(connection: duckdb.DuckDBPyConnection, plan: Plan) -> dict[str, str]:
    """The columns, with their types, that come out the same when they are computed again."""
    described = connection.execute(f"DESCRIBE {plan.published}").fetchall()
    comparable = {name.lower() for name in plan.comparable}
    return {row[0]: row[1] for row in described if row[0].lower() in comparable and row[1] not in ("FLOAT", "DOUBLE")}


def _missing(connection: duckdb.DuckDBPyConnection, plan: Plan, where: str, again: str) -> int:
    """How many rows do not come out again: the table was held back, or its SQL or what it reads is another by now."""
    columns = ", ".join(map(identifier, _compared(connection, plan))) or "1"
    published = f"SELECT {columns} FROM {plan.published} WHERE ({where}\n)"
    return _count(connection, f"SELECT count(*) FROM ({published} EXCEPT ALL SELECT {columns} FROM ({again}))")


def _alike(connection: duckdb.DuckDBPyConnection, plan: Plan, where: str) -> str:
    """A join and a condition that leave of `again` the rows that are the published ones; "" if they cannot be told apart.

    The join alone would do. Lists of values are what DuckDB filters groups and joins by before it makes them.
    """
    compared = _compared(connection, plan)
    if not compared:
        return ""
    published = f"(SELECT * FROM {plan.published} WHERE ({where}\n))"
    plain = [name for name, type_ in compared.items() if type_.partition("(")[0] in _PLAIN]
    lists = ", ".join(f"list(DISTINCT {identifier(name)}::VARCHAR), count({identifier(name)}) < count(*)" for name in plain)
    found = connection.execute(f"SELECT {lists or 1} FROM {published}").fetchone() or ()
    conditions = []
    for name, values, has_null in zip(plain, found[::2], found[1::2], strict=True) if plain else ():
        if values and not has_null:
            told = ", ".join(f"CAST({text(value)} AS {compared[name]})" for value in values)
            conditions.append(f"again.{identifier(name)} IN ({told})")
    same = " AND ".join(f"again.{identifier(name)} IS NOT DISTINCT FROM meant.{identifier(name)}" for name in compared)
    return f"SEMI JOIN {published} AS meant ON {same} WHERE {' AND '.join(conditions) or 'true'}"


def _files(connection: duckdb.DuckDBPyConnection, again: str) -> Iterator[TracedFile]:
    found = connection.execute(
        f"SELECT f.dataset, f.file, f.version, t.rows, t.numbers FROM (SELECT place // {PLACES} AS number, count(*) AS rows, "
        f"min(place % {PLACES}, {SHOWN_ROWS}) AS numbers FROM (SELECT DISTINCT unnest({LAKE}) AS place FROM ({again})) "
        f"GROUP BY ALL) AS t JOIN {FILES} AS f USING (number) ORDER BY ALL"
    )
    for dataset, file, version, count, numbers in found.fetchall():
        yield TracedFile(dataset, file, version, count, tuple(numbers))


def _bound_memory(env: Environment, connection: duckdb.DuckDBPyConnection) -> None:
    """What does not fit goes to disk. A session of BigQuery has its own bounds."""
    if env.cloud is None:
        spill = env.state / "spill"
        spill.mkdir(parents=True, exist_ok=True)
        connection.execute(f"SET temp_directory = {text(str(spill))}")
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        connection.execute("SET preserve_insertion_order = false")


def _tell(env: Environment, plan: Plan, warn: Callable[[str], object]) -> None:
    """How many bytes of raw tables are read; BigQuery sells them by the byte."""
    if env.cloud is None or not plan.sources:
        return
    from caudal.warehouse.bigquery.published import service_of

    service, total = service_of(env), 0
    for unique_id, columns in plan.sources.items():
        relation = plan.lineage.sources[unique_id]
        named = env.cloud.table(f"{relation['schema']}.{relation['identifier']}")
        total += service.estimate(f"SELECT {', '.join(f'`{c}`' for c in columns) or '*'} FROM `{named}`")
    warn(f"It reads {total:,} bytes of {len(plan.sources)} raw tables: their columns that count, all of their rows.")


def _all_files(connection: duckdb.DuckDBPyConnection, plan: Plan, unique_id: str) -> Sequence[TracedFile]:
    dataset, relation = plan.source_relation(unique_id)
    found = connection.execute(f"SELECT DISTINCT _file, _version FROM {relation} ORDER BY ALL").fetchall()
    return [TracedFile(dataset, file, version, None) for file, version in found]
