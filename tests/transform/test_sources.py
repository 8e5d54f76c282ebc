"""dbt's sources, written from contracts: dbt reads them without a complaint, and their tests find what they promise to find."""

import duckdb
import pytest
import yaml

from caudal.transform.build import build
from caudal.transform.manifest import read_manifest
from caudal.transform.project import Project, prepare_manifest
from caudal.transform.sources import HEADER, sources_yaml

LINES = """
apiVersion: v3.1.0
kind: DataContract
id: till-lines
version: 1.2.0
status: active
schema:
  - name: lines
    description: "Lines of a basket: what was sold."
    properties:
      - {name: basket_id, logicalType: integer, primaryKey: true, description: The basket.}
      - {name: line, logicalType: integer, primaryKey: true}
      - {name: "net weight", logicalType: integer, required: true}
      - {name: ticket, logicalType: string, unique: true}
      - name: amount
        logicalType: number
        physicalType: DECIMAL(10,2)
        customProperties: [{property: unit, value: EUR}]
"""

CUSTOMERS = """
apiVersion: v3.1.0
kind: DataContract
id: customers
version: 1.0.0
status: active
schema:
  - name: customers
    properties:
      - {name: order, logicalType: integer, primaryKey: true}
      - {name: email, logicalType: string, classification: personal}
"""


@pytest.fixture
def datasets(declare):
    return [
        declare(LINES, source="till", name="lines"),
        declare(CUSTOMERS, source="till", name="customers"),
        declare(source="stall", name="sales"),
    ]


def table(datasets, name):
    document = yaml.safe_load(sources_yaml(datasets))
    return next(t for source in document["sources"] for t in source["tables"] if t["name"] == name)


def test_the_text_says_where_it_comes_from_and_does_not_depend_on_the_order(datasets):
    text = sources_yaml(datasets)
    assert text.startswith(HEADER)
    assert "caudal generate" in HEADER
    assert sources_yaml(reversed(datasets)) == text


def test_a_dataset_is_a_table_of_the_raw_schema(datasets):
    document = yaml.safe_load(sources_yaml(datasets))
    assert [(s["name"], s["schema"], [t["name"] for t in s["tables"]]) for s in document["sources"]] == [
        ("stall", "raw", ["sales"]),
        ("till", "raw", ["customers", "customers_latest", "lines", "lines_latest"]),
    ]
    lines = table(datasets, "lines")
    assert (lines["identifier"], lines["description"]) == ("till__lines", "Lines of a basket: what was sold.")
    assert lines["config"] == {
        "loaded_at_field": "_loaded_at",
        "meta": {"contract": "till-lines 1.2.0", "dagster": {"asset_key": ["raw", "till", "lines"]}},
    }


def test_columns_have_types_and_tests_and_those_of_lineage_come_last(datasets):
    columns = {c["name"]: c for c in table(datasets, "lines")["columns"]}
    assert list(columns) == ["basket_id", "line", "net weight", "ticket", "amount", "_file", "_version", "_row", "_loaded_at"]
    assert columns["basket_id"] == {"name": "basket_id", "description": "The basket.", "data_type": "bigint"}
    assert columns["ticket"]["data_tests"] == ["unique"]
    assert columns["amount"] == {"name": "amount", "data_type": "decimal(10,2)", "config": {"meta": {"unit": "EUR"}}}
    assert columns["_loaded_at"]["data_type"] == "timestamp with time zone"


def test_a_struct_has_the_names_of_its_fields_as_they_are_written(declare):
    line = "{name: parts, logicalType: array, items: {logicalType: object, properties: [{name: Sku, logicalType: string}]}}"
    declared = declare(LINES.replace("{name: line, logicalType: integer, primaryKey: true}", line), source="till", name="lines")
    columns = {c["name"]: c for c in table([declared], "lines")["columns"]}
    assert columns["parts"]["data_type"] == 'STRUCT("Sku" VARCHAR)[]'


def test_a_key_of_one_column_is_unique(datasets):
    columns = {c["name"]: c for c in table(datasets, "customers")["columns"]}
    assert columns["order"]["data_tests"] == ["unique"]
    assert columns["email"]["config"] == {"meta": {"classification": "personal"}}


def test_a_key_of_several_columns_is_unique_as_a_row(datasets):
    (key,) = table(datasets, "lines")["data_tests"]
    assert key["unique"]["arguments"] == {"column_name": "(basket_id, line)"}
    assert key["unique"]["description"] == "No two rows have the same basket_id, line."


