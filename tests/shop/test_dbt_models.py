"""The dbt project, built and tested on a sample of the raw tables that the contracts promise."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

PROJECT = Path(__file__).resolve().parents[2] / "dbt"
MARTS = {
    "campaign_reach",
    "coupon_redemptions",
    "daily_sales",
    "daily_totals",
    "dim_household",
    "dim_product",
    "fct_basket_lines",
    "fct_baskets",
    "uncatalogued_sales",
    "weekly_reconciliation",
}


@dataclass(frozen=True)
class Built:
    """A database after `dbt build`, the outcome of each model and test by name, and dbt's manifest."""

    database: Path
    outcomes: dict[str, str]
    manifest: dict[str, Any]

    @property
    def failures(self) -> set[str]:
        return {name for name, outcome in self.outcomes.items() if outcome not in ("success", "pass")}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def row(self, sql: str) -> dict[str, Any]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            found = connection.execute(sql)
            names = [column[0] for column in found.description]
            return dict(zip(names, *found.fetchall(), strict=True))


def dbt(verb: str, database: Path, target: Path, *options: str) -> Built:
    """Run `dbt build` or `dbt run` in a process of its own: dbt keeps global state, and a lock on the database."""
    command = [
        *(sys.executable, "-P", "-c", "from dbt.cli.main import cli; cli()"),
        *("--quiet", "--log-path", str(target / "logs"), verb, "--target-path", str(target)),
        *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target", "local", *options),
    ]
    settings = {"CAUDAL_DUCKDB_PATH": str(database), "CAUDAL_DUCKDB_EXTENSIONS": str(target / "extensions")}
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    manifest = json.loads((target / "manifest.json").read_text())
    results = json.loads((target / "run_results.json").read_text())["results"]
    assert results, done.stdout + done.stderr
    outcomes = {manifest["nodes"][r["unique_id"]]["name"]: r["status"] for r in results}
    return Built(database, outcomes, manifest)


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> Path:
    """Where dbt writes. Shared, so that it parses the project once."""
    return tmp_path_factory.mktemp("target")


@pytest.fixture(scope="module")
def built(sample_home, load_raw, target, tmp_path_factory) -> Built:
    """The whole project, built and tested on the sample. Not to be changed."""
    database = tmp_path_factory.mktemp("warehouse") / "warehouse.duckdb"
    load_raw(database, sample_home)
    return dbt("build", database, target)


def test_every_model_builds_and_every_test_passes(built):
    assert built.failures == set()
    kinds = ("model", "test")
    assert set(built.outcomes) == {node["name"] for node in built.manifest["nodes"].values() if node["resource_type"] in kinds}
    tables = built.query("select table_name from duckdb_tables() where schema_name = 'marts'")
    assert {name for (name,) in tables} == MARTS
    views = built.query("select view_name from duckdb_views() where schema_name = 'staging'")
    assert len(views) == 8
    schemas = built.query("select schema_name from duckdb_schemas() where not internal order by 1")
    assert [name for (name,) in schemas] == ["marts", "raw", "staging"]


def test_every_model_enforces_a_contract_and_describes_every_column_and_owner(built):
    models = [n for n in built.manifest["nodes"].values() if n["resource_type"] == "model"]
    assert len(models) == 18
    for model in models:
        assert model["config"]["contract"]["enforced"], model["name"]
        assert model["description"], model["name"]
        assert model["config"]["meta"]["owner"], model["name"]
        assert model["tags"], model["name"]
        assert [c for c in model["columns"].values() if not (c["description"] and c["data_type"])] == []
        held = built.query(f"describe {model['schema']}.{model['alias']}")
        assert [name for name, *_ in held] == list(model["columns"]), model["name"]


def test_every_mart_is_tested(built):
    tested = {n.get("attached_node") for n in built.manifest["nodes"].values() if n["resource_type"] == "test"}
    assert {f"model.shop.{name}" for name in MARTS} <= tested


def test_no_line_and_no_cent_is_lost_between_raw_and_marts(built):
    raw = built.query("select count(*), count(distinct basket_id), sum(sales_value) from raw.pos__transactions")
    assert raw == [(40_757, 4_383, Decimal("119196.90"))]
    assert built.query("select count(*), count(distinct basket_id), sum(sales) from marts.fct_basket_lines") == raw
    assert built.query("select sum(lines), count(*), sum(sales) from marts.fct_baskets") == raw
    assert built.query("select sum(lines), sum(sales) from marts.daily_sales") == [(raw[0][0], raw[0][2])]
    assert built.query("select sum(lines), sum(baskets), sum(sales) from marts.daily_totals") == raw
    assert built.query("select sum(baskets), sum(sales) from marts.dim_household") == [raw[0][1:]]


