"""From a mart's rows to the lake files that they were made of: with these alone, the same rows come out again."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

from caudal.environment import Environment
from caudal.transform.columns.project import COLUMNS, RENDERED, read_columns
from caudal.transform.columns.stored import Stored
from caudal.transform.columns.trace import as_text, as_value, trace
from caudal.transform.manifest import parse_manifest
from caudal.warehouse.query import RefusedQuery

SALES = [  # file, row, sale, item, day, amount
    ("till/1.csv", 1, 1, "tea", "mon", 5), ("till/1.csv", 2, 2, "tea", "mon", 7), ("till/1.csv", 3, 3, "ink", "mon", 9),
    ("till/2.csv", 1, 4, "tea", "tue", 1), ("till/2.csv", 2, 5, "jam", "tue", 2), ("till/3.csv", 1, 6, "tea", "mon", 4),
]  # fmt: skip
ITEMS = [("items/a.csv", 1, "tea", "drink"), ("items/a.csv", 2, "jam", "food"), ("items/b.csv", 1, "ink", "office")]

MODELS = {
    "stg_sales": ("view", "select sale, item, day, amount from raw.till__sales"),
    "by_day": (
        "table",
        """with joined as (select s.*, i.kind from marts.stg_sales as s left join raw.till__items as i on s.item = i.item)
        select day, kind, sum(amount) as amount, count(*) as lines, day = max(day) over () as is_last
        from joined group by day, kind order by day""",
    ),
    "kinds": ("table", "select distinct kind from raw.till__items union select distinct item from marts.stg_sales where amount > 8"),
    "all_rows": ("table", "select item, amount from marts.stg_sales union all select kind, 0 from raw.till__items"),
    "best": ("table", "select item, amount from marts.stg_sales qualify row_number() over (partition by item order by amount) = 1"),
    "below_best": ("table", "select b.item, b.amount, i.kind from marts.best as b join raw.till__items as i using (item)"),
    "without": ("table", "select i.item from raw.till__items as i anti join marts.stg_sales as s using (item)"),
    "total": ("table", "select sum(amount) as amount, quantile_cont(amount, 0.5) as middle from marts.stg_sales having count(*) > 0"),
    "chosen": ("table", "select * from marts.stg_sales where item in (select item from raw.till__items where kind = 'drink')"),
}  # fmt: skip


@dataclass
class Company:
    """A published warehouse whose raw tables are `SALES` and `ITEMS`, and its project."""

    env: Environment
    manifest: object
    removed: list = field(default_factory=list)

    def connect(self):
        return duckdb.connect(str(self.env.published.resolve()))

    def build(self, only_files=None):
        """All rows of each model, of some files or of all."""
        with self.connect() as connection:
            load(connection, only_files)
            return {name: sorted(connection.execute(f"select * from marts.{name}").fetchall(), key=str) for name in MODELS}

    def trace(self, table, where="true"):
        return trace(self.env, [self.manifest], table, where)


def load(connection, only_files=None):
    connection.execute("create schema if not exists raw; create schema if not exists marts")
    kept = lambda rows: [row for row in rows if only_files is None or row[0] in only_files]  # noqa: E731
    connection.execute(
        "create or replace table raw.till__sales (sale int, item text, day text, amount int, _file text, _version text, _row bigint)"
    )
    connection.execute("create or replace table raw.till__items (item text, kind text, _file text, _version text, _row bigint)")
    for file, row, sale, item, day, amount in kept(SALES):
        connection.execute("insert into raw.till__sales values (?, ?, ?, ?, ?, 'v1', ?)", [sale, item, day, amount, file, row])
    for file, row, item, kind in kept(ITEMS):
        connection.execute("insert into raw.till__items values (?, ?, ?, 'v1', ?)", [item, kind, file, row])
    for name, (kind, sql) in MODELS.items():
        connection.execute(f"create or replace {kind} marts.{name} as {sql}")


def confined_without_delta(connection, _) -> None:
    """DuckDB reads and hashes all of an extension that it loads, and these raw tables need none."""
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    monkeypatch.setattr("caudal.transform.columns.trace.confine", confined_without_delta)
    env = Environment("local", "stall", tmp_path, tmp_path)
    home = env.versions / "1"
    home.mkdir(parents=True)
    env.published.symlink_to(home / "warehouse.duckdb")
    nodes = {}
    for name, (kind, sql) in MODELS.items():
        reads = [f"model.stall.{m}" for m in MODELS if f"marts.{m} " in sql + " "]
        reads += [f"source.stall.till.{s}" for s in ("sales", "items") if f"till__{s}" in sql]
        nodes[f"model.stall.{name}"] = {
            "unique_id": f"model.stall.{name}", "resource_type": "model", "name": name, "alias": name, "schema": "marts", "fqn": [name],
            "path": f"marts/sales/{name}.sql", "config": {"materialized": kind}, "depends_on": {"nodes": reads}, "columns": {},
        }  # fmt: skip
    columns = {"sales": ["sale", "item", "day", "amount"], "items": ["item", "kind"]}
    sources = {
        f"source.stall.till.{s}": {
            "unique_id": f"source.stall.till.{s}", "resource_type": "source", "source_name": "till", "name": s, "schema": "raw",
            "identifier": f"till__{s}", "config": {"meta": {"contract": "till 1"}},
            "columns": {c: {"name": c} for c in [*columns[s], "_file", "_version", "_row"]},
        }
        for s in columns
    }  # fmt: skip
    document = {"metadata": {"project_name": "stall", "adapter_type": "duckdb"}, "nodes": nodes, "sources": sources}
    rendered = {f"model.stall.{name}": {"sql": [sql]} for name, (_, sql) in MODELS.items()}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(document))
    path.with_name(RENDERED).write_text(json.dumps(rendered))
    _, stored = read_columns(document, rendered, Stored({}))
    assert not [t.unknown for t in stored.tables.values() if t.unknown]
    stored.write(path.with_name(COLUMNS))
    found = Company(env, parse_manifest(document, path))
    with found.connect() as connection:
        load(connection)
    return found


EVERY_FILE = {row[0] for row in (*SALES, *ITEMS)}


@pytest.mark.parametrize(
    ("table", "column", "value", "files"),
    [
        ("stg_sales", "sale", 4, {"till/2.csv"}),
        ("by_day", "kind", "drink", {"till/1.csv", "till/2.csv", "till/3.csv", "items/a.csv"}),
        ("by_day", "kind", "office", {"till/1.csv", "items/b.csv"}),
        ("kinds", "kind", "food", {"items/a.csv"}),
        ("kinds", "kind", "ink", {"till/1.csv"}),
        ("all_rows", "item", "jam", {"till/2.csv"}),
        ("all_rows", "item", "office", {"items/b.csv"}),
        ("total", "amount", 28, {"till/1.csv", "till/2.csv", "till/3.csv"}),
    ],
)
def test_the_files_that_are_named_are_those_that_make_the_row(company, table, column, value, files):
    where = f"{column} = {value!r}"
    found = company.trace(table, where)
    assert found.is_exact
    assert {file.file for file in found.files} == files
    names = [row[0] for row in company.connect().execute(f"describe marts.{table}").fetchall() if row[0] != "is_last"]

    def rows():
        with company.connect() as connection:
            return sorted(connection.execute(f"select {', '.join(names)} from marts.{table} where {where}").fetchall())

    before = rows()
    assert before
    company.build(files)  # nothing else is there any more
    assert rows() == before
    for file in files:
        company.build(EVERY_FILE - {file})
        assert rows() != before, file


def test_rows_are_counted_and_named_by_their_place_in_the_file(company):
    found = company.trace("by_day", "day = 'mon' and kind = 'drink'")
    named = {(f.dataset, f.file): (f.rows, f.numbers) for f in found.files}
    assert named == {
        ("till/items", "items/a.csv"): (1, (1,)), ("till/sales", "till/1.csv"): (2, (1, 2)), ("till/sales", "till/3.csv"): (1, (1,)),
    }  # fmt: skip
    assert found.notes == ("is_last: computed from other rows as well (a window); the files of those are not named",)
    text = as_text(found, 2)
    assert "2  till/sales  till/1.csv  rows 1, 2" in text
    assert "1 files more" in text
    assert json.loads(json.dumps(as_value(found)))["is_exact"] is True


def test_of_an_anti_join_only_the_rows_that_are_there_are_named(company):
    with company.connect() as connection:
        connection.execute("insert into raw.till__items values ('pen', 'office', 'items/c.csv', 'v1', 1)")
        connection.execute(f"create or replace table marts.without as {MODELS['without'][1]}")
    assert [file.file for file in company.trace("without").files] == ["items/c.csv"]


@pytest.mark.parametrize(("table", "reason"), [("best", "depends on others"), ("chosen", "a subquery in an expression")])
def test_what_cannot_be_told_exactly_is_an_upper_bound_and_says_so(company, table, reason):
    found = company.trace(table, "item = 'tea'")
    assert not found.is_exact
    assert {file.file for file in found.files} >= {"till/1.csv", "till/2.csv", "till/3.csv"}
    assert all(file.rows is None for file in found.files)
    assert reason in found.notes[0]
    assert "upper bound" in as_text(found, 9)


def test_below_what_cannot_be_told_the_rest_is_told(company):
    found = company.trace("below_best", "item = 'tea'")
    assert {f.file: f.rows for f in found.files} == {
        "items/a.csv": 1,
        "till/1.csv": None,
        "till/2.csv": None,
        "till/3.csv": None,
    }


def test_rows_that_were_built_from_what_is_no_longer_there_are_counted(company):
    with company.connect() as connection:
        connection.execute("update raw.till__sales set amount = 50 where sale = 1")
    found = company.trace("by_day", "kind = 'drink'")
    assert found.notes[-1].startswith("1 of the rows come out differently")


def test_a_table_or_condition_that_is_not_there_is_refused_with_what_comes_near(company):
    with pytest.raises(LookupError, match="no model is called `by_days`; did you mean `by_day`"):
        company.trace("by_days")
    with pytest.raises(RefusedQuery, match=r"no condition on the table's rows.*nope"):
        company.trace("by_day", "nope = 1")
    with pytest.raises(RefusedQuery):
        company.trace("by_day", "true); drop table marts.by_day; select (1")
    with pytest.raises(RefusedQuery, match="no condition"):
        company.trace("by_day", "exists (select 1 from read_csv('/etc/passwd'))")