def test_a_dataset_with_a_key_has_a_table_of_its_latest_rows_which_is_the_same_asset(datasets):
    latest = table(datasets, "customers_latest")
    assert latest["identifier"] == "till__customers__latest"
    assert latest["description"] == "One row for each `order`: the one loaded last."
    assert latest["config"]["meta"]["dagster"] == {"asset_key": ["raw", "till", "customers"]}
    assert "data_tests" not in latest["columns"][0]


def test_where_rows_have_an_order_the_latest_are_unique_and_not_all_that_were_delivered(declare):
    versions = declare(LINES, source="till", name="lines", order_by="amount")
    raw, latest = (table([versions], name) for name in ("lines", "lines_latest"))
    assert "data_tests" not in raw
    assert [c for c in raw["columns"] if "data_tests" in c] == []
    (key,) = latest["data_tests"]
    assert key["unique"]["name"] == "source_unique_till__lines__latest_key"
    assert [c["name"] for c in latest["columns"] if "data_tests" in c] == ["ticket"]
    assert latest["description"].endswith(
        "One row for each `basket_id`, `line`: the greatest `amount`, then the one loaded last."
    )


def test_a_dataset_that_has_the_name_of_anothers_latest_rows_is_refused(declare):
    with pytest.raises(ValueError, match="`lines_latest`: rename one of the two"):
        sources_yaml([declare(LINES, source="till", name=name) for name in ("lines", "lines_latest")])


def test_what_reads_the_latest_rows_is_below_the_raw_table(declare, stall, tmp_path):
    (stall / "models/marts.yml").unlink()
    for path in [*(stall / "models").rglob("*.sql"), *(stall / "tests").rglob("*.sql"), *(stall / "snapshots").rglob("*.sql")]:
        path.unlink()
    versions = declare(CUSTOMERS, source="till", name="customers", order_by="email")
    (stall / "models/sources.yml").write_text(sources_yaml([versions]))
    (stall / "models/marts").mkdir(exist_ok=True)
    (stall / "models/marts/now.sql").write_text("select * from {{ source('till', 'customers_latest') }}")
    manifest = read_manifest(prepare_manifest(Project(stall, tmp_path / "state")))
    node = manifest.node_of["marts", "stall", "now"]
    assert node.deps == (("raw", "till", "customers"),)
    assert [(c.asset, c.name) for c in manifest.checks.values()] == [
        (("raw", "till", "customers"), "source_unique_till_customers_latest__order_")
    ]


def test_names_that_sql_does_not_take_as_they_are_are_quoted(datasets, declare):
    assert table(datasets, "customers")["columns"][0]["quote"] is True
    columns = {c["name"]: c for c in table(datasets, "lines")["columns"]}
    assert "quote" not in columns["basket_id"]
    unspellable = declare(LINES.replace("name: line,", "name: line no,"), source="till", name="lines")
    assert "data_tests" not in table([unspellable], "lines")


def test_dbt_reads_them_without_a_warning_and_their_tests_find_what_is_wrong(datasets, stall, tmp_path, caplog):
    for name in ("models/marts", "models/staging", "tests", "snapshots"):
        for path in (stall / name).rglob("*.sql"):
            path.unlink()
    (stall / "models/marts.yml").unlink()
    (stall / "models/sources.yml").write_text(sources_yaml(datasets))
    project = Project(stall, tmp_path / "state")
    manifest = read_manifest(prepare_manifest(project))
    assert [r.message for r in caplog.records if "MissingArguments" in r.message or "PropertyMoved" in r.message] == []

    database = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE SCHEMA raw")
        connection.execute(
            'CREATE TABLE raw.till__lines AS SELECT 1 AS basket_id, x AS line, 2 AS "net weight", 9 AS ticket FROM (VALUES (1), (2)) v(x)'
        )
        connection.execute('CREATE TABLE raw.till__customers AS SELECT 1 AS "order" UNION ALL SELECT NULL')
        connection.execute("CREATE TABLE raw.stall__sales AS SELECT 'pear' AS item")
    result = build(project, manifest, database=database, select=manifest.checks)
    statuses = {check.name: result.results[u].status for u, check in manifest.checks.items()}
    assert statuses == {
        "source_unique_till__lines_key": "pass",
        "source_unique_till_lines_ticket": "fail",
        "source_unique_till_customers__order_": "pass",
    }
    assert {"/".join(c.asset) for c in manifest.checks.values()} == {"raw/till/lines", "raw/till/customers"}

    with duckdb.connect(str(database)) as connection:
        connection.execute("INSERT INTO raw.till__lines VALUES (1, 2, 3, 10)")
    result = build(project, manifest, database=database, select=["source_unique_till__lines_key"])
    (found,) = result.results.values()
    assert (found.status, found.failures, found.failing_rows.rows) == ("fail", 1, (("(1, 2)", "2"),))
