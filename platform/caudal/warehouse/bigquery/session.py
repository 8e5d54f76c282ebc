"""Published tables in BigQuery for whoever speaks DuckDB's SQL: a statement's tables are brought here, then it is run.

Of each table only the columns that the statement names are brought, and of its rows only those that its simple conditions
leave. They come as Parquet files into a folder of the connection, and stay there until it is closed; the same need is read
once. All tables are read as one published version has them.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from caudal.warehouse.bigquery.catalog import SEARCHED, Catalog, Described
from caudal.warehouse.bigquery.duckdb_types import known_types, selected, storable
from caudal.warehouse.bigquery.needs import Need, named_in, needs
from caudal.warehouse.bigquery.reading import STREAMS, Brought, TableReader, arrow_schema
from caudal.warehouse.bigquery.views import answer_of_view
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from google.cloud.bigquery_storage_v1.types import ReadSession

    from caudal.environment import Environment
    from caudal.warehouse.bigquery.moment import Moment
    from caudal.warehouse.bigquery.service import BigQuery

#: Words of statements about the catalogue, for which all tables are looked up.
_ABOUT_ALL = ("duckdb_columns", "duckdb_tables", "duckdb_views", "information_schema", "pg_catalog", "show tables", "show all")

#: DuckDB's memory; what does not fit goes to the folder.
MEMORY = "2GB"


@dataclass(frozen=True)
class Read:
    """Rows of a table that are on disk."""

    need: Need
    folder: Path
    brought: Brought = field(default_factory=lambda: Brought(0, 0))


class Session:
    """A `duckdb.DuckDBPyConnection` on what is published in BigQuery. What is not told here is DuckDB's own.

    Attributes:
        moment: the version that is read.
        folder: where rows are kept until the connection is closed.

    """

    def __init__(self, env: Environment, service: BigQuery, moment: Moment, catalog: Catalog | None = None) -> None:
        """Bring nothing yet.

        Args:
            catalog: of other tables than the published ones.

        """
        import duckdb

        self.moment = moment
        self.folder, self._lock = _own_folder(env.state / "reads")
        self._service, self._catalog = service, catalog or Catalog(service)
        self._reader = TableReader(service, moment.at)
        self._reads: dict[str, list[Read]] = {}
        self._shown: dict[str, Any] = {}
        config: dict[str, Any] = {"temp_directory": str(self.folder / "spill"), "memory_limit": MEMORY}
        self._connection, self._empty = duckdb.connect(config=config), duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        for schema in (*SEARCHED, "caudal"):
            self._connection.execute(f"CREATE SCHEMA {identifier(schema)}")
        self._connection.execute(
            "CREATE TABLE caudal.published AS SELECT ?::VARCHAR AS version, ?::TIMESTAMPTZ AS published_at",
            [moment.version, moment.published_at],
        )
        self._connection.execute(f"SET search_path = '{','.join(SEARCHED)}'")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, query: Any, parameters: object = None) -> Session:
        """Bring what the statement needs, then run it.

        Raises:
            caudal.warehouse.bigquery.explained.BigQueryError: a table cannot be read.

        """
        self._prepare(query if isinstance(query, str) else query.query)
        self._connection.execute(query, parameters)
        return self

    def sql(self, query: str, **named: Any) -> duckdb.DuckDBPyRelation:
        """As `execute`, as a relation. It sees what this statement needed, not what one after it does."""
        self._prepare(query)
        return self._connection.sql(query, **named)

    query = sql

    def table(self, name: str) -> duckdb.DuckDBPyRelation:
        """All of a published table, as a relation."""
        return self.sql(f"FROM {'.'.join(identifier(part) for part in name.split('.', 1))}")

    def cursor(self) -> Session:
        """The connection itself: what is brought is known to it alone."""
        return self

    def bring(self, relation: str) -> None:
        """Bring all of `schema.table` in one read, for whoever will ask for it column by column."""
        found = self._catalog.relation(*relation.split(".", 1))
        if found:
            described = self._catalog.describe(found)
            readable = [name for name, type_ in known_types(described.fields.values()).items() if type_ != '"NULL"']
            self._read(described, Need(tuple(readable)))

    def stream(self, relation: str, columns: Sequence[str], where: str, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """See `caudal.warehouse.published.arrow_batches`."""
        import pyarrow as pa

        found = self._catalog.relation(*relation.split(".", 1))
        named = ".".join(map(identifier, relation.split(".", 1)))
        chosen = ", ".join(map(identifier, columns)) or "*"
        query = f"SELECT {chosen} FROM {named} WHERE {where or 'true'}"
        # Its words are DuckDB's, also where there are no rows; the statement is told to be wrong before anything is read.
        described = self._catalog.describe(found) if found else None
        if described:
            self._show(described, None)
        yield from self._connection.execute(query).to_arrow_reader(batch_rows)
        if described is None or found is None:
            return
        need = needs(query, {found: described.fields}, lambda *_: found)[found]
        if not need.columns:
            need = replace(need, columns=(_cheapest(described),))
        session = self._begin(described, need, STREAMS)
        schema = arrow_schema(session)
        stored = pa.schema([pa.field(f.name, storable(f.type)) for f in schema])
        types = selected(known_types(described.fields.values()), need.columns)
        alias = identifier(relation.split(".", 1)[1])
        for stream in session.streams:
            for batch in self._reader.batches(session, stream.name):
                rows = pa.Table.from_batches([batch], schema).cast(stored)
                self._connection.register("caudal_batch", rows)
                of_batch = f"SELECT {chosen} FROM (SELECT {types} FROM caudal_batch) AS {alias} WHERE {where or 'true'}"
                yield from self._connection.execute(of_batch).to_arrow_reader(batch_rows)
        self._connection.unregister("caudal_batch")

    def described(self, relation: str) -> Described:
        """What BigQuery tells of `schema.table`, as `relations()` names it."""
        return self._catalog.describe(relation)

    def relations(self) -> list[Described]:
        """Every table and view that can be read."""
        return self._catalog.describe_all()

    def confine(self) -> None:
        """Take from the connection whatever reaches beyond its own folder. For statements that people type."""
        self._connection.execute(f"SET allowed_directories = [{text(str(self.folder))}]")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def close(self) -> None:
        """Let go of the rows."""
        self._connection.close()
        self._empty.close()
        self._reader.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.with_suffix(".lock").unlink(missing_ok=True)
        self._lock.close()

    def _prepare(self, query: str) -> None:
        names = self._names(query)
        lowered = " ".join(query.lower().split())
        if any(word in lowered for word in _ABOUT_ALL):
            for described in self._catalog.describe_all():
                if described.relation not in self._shown:
                    self._show(described, None)
        tables = {relation: self._catalog.describe(relation) for relation in set(names.values())}
        if not tables:
            return
        fields = {relation: described.fields for relation, described in tables.items()}
        for relation, need in needs(query, fields, lambda schema, name: names.get(_key(schema, name))).items():
            self._show(tables[relation], self._read(tables[relation], need) if need.rows else None)

    def _names(self, query: str) -> dict[str, str]:
        """The published relations that a statement names, by how it names them."""
        found = {}
        for schema, name in named_in(query, self._empty):
            if schema.lower() in ("caudal", "information_schema", "temp", "main") or self._is_local(schema, name):
                continue
            relation = self._catalog.relation(schema, name)
            if relation:
                found[_key(schema, name)] = relation
        return found

    def _is_local(self, schema: str, name: str) -> bool:
        """Whether somebody made a table of that name in this connection, such as a temporary one."""
        if schema:
            return False
        sql = "SELECT 1 FROM {} WHERE lower({}) = lower(?) AND schema_name = 'main' OR temporary AND lower({}) = lower(?)"
        views, tables = (sql.format(f"duckdb_{k}s()", f"{k}_name", f"{k}_name") for k in ("view", "table"))
        return self._connection.execute(f"{views} UNION ALL {tables}", [name] * 4).fetchone() is not None

    def _read(self, described: Described, need: Need) -> Read:
        """A read that has what is needed: one that was made before, or a new one."""
        if not need.columns:  # Rows are counted: the column that costs least is enough.
            need = replace(need, columns=(_cheapest(described),))
        known = self._reads.setdefault(described.relation, [])
        for read in known:
            if _suffices(read.need, need):
                return read
        folder = self.folder / f"{len(list(self.folder.iterdir()))}"
        session = self._begin(described, need, STREAMS if need.limit is None else 1)
        read = Read(need, folder, self._reader.to_parquet(session, folder, need.limit))
        known.append(read)
        return read

    def _begin(self, described: Described, need: Need, streams: int) -> ReadSession:
        table = self._catalog.place(described.relation)
        if described.is_view:
            answer = answer_of_view(self._service, table, need, self.moment.version)
            return self._reader.begin(answer, need.columns, streams=streams, as_it_is=True)
        restriction = _with_partition(need.restriction, described.partition_filter)
        table = self.moment.places.get(described.relation, table)
        return self._reader.begin(table, need.columns, restriction, streams)

    def _show(self, described: Described, read: Read | None) -> None:
        """Make the table of its name what was read of it; without rows, if nothing was."""
        shown = read.folder if read else None
        if self._shown.get(described.relation, self) == shown:
            return
        types = known_types(described.fields.values())
        files = sorted(str(path) for path in read.folder.glob("*.parquet")) if read else []
        columns = selected(types, read.need.columns if read and files else ())
        source = f"read_parquet([{', '.join(map(text, files))}])" if files else "(SELECT 1 WHERE false)"
        schema, name = described.relation.split(".", 1)
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}")
        self._connection.execute(
            f"CREATE OR REPLACE VIEW {identifier(schema)}.{identifier(name)} AS SELECT {columns} FROM {source}"
        )
        self._shown[described.relation] = shown


def _key(schema: str, name: str) -> str:
    return f"{schema}.{name}".casefold()


def _suffices(there: Need, wanted: Need) -> bool:
    if not set(wanted.columns) <= set(there.columns) or there.restriction not in ("", wanted.restriction):
        return False
    return there.limit is None or (wanted.limit is not None and wanted.limit <= there.limit)


#: How many bytes a value has, for choosing one column; texts and structures are more.
_BYTES = {"BOOL": 1, "DATE": 4, "INT64": 8, "FLOAT64": 8, "DATETIME": 8, "TIMESTAMP": 8, "TIME": 8, "NUMERIC": 16}


def _cheapest(described: Described) -> str:
    from caudal.warehouse.bigquery.restrictions import kind_of

    return min(described.fields, key=lambda name: _BYTES.get(kind_of(described.fields[name]), 100))


def _with_partition(restriction: str, column: str) -> str:
    """A restriction of a table that takes none without its partition: all of them, where the statement says no more."""
    if not column or f"`{column}`" in restriction:
        return restriction
    every = f"(`{column}` IS NOT NULL OR `{column}` IS NULL)"
    return f"{restriction} AND {every}" if restriction else every


def _own_folder(home: Path) -> tuple[Path, Any]:
    """A new folder, and the lock that says that somebody uses it. Those whose user died are removed."""
    home.mkdir(parents=True, exist_ok=True)
    for left in home.glob("*.lock"):
        with left.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(left.with_suffix(""), ignore_errors=True)
            left.unlink(missing_ok=True)
    folder = Path(tempfile.mkdtemp(dir=home))
    unseen = folder.with_suffix(".new")
    lock = unseen.open("a")
    fcntl.flock(lock, fcntl.LOCK_EX)
    unseen.rename(folder.with_suffix(".lock"))  # Held from when anybody sees it.
    return folder, lock
