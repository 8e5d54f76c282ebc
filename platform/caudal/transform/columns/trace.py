"""From rows of a published table back to the lake files, and the rows in them, that they were made of.

The models above a table are put together to one query over the raw tables, in which each row carries its lake rows
(`provenance`). What cannot be put together so is read as it is published, and all files of the raw tables above it are named:
an upper bound, and said to be one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from caudal.transform.columns.assembled import Plan
from caudal.transform.columns.provenance import LAKE
from caudal.warehouse.published import connect
from caudal.warehouse.query import RefusedQuery, confine
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment
    from caudal.transform.manifest import Manifest

#: Row numbers that are shown of a file.
SHOWN_ROWS = 10


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


def trace(env: Environment, manifests: Sequence[Manifest], table: str, where: str = "true") -> Trace:
    """The lake files of the rows of the published `table` for which the SQL condition `where` holds.

    Raises:
        LookupError: no model is called `table`.
        caudal.warehouse.query.RefusedQuery: `where` is no condition on the table's columns.
        caudal.warehouse.published.NothingPublished: nothing is there to be read yet.

    """
    import duckdb

    plan = _plan(manifests, table)
    with connect(env) as connection:
        confine(connection, env)
        names = connection.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'")
        plan.build({name for (name,) in names.fetchall()})
        rows = _count(connection, f"SELECT count(*) FROM {plan.published} WHERE ({where}\n)")
        try:
            _check(connection, plan, where)
            files = list(_files(connection, plan.sql, where))
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


def _check(connection: duckdb.DuckDBPyConnection, plan: Plan, where: str) -> None:
    """Whether the same rows come out again; they do not where a table was held back, or its SQL is another one by now."""
    described = connection.execute(f"DESCRIBE {plan.published}").fetchall()
    exact = {row[0] for row in described if row[1] not in ("FLOAT", "DOUBLE")}
    columns = ", ".join(identifier(name) for name in plan.comparable if name in exact) or "1"
    published = f"SELECT {columns} FROM {plan.published} WHERE ({where}\n)"
    again = f"SELECT {columns} FROM ({plan.sql}) AS again WHERE ({where}\n)"
    missing = _count(connection, f"SELECT count(*) FROM ({published} EXCEPT ALL {again})")
    if missing:
        plan.notes.append(
            f"{missing} of the rows come out differently from what is loaded now and from today's SQL: the table was built "
            "before one of them changed. What is named is where such rows would come from today"
        )


def _files(connection: duckdb.DuckDBPyConnection, sql: str, where: str) -> Iterator[TracedFile]:
    found = connection.execute(
        f"SELECT row.dataset, row.file, row.version, count(*), list(row.row ORDER BY row.row)[1:{SHOWN_ROWS}] FROM ("
        f"SELECT unnest(list_distinct(flatten(list({LAKE})))) AS row FROM ({sql}) AS again WHERE ({where}\n)"
        ") GROUP BY ALL ORDER BY ALL"
    )
    for dataset, file, version, count, numbers in found.fetchall():
        yield TracedFile(dataset, file, version, count, tuple(numbers))


def _all_files(connection: duckdb.DuckDBPyConnection, plan: Plan, unique_id: str) -> Sequence[TracedFile]:
    dataset, relation = plan.source_relation(unique_id)
    found = connection.execute(f"SELECT DISTINCT _file, _version FROM {relation} ORDER BY ALL").fetchall()
    return [TracedFile(dataset, file, version, None) for file, version in found]
