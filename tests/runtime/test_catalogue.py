"""The catalogue of a company with a real run behind it: what it tells of each table, and what it hides."""

import sys
from pathlib import Path

import dagster as dg
import pytest

from caudal.environment import Environment
from caudal.runtime.catalogue import make_catalogue, passed_on
from caudal.runtime.catalogue_records import promise
from caudal.serving.catalogue.site import content, paths
from caudal.serving.catalogue.values import Column

COMPANIES = Path(__file__).resolve().parents[1] / "companies"
LINES = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,<script>alert(1)</script>,6,2010-12-01 08:26:00,2.55,178501785.0,United Kingdom
C536366,71053,WHITE METAL LANTERN,-6,2010-12-01 08:27:00,3.39,178501785.0,United Kingdom
536367,71053,WHITE METAL LANTERN,two,2010-12-01 08:28:00,3.39,166661666.0,United Kingdom
536368,71053,WHITE METAL LANTERN,1,2010-12-01 08:29:00,3.39,,France
"""


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """`retail` with one file of four lines, one of which is refused; everything materialized. Catalogue and instance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUDAL_ROOT", str(COMPANIES))
        patch.setenv("CAUDAL_DATA", str(tmp_path_factory.mktemp("data")))
        patch.syspath_prepend(str(COMPANIES))
        from caudal.lake.component import declared_datasets
        from caudal.lake.ledger import Ledger
        from caudal.lake.watch import look
        from caudal.runtime.location import component_tree, load_definitions

        env = Environment.current("retail")
        file = env.lake / "web" / "order_lines" / "2010-12-01.csv"
        file.parent.mkdir(parents=True)
        file.write_text(LINES)
        look(env, Ledger(env.state / "ledger.db"), declared_datasets(component_tree(env)))
        defs = load_definitions("retail")
        with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
            before = make_catalogue(env, defs, instance)
            assert defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success
            yield env, before, make_catalogue(env, defs, instance)
    for name in [n for n in sys.modules if n.partition(".")[0] == "retail"]:
        del sys.modules[name]


@pytest.fixture
def catalogue(company):
    return company[2]


def test_before_anything_is_published_the_catalogue_is_empty(company):
    assert (company[1].version, company[1].tables) == ("", ())


def test_every_published_table_is_in_it_and_has_a_page(company):
    env, _, catalogue = company
    from caudal.warehouse.published import connect

    with connect(env) as published:
        found = published.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_columns() WHERE NOT internal AND schema_name <> 'caudal' GROUP BY 1"
        ).fetchall()
    assert {name for (name,) in found} == set(catalogue.by_relation)
    assert {"marts.net_by_month", "marts.valid_sales", "raw.web__order_lines"} <= set(catalogue.by_relation)
    assert catalogue.version == env.published.resolve().parent.name
    assert all(content(catalogue, path) for path in paths(catalogue))


def test_a_mart_tells_what_model_dagster_and_profile_know_of_it(catalogue):
    table = catalogue.by_relation["marts.net_by_month"]
    assert (table.asset, table.domain, table.kind, table.rows) == ("marts/sales/net_by_month", "sales", "table", 1)
    assert table.description == "Net turnover by month of the invoice."
    month = table.columns[0]
    assert (month.name, month.type, month.constraints) == ("month", "DATE", ("never empty", "unique"))
    assert {(c.name, c.status) for c in table.checks} >= {("not_null_net_by_month_month", "passed")}
    assert all(check.at and check.blocking for check in table.checks if check.name.startswith(("not_null", "unique")))
    assert table.freshness.made_at > "2020"
    assert (table.freshness.late, table.freshness.rule) == (None, "")
    assert table.reads == ("staging/web/stg_web__order_lines",)
    assert table.origins == ("lake/web/order_lines",)
    assert table.profile is not None
    assert (table.profile.asset, table.profile.rows) == ("profile/sales/net_by_month", 1)
    assert [f.column for f in table.profile.figures] == ["month", "net_amount", "order_lines"]


def test_a_raw_table_tells_what_its_contract_promises(catalogue):
    table = catalogue.by_relation["raw.web__order_lines"]
    columns = {c.name: c for c in table.columns}
    assert table.contract == "web.order_lines 1.0.0"
    assert "never empty" in columns["Country"].constraints
    assert columns["CustomerID"].classification == "personal"
    assert columns["_file"].description == "The lake file that the row came from."
    assert table.rows == 3


@pytest.mark.parametrize(
    ("relation", "column"),
    [
        ("raw.web__order_lines", "CustomerID"),
        ("staging.stg_web__order_lines", "customer_id"),
        ("marts.valid_sales", "customer_id"),
    ],
)
def test_personal_data_is_masked_also_where_a_model_calls_it_by_a_like_name(catalogue, relation, column):
    table = catalogue.by_relation[relation]
    assert {c.name for c in table.columns if c.personal} == {column}
    shown = [row[table.examples.columns.index(column)] for row in table.examples.rows]
    assert set(shown) == {"***", ""}


def test_no_page_has_a_personal_value(catalogue):
    for path in paths(catalogue):
        page = (content(catalogue, path) or b"").decode()
        assert "178501785" not in page, (path, page[max(0, page.find("178501785") - 300) :][:400])
        assert "166661666" not in page, path


def test_a_value_that_is_markup_is_shown_as_text(catalogue):
    page = (content(catalogue, "tables/marts/valid_sales.html") or b"").decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_refused_row_is_as_personal_as_its_table(catalogue):
    table = catalogue.by_relation["quarantine.web__order_lines"]
    assert {c.name for c in table.columns if c.personal} == {"value", "record"}
    (row,) = [dict(zip(table.examples.columns, r, strict=True)) for r in table.examples.rows]
    assert row["column"] == "Quantity"
    assert "two" not in row["value"]
    assert "166661666" not in row["record"]


def test_a_text_that_is_made_of_a_personal_text_is_personal_and_a_count_is_not():
    columns = passed_on(
        {
            "raw.people": (
                Column("name", "VARCHAR", classification="personal", personal=True),
                Column("id", "BIGINT", personal=True),
            ),
            "staging.people": (Column("called", "VARCHAR", made_of=("raw.people.name",)),),
            "marts.people": (
                Column("greeting", "VARCHAR", made_of=("staging.people.called",)),
                Column("people", "BIGINT", made_of=("raw.people.id",)),
                Column("initial", "VARCHAR", classification="public", made_of=("raw.people.name",)),
                Column("loop", "VARCHAR", made_of=("marts.people.loop",)),
            ),
        }
    )
    assert [c.name for each in columns.values() for c in each if c.personal] == ["name", "id", "called", "greeting"]


def test_a_freshness_policy_is_told_in_words_and_as_a_moment():
    from datetime import timedelta

    assert promise(dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30)), 1000.0) == (
        "never older than 30 h",
        109000.0,
    )
    rule, by = promise(dg.FreshnessPolicy.cron("0 10 * * *", timedelta(hours=1)), None)
    assert rule == "made by `0 10 * * *` (UTC)"
    assert by is not None
    assert by % 86400 == 36000
    assert promise(None, 1.0) == ("", None)