def test_products_that_the_catalogue_misses_are_kept_in_an_unknown_department(built):
    missing = built.query(
        """
        select distinct product_id from raw.pos__transactions
        where product_id not in (select product_id from raw.product_db__products)
        """
    )
    assert missing
    ids = ", ".join(str(product) for (product,) in missing)
    products = f"select distinct department, is_in_catalogue from marts.dim_product where product_id in ({ids})"
    assert built.query(products) == [("UNKNOWN", False)]
    lines = f"select count(*) from raw.pos__transactions where product_id in ({ids})"
    assert built.query("select sum(lines) from marts.daily_sales where department = 'UNKNOWN'") == built.query(lines)
    assert built.query("select sum(lines) from marts.uncatalogued_sales") == built.query(lines)
    assert built.query(f"select distinct department from marts.fct_basket_lines where product_id in ({ids})") == [("UNKNOWN",)]


def test_fuel_is_sold_but_is_not_counted_in_units(built):
    fuel = built.row(
        """
        select sum(quantity) as quantity, sum(units) as units, sum(lines.sales) as sales, max(quantity) as largest
        from marts.fct_basket_lines as lines where is_fuel
        """
    )
    assert fuel["units"] is None
    assert fuel["sales"] > 5_000
    assert fuel["largest"] > 10_000
    assert built.query("select sum(units), sum(lines) > 200 from marts.daily_sales where department = 'FUEL'") == [(0, True)]
    items = built.query("select sum(quantity) from marts.fct_basket_lines where not is_fuel")
    assert built.query("select sum(units) from marts.daily_sales") == items
    assert built.query("select sum(units) from marts.fct_baskets") == items


def test_daily_sales_say_what_a_department_sold_on_a_day(built):
    """The same figures, out of the raw tables by another way."""
    expected = built.row(
        """
        select
            sum(sales_value) as sales, sum(quantity) as units, count(*) as lines, count(distinct basket_id) as baskets,
            count(distinct household_id) as households, count(distinct store_id) as stores,
            sum(retail_disc) as retail_discount, sum(coupon_disc) as coupon_discount,
            sum(coupon_match_disc) as coupon_match_discount
        from raw.pos__transactions
        where strftime(transaction_timestamp, '%Y-%m-%d') = '2017-02-14'
            and product_id in (select product_id from raw.product_db__products where department = 'GROCERY')
        """
    )
    found = built.row("select * from marts.daily_sales where day = '2017-02-14' and department = 'GROCERY'")
    assert {name: found[name] for name in expected} == expected
    assert found["lines"] == 334
    assert found["is_complete"]


def test_only_the_last_day_may_be_incomplete(built):
    incomplete = built.query("select distinct strftime(day, '%Y-%m-%d') from marts.daily_sales where not is_complete")
    assert incomplete == [("2017-04-02",)]


def test_every_household_is_known_and_demographics_where_they_are(built):
    known = built.row("select count(*) as households, count(*) filter (has_demographics) as known from marts.dim_household")
    assert known == {"households": 283, "known": 102}
    assert built.row("select * from marts.dim_household where household_id = 1") == built.row(
        """
        select
            household_id, true as has_demographics, age as age_band, income as income_band, home_ownership, marital_status,
            household_size, household_comp as household_composition, kids_count as children,
            min(cast(transaction_timestamp as date)) as first_day, max(cast(transaction_timestamp as date)) as last_day,
            count(distinct basket_id) as baskets, sum(sales_value) as sales,
            (select count(*) from raw.product_db__campaign_households where household_id = 1) as campaigns,
            (select count(*) from raw.pos__redemptions where household_id = 1) as redemptions
        from raw.product_db__households join raw.pos__transactions using (household_id)
        where household_id = 1 group by all
        """
    )


def test_a_campaigns_reach_counts_households_and_not_rows(built):
    reach = built.row("select * from marts.campaign_reach where campaign_id = 27")
    redeemed = built.row(
        """
        select count(distinct household_id) as households, count(*) as redemptions
        from raw.pos__redemptions where campaign_id = 27
        """
    )
    assert reach["days"] == 47
    assert (reach["coupons"], reach["products"]) == (181, 3_205)
    assert reach["households_targeted"] == 40
    assert reach["households_targeted"] >= reach["households_shopping"] > reach["households_redeeming"] > 0
    assert (reach["households_redeeming"], reach["redemptions"]) == tuple(redeemed.values())
    assert reach["redemption_rate"] == round(Decimal(reach["households_redeeming"]) / 40, 6)


def test_a_redemption_says_how_long_after_the_campaigns_start_it_was(built):
    assert built.query("select count(*), count(*) filter (is_targeted) from marts.coupon_redemptions") == [(15, 15)]
    differing = built.query(
        """
        select count(*) from marts.coupon_redemptions join raw.product_db__campaigns using (campaign_id)
        where start_date + cast(days_since_start as integer) <> redemption_date
        """
    )
    assert differing == [(0,)]


