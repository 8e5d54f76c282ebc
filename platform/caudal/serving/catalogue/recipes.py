"""How to query a table, by tool: text that can be copied, and what must be there for it to work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caudal.serving.catalogue.values import Catalogue, Table

_BARE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


@dataclass(frozen=True)
class Recipe:
    """One way to a table. `code` may be copied as it is; `steps` are done by hand, in this order; `needs` is said first."""

    tool: str
    code: str = ""
    needs: str = ""
    steps: tuple[str, ...] = ()


def recipes(table: Table, catalogue: Catalogue) -> tuple[Recipe, ...]:
    """All ways, the simplest first."""
    name, file = _sql_name(table.relation), catalogue.database
    company = catalogue.company
    if file.startswith(_IN_BIGQUERY):
        return _of_bigquery(table, catalogue)
    export = f'caudal sql --company {company} "from {_in_shell(name)}" --format'
    file_name = table.name if set(table.name.lower()) <= _BARE else "table"
    whole = [
        Recipe("SQL", f'caudal sql --company {company} "select * from {_in_shell(name)} limit 10"', _SQL),
        Recipe("Python: pandas", _PANDAS.format(file=file, statement=f"select * from {name}"), _PYTHON),
        Recipe("DuckDB", _DUCKDB.format(file=file.replace("'", "''"), name=name), _DUCKDB_NEEDS),
        _http(table),
        Recipe("BigQuery", _BIGQUERY.format(export=export, file=file_name), _BIGQUERY_NEEDS),
        Recipe("Power BI", f"{export} parquet > {file_name}.parquet", _POWER_BI_NEEDS, _power_bi(file, name, file_name)),
        Recipe("Tableau", f"{export} csv > {file_name}.csv", _TABLEAU_NEEDS, _tableau(file, name, file_name)),
    ]
    return tuple(whole)


def _of_bigquery(table: Table, catalogue: Catalogue) -> tuple[Recipe, ...]:
    """The ways to a table in BigQuery."""
    project, _, prefix = catalogue.database.removeprefix(_IN_BIGQUERY).partition("/")
    place = f"{project}.{prefix}{table.relation}"
    statement = f"select * from `{place}` limit 10"
    frame = f'published.read_arrow(env, "select * from {_sql_name(table.relation)}").to_pandas()'
    return (
        Recipe("SQL", f'caudal sql --company {catalogue.company} "select * from {table.relation} limit 10"', _SQL_THERE),
        Recipe("BigQuery", f"bq query --nouse_legacy_sql '{statement}'", "Or paste the query into the console."),
        Recipe("Python: pandas", _PANDAS_THERE.format(company=catalogue.company, frame=frame), _PYTHON_THERE),
        _http(table),
        Recipe("Power BI", needs=_NOT_OURS, steps=("Home, Get data, More, Google BigQuery; sign in.", f"Choose `{place}`.")),
        Recipe("Tableau", needs=_NOT_OURS, steps=("Connect, To a Server, Google BigQuery; sign in.", f"Choose `{place}`.")),
    )


_IN_BIGQUERY = "bigquery://"
_SQL_THERE = "In a checkout of the platform, with CAUDAL_ENV=gcp. The query is in GoogleSQL; what it will cost is said first."
_PYTHON_THERE = "In a checkout of the platform, with CAUDAL_ENV=gcp. Only the columns that the query names are read."
_PANDAS_THERE = """from caudal.environment import Environment
from caudal.warehouse import published

env = Environment.current({company!r})
frame = {frame}"""
_SQL = "In a checkout of the platform. Without a query, `caudal sql` opens a shell."
_PYTHON = "The package `duckdb`, and the file on this machine. A notebook that stays open keeps the version that it opened."
_PANDAS = """import duckdb

with duckdb.connect({file!r}, read_only=True) as published:
    frame = published.sql({statement!r}).df()"""
_DUCKDB_NEEDS = "Open it read-only: the file is a link to the newest version, and is never written in place."
_DUCKDB = "ATTACH '{file}' AS published (READ_ONLY);\nSELECT * FROM published.{name} LIMIT 10;"
_BIGQUERY_NEEDS = (
    "This table is published in a DuckDB file and not in BigQuery. A copy can be taken there; `DATASET` is yours, and the copy "
    "does not follow later versions."
)
_BIGQUERY = "{export} parquet > {file}.parquet\nbq load --source_format=PARQUET DATASET.{file} {file}.parquet"
_NOT_OURS = "The steps are those of the tools' own documentation."
_POWER_BI_NEEDS = (
    f"Power BI Desktop reads Parquet by itself: a copy. For the file itself it needs DuckDB's ODBC driver. {_NOT_OURS}"
)
_TABLEAU_NEEDS = (
    f"Tableau reads CSV by itself: a copy. For the file itself it needs DuckDB's connector and JDBC driver. {_NOT_OURS}"
)


def _power_bi(file: str, name: str, file_name: str) -> tuple[str, ...]:
    statement = f"select * from {name}"
    driver = (
        "The file itself: install DuckDB's ODBC driver for Windows (`duckdb_odbc-windows-amd64.zip`: unpack it where it may "
        "stay, run `odbc_install.exe` as administrator)."
    )
    source = (
        "In the ODBC Data Source Administrator add a data source of the driver `DuckDB Driver`; its database is the published "
        f"file, `{file}`, as this Windows machine reaches it (a share or a copy)."
    )
    query = (
        "Home, Get data, More, ODBC; choose that data source; below Advanced options the SQL statement is "
        f"`{statement}`. Choose Import."
    )
    return (f"The copy: Home, Get data, More, Parquet; give the path or URL of `{file_name}.parquet`.", driver, source, query)


def _tableau(file: str, name: str, file_name: str) -> tuple[str, ...]:
    schema, _, plain = name.partition(".")
    connector = (
        "The file itself: put DuckDB's JDBC driver (`duckdb_jdbc.jar`) into Tableau's folder for drivers, and the connector "
        "`duckdb_jdbc.taco` into `My Tableau Repository/Connectors`; start Tableau anew."
    )
    connect = (
        f"Connect, To a Server, DuckDB; the database is the published file, `{file}`, as this machine reaches it. Close "
        "Tableau's connection to see a newer version."
    )
    return (
        f"The copy: Connect, To a File, Text file; choose `{file_name}.csv`.",
        connector,
        connect,
        f"Choose the schema `{schema}` and the table `{plain}`.",
    )


def _http(table: Table) -> Recipe:
    if table.lookup is None:
        return Recipe("HTTP API", needs="Its rows cannot be looked up over HTTP: it is no table of the company's online store.")
    name, key = table.lookup
    if not key:
        return Recipe("HTTP API", "curl API/v1/forecasts\ncurl API/v1/forecasts/SERIES", _HTTP)
    return Recipe("HTTP API", f"curl API/v1/tables/{name}/KEY", f"{_HTTP} A row is looked up by `{key}`.")


_HTTP = "`API` is the address that this catalogue is served at, without `/catalogue`."


def _sql_name(relation: str) -> str:
    """`schema.table` as SQL, quoted where it must be."""
    return ".".join(part if set(part) <= _BARE else '"' + part.replace('"', '""') + '"' for part in relation.split(".", 1))


def _in_shell(name: str) -> str:
    """As it stands between a shell's double quotes."""
    for special in ("\\", '"', "$", "`"):
        name = name.replace(special, f"\\{special}")
    return name
