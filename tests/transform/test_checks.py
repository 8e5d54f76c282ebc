"""dbt tests as checks: where each is attached."""

import json
from typing import Any

import pytest

from caudal.transform.manifest import Manifest, parse_manifest


@pytest.fixture
def document(manifest: Manifest) -> dict[str, Any]:
    return json.loads(manifest.path.read_text())


def named(manifest: Manifest, name: str):
    return next(check for check in manifest.checks.values() if check.name == name)


def test_each_test_is_attached_to_the_asset_that_it_is_about(manifest):
    assert {check.name: "/".join(check.asset) for check in manifest.checks.values()} == {
        "not_null_fct_sales_sale_id": "marts/sales/fct_sales",
        "unique_fct_sales_sale_id": "marts/sales/fct_sales",
        "amount_is_known": "marts/sales/fct_sales",
        "customer_is_known": "marts/sales/fct_sales",  # a relationship, on the model that declares it
        "nothing_is_lost": "marts/sales/sales",  # singular, on the one that is made of the other
        "customers_have_numbers": "marts/customers/dim_customer",  # singular, where its meta says
        "amounts_are_added": "marts/sales/sales",  # a unit test
        "paid_sale_has_id": "staging/pos/stg_pos__sales",  # on an ephemeral model: where its rows come from
        "source_unique_pos_sales_sale_id": "raw/pos/sales",
    }


def test_a_test_knows_everything_that_it_reads_its_own_asset_first(manifest):
    assert named(manifest, "customer_is_known").reads == ("model.stall.fct_sales", "model.stall.dim_customer")
    assert named(manifest, "nothing_is_lost").reads == ("model.stall.sales", "model.stall.fct_sales")


def test_only_a_test_of_severity_error_blocks(manifest):
    assert {check.name for check in manifest.checks.values() if not check.is_blocking} == {"amount_is_known"}


def test_a_check_says_what_it_looks_at(manifest):
    assert named(manifest, "amount_is_known").description == "We know what was paid."
    unique = named(manifest, "unique_fct_sales_sale_id")
    assert (unique.column, unique.description) == ("sale_id", "dbt test `unique` of `sale_id`, in models/marts.yml")
    assert "tests/nothing_is_lost.sql" in named(manifest, "nothing_is_lost").description
    assert "unit test" in named(manifest, "amounts_are_added").description


def test_dbts_own_tests_of_each_row_are_by_the_day_and_others_where_they_say_so(document, manifest):
    by_day = {check.name: check.code for check in manifest.checks.values() if check.by_day}
    assert set(by_day) == {"not_null_fct_sales_sale_id", "amount_is_known"}
    assert len(set(by_day.values())) == 2
    known, unique = (document["nodes"][u] for u in _named(document, "amount_is_known", "unique_fct_sales_sale_id"))
    known["config"]["meta"], unique["config"]["meta"] = {"by_day": False}, {"by_day": True}
    changed = parse_manifest(document)
    assert {c.name for c in changed.checks.values() if c.by_day} == {"not_null_fct_sales_sale_id", "unique_fct_sales_sale_id"}
    # What is added up over failing rows is no sum of what is found in each day.
    unique["config"]["fail_calc"] = "sum(n_records)"
    assert not named(parse_manifest(document), "unique_fct_sales_sale_id").by_day


def test_the_code_of_a_test_is_its_macros_arguments_and_conditions(document, manifest):
    before = named(manifest, "not_null_fct_sales_sale_id").code
    assert named(parse_manifest(document), "not_null_fct_sales_sale_id").code == before
    (unique_id,) = _named(document, "not_null_fct_sales_sale_id")
    document["nodes"][unique_id]["config"]["where"] = "cents > 0"
    narrowed = named(parse_manifest(document), "not_null_fct_sales_sale_id").code
    document["macros"]["macro.dbt.default__test_not_null"]["macro_sql"] += " "
    assert len({before, narrowed, named(parse_manifest(document), "not_null_fct_sales_sale_id").code}) == 3


def _named(document: dict[str, Any], *names: str) -> list[str]:
    by_name = {node["name"]: unique_id for unique_id, node in document["nodes"].items()}
    return [by_name[name] for name in names]


def test_a_unit_test_has_no_failing_rows_to_show(manifest):
    assert {check.name for check in manifest.checks.values() if not check.has_rows} == {"amounts_are_added"}


def test_a_null_is_shown_with_the_rest_of_its_row(document, manifest):
    assert named(manifest, "amount_is_known").whole_rows == 'select * from "warehouse"."marts"."fct_sales" where amount is null'
    assert {c.name for c in manifest.checks.values() if c.whole_rows} == {"amount_is_known", "not_null_fct_sales_sale_id"}
    document["nodes"]["test.stall.amount_is_known.dc747d419b"]["config"]["where"] = "cents > 0"
    assert (named(parse_manifest(document), "amount_is_known").whole_rows or "").endswith(
        "where amount is null and (cents > 0)"
    )


def test_a_test_that_reads_nothing_is_told_apart(manifest):
    assert manifest.unattached == {"test.stall.one_is_one": ("stall", "one_is_one")}


def test_two_tests_of_one_name_on_one_asset_keep_apart(document):
    twin = json.loads(json.dumps(document["nodes"]["test.stall.nothing_is_lost"]))
    document["nodes"]["test.other.nothing_is_lost"] = twin | {"unique_id": "test.other.nothing_is_lost"}
    names = {u: check.name for u, check in parse_manifest(document).checks.items() if u.endswith("nothing_is_lost")}
    assert len(set(names.values())) == 2
    assert all(name.startswith("nothing_is_lost") for name in names.values())


def test_a_name_that_dagster_refuses_is_spelled_with_underscores(document):
    document["nodes"]["test.stall.nothing_is_lost"]["name"] = "nothing is-lost.ever"
    assert parse_manifest(document).checks["test.stall.nothing_is_lost"].name == "nothing_is_lost_ever"


def test_dagster_dbt_attaches_generic_tests_to_the_same_assets(document, manifest):
    dagster_dbt = pytest.importorskip("dagster_dbt")
    import dagster as dg

    class Translator(dagster_dbt.DagsterDbtTranslator):
        def get_asset_key(self, dbt_resource_props):
            unique_id = dbt_resource_props["unique_id"]
            return dg.AssetKey(list(manifest.nodes[unique_id].key) if unique_id in manifest.nodes else [unique_id])

    translator = Translator()
    for node in manifest.nodes.values():
        spec = translator.get_asset_spec(document, node.unique_id, None)
        for check in manifest.checks.values():
            is_generic_on_node = (
                "attached_node" in document["nodes"].get(check.unique_id, {})
                and check.reads[0] == (document["nodes"][check.unique_id]["attached_node"])
            )
            theirs = translator.get_asset_check_spec(spec, document, check.unique_id, None) if is_generic_on_node else None
            if theirs is not None:
                assert (theirs.name, theirs.blocking) == (check.name, check.is_blocking)
                assert tuple(theirs.asset_key.path) == check.asset
                assert {tuple(d.asset_key.path) for d in theirs.additional_deps} == {
                    manifest.nodes[u].key for u in check.reads[1:]
                }