def test_the_warehouse_is_reconciled_with_finances_close(built):
    weeks = built.query("select count(*), sum(warehouse_transactions), sum(sales_difference) from marts.weekly_reconciliation")
    assert weeks == [(14, 40_757, Decimal("0.00"))]
    assert built.outcomes["weekly_close_reconciles"] == "pass"


LINE = "rowid = (select min(rowid) from raw.pos__transactions where week = 3 and sales_value = 1.99)"


@pytest.mark.parametrize(
    ("harm", "transactions", "sales"),
    [
        (f"delete from raw.pos__transactions where {LINE}", -1, "-1.99"),
        (f"update raw.pos__transactions set sales_value = 2.00 where {LINE}", 0, "0.01"),
    ],
    ids=["a lost row", "a cent too much"],
)
def test_reconciliation_fails_for(built, target, tmp_path, harm, transactions, sales):
    harmed = tmp_path / "warehouse.duckdb"
    shutil.copy(built.database, harmed)
    with duckdb.connect(str(harmed)) as connection:
        connection.execute(harm)
    selection = ("--select", "+weekly_reconciliation", "--indirect-selection", "cautious")
    again = dbt("build", harmed, target, *selection)
    assert again.failures == {"weekly_close_reconciles"}
    differing = again.query(
        """
        select week, warehouse_transactions - closed_transactions, sales_difference
        from marts.weekly_reconciliation where not is_reconciled
        """
    )
    assert differing == [(3, transactions, Decimal(sales))]


def test_models_build_before_anything_is_loaded(load_raw, target, tmp_path):
    load_raw(tmp_path / "warehouse.duckdb", None)
    empty = dbt("build", tmp_path / "warehouse.duckdb", target)
    assert empty.failures == set()
    assert empty.query("select count(*) from marts.daily_sales") == [(0,)]


def test_the_same_rows_make_the_same_tables_in_the_same_order(built, sample_home, load_raw, target, tmp_path):
    load_raw(tmp_path / "warehouse.duckdb", sample_home)
    again = dbt("run", tmp_path / "warehouse.duckdb", target)
    for mart in MARTS:
        assert again.query(f"select * from marts.{mart}") == built.query(f"select * from marts.{mart}"), mart


def test_models_are_valid_for_bigquery_with_the_types_of_their_contracts(built, contracts):
    """Parsed and typed, not run: the macros that differ are rendered as they are for BigQuery."""
    from sqlglot import exp, parse_one
    from sqlglot.optimizer.annotate_types import annotate_types
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.schema import MappingSchema

    models = [n for n in built.manifest["nodes"].values() if n["resource_type"] == "model"]
    integers = {exp.DataType.Type.BIGINT, exp.DataType.Type.INT}

    def types(columns: dict[str, str]) -> dict[str, str]:
        return {name: exp.DataType.build(kind, dialect="bigquery").sql("bigquery") for name, kind in columns.items()}

    schema: dict[str, Any] = {"raw": {}, "staging": {}, "marts": {}}
    for table, contract in contracts.items():
        schema["raw"][table] = types({c.name: c.bigquery_type for c in contract.columns})
    for model in models:
        declared = {name: column["data_type"] for name, column in model["columns"].items()}
        schema[model["schema"]][model["name"]] = types(declared)
    known = MappingSchema(schema, dialect="bigquery")
    for model in models:
        tree = parse_one(_render_for_bigquery(model["raw_code"]), read="bigquery")
        typed: Any = annotate_types(qualify(tree, schema=known, dialect="bigquery"), schema=known, dialect="bigquery")
        found = {column.alias_or_name: column.type.this for column in typed.selects}
        wanted = {
            name: exp.DataType.build(kind, dialect="bigquery").this
            for name, kind in schema[model["schema"]][model["name"]].items()
        }
        assert list(found) == list(wanted), model["name"]
        differing = {n: (found[n], w) for n, w in wanted.items() if found[n] != w and {found[n], w} != integers}
        assert differing == {}, model["name"]


def _render_for_bigquery(raw_code: str) -> str:
    from jinja2 import Environment

    macros: dict[str, Any] = {}

    class Adapter:
        @staticmethod
        def dispatch(name: str, package: str) -> Any:
            return macros.get(f"bigquery__{name}") or macros[f"default__{name}"]

    settings: dict[str, Any] = {"adapter": Adapter, "return": lambda rendered: rendered, "is_incremental": lambda: False}
    jinja = Environment(extensions=["jinja2.ext.do"])
    written = "".join(path.read_text() for path in sorted((PROJECT / "macros").glob("*.sql")))
    macros |= vars(jinja.from_string(written, globals=settings).module)
    return jinja.from_string(raw_code).render(
        **macros,
        ref=lambda name: f"{'staging' if name.startswith('stg_') else 'marts'}.{name}",
        source=lambda source, dataset: f"raw.{source}__{dataset}",
    )
