"""The raw asset on BigQuery as Dagster shows it: its kind, version and jobs, its rules, and what stands in several files."""

import dagster as dg

from caudal.warehouse import duplicates
from caudal.warehouse.component import raw_asset, raw_key, rejects_key
from caudal.warehouse.quality import judged
from caudal.warehouse.raw_tables import raw, raw_tables
from tests.conftest import SALES_CONTRACT

HEADER = "item,units,amount\n"
RULES = """
    quality:
      - {metric: duplicateValues, mustBe: 0, arguments: {properties: [item]}, name: one_each}
      - {metric: rowCount, mustBeGreaterThan: 0, name: some}
      - {type: sql, query: "SELECT sum(units) FROM raw.stall__sales", mustBeGreaterThan: 0, name: sold}
      - {type: custom, engine: caudal, name: whole, implementation: {sql: "select * from sales where units > 100"}}
"""


def materialized(env, dataset):
    instance = dg.DagsterInstance.ephemeral()
    return dg.materialize([raw_asset(env, dataset, dropped=True)], instance=instance, raise_on_error=False)


def test_a_load_is_told_with_its_version_and_jobs_which_were_free(env, declare, drop):
    dataset = declare(owners=("team:stall",))
    drop("stall/sales/a.csv", HEADER + "apple,1,1\npear,many,1\n")
    asset = raw_asset(env, dataset, dropped=True)
    assert asset.specs_by_key[raw_key(dataset)].kinds == {"bigquery"}
    assert "BigQuery table `raw.stall__sales`" in asset.specs_by_key[raw_key(dataset)].description
    result = materialized(env, dataset)
    assert result.success
    told = {e.asset_key: e.materialization.metadata for e in result.get_asset_materialization_events()}
    metadata = told[raw_key(dataset)]
    assert metadata["raw version"].value == raw_tables(env).version(raw(dataset))
    jobs = [record.data for record in metadata["jobs"].records]
    assert {job["kind"] for job in jobs} == {"load"}
    assert [job["bytes billed"] for job in jobs] == [0] * len(jobs)
    (refused,) = told[rejects_key(dataset)]["rejects"].records
    assert (refused.data["column"], refused.data["value"]) == ("units", "many")


def test_rules_of_a_raw_table_are_tried_on_bigquery_and_what_breaks_one_is_kept(env, declare, drop):
    dataset = declare(SALES_CONTRACT.rstrip() + RULES)
    drop("stall/sales/a.csv", HEADER + "apple,1,1\npear,2,1\n")
    good = materialized(env, dataset)
    assert good.success, [e.message for e in good.all_events if e.is_failure]
    passed = raw_tables(env).version(raw(dataset))
    assert judged.standing(env, dataset).passed == passed
    drop("stall/sales/b.csv", HEADER + "apple,500,1\n")
    bad = materialized(env, dataset)
    found = {e.check_name: e.passed for e in bad.get_asset_check_evaluations()}
    assert (found["one_each"], found["some"], found["sold"], found["whole"]) == (False, True, True, False)
    stands = judged.standing(env, dataset)
    assert (stands.passed, stands.holds) == (passed, False)
    assert judged.version_to_read(env, dataset, raw_tables(env).version(raw(dataset))) == passed


def test_rows_that_stand_in_several_files_are_counted_by_one_statement(env, declare, drop):
    contract = SALES_CONTRACT.replace(
        "{name: item, logicalType: string,", "{name: item, logicalType: string, classification: personal,"
    )
    dataset = declare(contract)
    drop("stall/sales/a.csv", HEADER + "apple,1,1\napple,1,1\npear,2,\nfig,3,3\n")
    drop("stall/sales/b.csv", HEADER + "apple,1,1\npear,2,\nplum,4,4\n")
    materialized(env, dataset)
    counted = duplicates.last_count(env, dataset)
    assert (counted.rows, counted.shared, counted.shared_rows, counted.beyond_first) == (7, 2, 5, 3)
    assert counted.pairs == (duplicates.Pair("stall/sales/a.csv", "stall/sales/b.csv", 2),)
    assert [s.files for s in counted.samples] == [("stall/sales/a.csv", "stall/sales/b.csv")] * 2
    assert all("apple" not in s.value and "not shown" in s.value for s in counted.samples)
