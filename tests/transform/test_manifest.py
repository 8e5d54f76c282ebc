"""Nodes of a dbt manifest: keys, lineage, what they say of themselves. dagster-dbt is asked for its opinion at the end."""

import copy
import json
from typing import Any

import pytest

from caudal.contracts.masking import Names
from caudal.transform.events import check_metadata
from caudal.transform.manifest import Manifest, code_behind, hidden_in, parse_manifest, published_tables
from caudal.transform.nodes import ManifestError, NodeColumn
from caudal.transform.outcome import FailingRows, NodeResult


@pytest.fixture
def document(manifest: Manifest) -> dict[str, Any]:
    """The manifest's JSON value, free to be changed."""
    return json.loads(manifest.path.read_text())


def test_a_models_key_is_its_stage_its_domain_and_its_name(manifest):
    assert {u: "/".join(node.key) for u, node in manifest.nodes.items()} == {
        "model.stall.stg_pos__sales": "staging/pos/stg_pos__sales",
        "model.stall.fct_sales": "marts/sales/fct_sales",
        "model.stall.sales": "marts/sales/sales",
        "model.stall.report": "marts/sales/report",
        "model.stall.dim_customer": "marts/customers/dim_customer",
        "seed.stall.tariffs": "seeds/sales/tariffs",
        "snapshot.stall.tariff_history": "snapshots/stall/tariff_history",
    }


def test_lineage_passes_through_ephemeral_models_to_raw_tables(manifest):
    assert manifest.nodes["model.stall.fct_sales"].deps == (("staging", "pos", "stg_pos__sales"),)
    assert manifest.nodes["model.stall.stg_pos__sales"].deps == (("raw", "pos", "sales"),)
    assert manifest.nodes["model.stall.sales"].deps == (("marts", "sales", "fct_sales"), ("seeds", "sales", "tariffs"))


def test_nodes_come_after_what_they_read(manifest):
    seen = set()
    for unique_id, node in manifest.nodes.items():
        assert {p for p in node.parents if p in manifest.nodes} <= seen
        seen.add(unique_id)


def test_a_node_tells_what_the_project_says_of_it(manifest):
    node = manifest.nodes["model.stall.fct_sales"]
    assert node.description == "One row for each sale that was paid."
    assert node.columns == (NodeColumn("sale_id", "bigint", "The sale."), NodeColumn("customer_id"), NodeColumn("amount"))
    assert (node.relation, node.materialized, node.is_virtual) == ("marts.fct_sales", "table", False)
    assert (node.owners, node.tags, node.group) == (("team:sales",), ("gold",), "sales")


def test_only_views_are_virtual(manifest):
    assert {node.key[-1] for node in manifest.nodes.values() if node.is_virtual} == {"stg_pos__sales", "report"}


def test_owner_and_group_may_come_from_a_dbt_group_and_from_meta(manifest):
    node = manifest.nodes["model.stall.dim_customer"]
    assert (node.owners, node.group) == (("till@stall.example",), "people")


def test_groups_are_the_domain_of_a_mart_and_the_stage_of_the_rest(manifest):
    assert {node.key[0]: node.group for node in manifest.nodes.values() if node.key[-1] != "dim_customer"} == {
        "staging": "staging",
        "marts": "sales",
        "seeds": "seeds",
        "snapshots": "snapshots",
    }


def test_meta_may_give_a_model_and_a_source_keys_of_their_own(document):
    document["nodes"]["model.stall.fct_sales"]["config"]["meta"] = {"dagster": {"asset_key": ["gold", "till", "sales"]}}
    document["sources"]["source.stall.pos.sales"]["config"]["meta"] = {"dagster": {"asset_key": ["raw", "till", "sales"]}}
    nodes = parse_manifest(document).nodes
    assert nodes["model.stall.fct_sales"].key == ("gold", "till", "sales")
    assert nodes["model.stall.sales"].deps[0] == ("gold", "till", "sales")
    assert nodes["model.stall.stg_pos__sales"].deps == (("raw", "till", "sales"),)


def test_a_model_outside_the_folders_is_of_the_projects_own_domain(document):
    document["nodes"]["model.stall.fct_sales"]["path"] = "marts/fct_sales.sql"
    document["nodes"]["model.stall.report"]["path"] = "report.sql"
    nodes = parse_manifest(document).nodes
    assert nodes["model.stall.fct_sales"].key == ("marts", "stall", "fct_sales")
    assert nodes["model.stall.report"].key == ("models", "stall", "report")


def test_versions_of_a_model_are_different_assets(document):
    document["nodes"]["model.stall.fct_sales"]["version"] = 2
    assert parse_manifest(document).nodes["model.stall.fct_sales"].key == ("marts", "sales", "fct_sales_v2")


def test_two_models_with_one_key_are_refused_by_name(document):
    document["nodes"]["model.stall.fct_sales"]["config"]["meta"] = {"dagster": {"asset_key": ["marts", "sales", "sales"]}}
    with pytest.raises(
        ManifestError, match=r"model.stall.(sales|fct_sales) and model.stall.(sales|fct_sales).*marts/sales/sales"
    ):
        parse_manifest(document)


@pytest.mark.parametrize(
    ("changed", "renewed"),
    [
        ("model.stall.fct_sales", {"fct_sales"}),
        ("model.stall.paid", {"fct_sales"}),
        ("macro.stall.cents", {"fct_sales"}),
        ("model.stall.stg_pos__sales", {"stg_pos__sales"}),
    ],
)
def test_the_code_version_changes_with_all_code_that_makes_the_model_and_with_no_other(document, manifest, changed, renewed):
    edited = copy.deepcopy(document)
    if changed in edited["macros"]:
        edited["macros"][changed]["macro_sql"] += " "
    else:
        edited["nodes"][changed]["raw_code"] += " "
    after = parse_manifest(edited).nodes
    assert {n.key[-1] for u, n in manifest.nodes.items() if after[u].code_version != n.code_version} == renewed


def test_what_holds_data_is_refreshed_for_new_code_of_the_views_that_it_reads_and_a_view_for_its_own(document, manifest):
    document["nodes"]["model.stall.stg_pos__sales"]["raw_code"] += " "
    after = parse_manifest(document)
    renewed = {n.key[-1] for u, n in manifest.nodes.items() if code_behind(after, after.nodes[u]) != code_behind(manifest, n)}
    assert manifest.nodes["model.stall.stg_pos__sales"].is_virtual
    assert renewed == {"stg_pos__sales", "fct_sales", "dim_customer"}


def test_the_code_version_does_not_change_with_the_documentation(document, manifest):
    document["nodes"]["model.stall.fct_sales"]["description"] = "Another."
    after = parse_manifest(document).nodes["model.stall.fct_sales"]
    assert after.code_version == manifest.nodes["model.stall.fct_sales"].code_version


def test_a_seeds_code_version_is_that_of_its_rows(document, manifest):
    document["nodes"]["seed.stall.tariffs"]["checksum"]["checksum"] = "another"
    after = parse_manifest(document).nodes["seed.stall.tariffs"]
    assert after.code_version != manifest.nodes["seed.stall.tariffs"].code_version


def test_published_tables_are_the_marts_that_hold_data(manifest):
    tables = {table.relation: table for table in published_tables(manifest)}
    assert set(tables) == {"marts.fct_sales", "marts.sales", "marts.dim_customer"}
    fct = tables["marts.fct_sales"]
    assert (fct.key, fct.domain, fct.owners) == (("marts", "sales", "fct_sales"), "sales", ("team:sales",))
    assert fct.columns[0] == ("sale_id", "bigint", "The sale.")
    assert ("domain", "sales") in fct.tags


def test_dagster_dbt_sees_the_same_lineage(document, manifest):
    dagster_dbt = pytest.importorskip("dagster_dbt")
    import dagster as dg

    class Translator(dagster_dbt.DagsterDbtTranslator):
        def get_asset_key(self, dbt_resource_props):
            unique_id = dbt_resource_props["unique_id"]
            if unique_id in manifest.nodes:
                return dg.AssetKey(list(manifest.nodes[unique_id].key))
            return dg.AssetKey(["raw", dbt_resource_props["source_name"], dbt_resource_props["name"]])

    specs = dagster_dbt.build_dbt_asset_specs(manifest=document, dagster_dbt_translator=Translator())
    theirs = {tuple(spec.key.path): {tuple(dep.asset_key.path) for dep in spec.deps} for spec in specs}
    assert theirs == {node.key: set(node.deps) for node in manifest.nodes.values()}


def test_a_column_tells_its_unit_and_how_it_is_classified(document):
    columns = document["nodes"]["model.stall.fct_sales"]["columns"]
    columns["amount"]["config"] = {"meta": {"unit": "EUR"}}
    columns["customer_id"]["meta"] = {"personal": True}
    columns["sale_id"]["config"] = {"meta": {"classification": "confidential", "personal": True}}
    told = {c.name: (c.unit, c.classification) for c in parse_manifest(document).nodes["model.stall.fct_sales"].columns}
    assert told == {"sale_id": ("", "confidential"), "customer_id": ("", "personal"), "amount": ("EUR", None)}


def test_what_a_source_or_model_classifies_is_hidden_in_every_table_that_does_not_call_it_public(document):
    document["sources"]["source.stall.pos.sales"]["columns"] = {
        "CustomerID": {"name": "CustomerID", "config": {"meta": {"classification": "personal"}}},
        "till": {"name": "till", "config": {"meta": {"classification": "public"}}},
    }
    document["nodes"]["model.stall.dim_customer"]["columns"] = {
        "customer_id": {"name": "customer_id", "config": {"meta": {"classification": "public"}}}
    }
    manifest = parse_manifest(document)
    tables = {table.relation: table for table in published_tables(manifest)}
    assert "customer_id" in tables["marts.fct_sales"].personal
    assert "customer_id" not in tables["marts.dim_customer"].personal
    assert not [name for name in ("till", "amount") if name in tables["marts.fct_sales"].personal]


def test_a_dbt_test_of_a_personal_column_hides_it_also_under_the_name_that_dbt_gives_it(document):
    document["nodes"]["model.stall.fct_sales"]["columns"]["sale_id"]["config"] = {"meta": {"classification": "personal"}}
    manifest = parse_manifest(document)
    of_it = [c for c in manifest.checks.values() if c.attached_to == "model.stall.fct_sales" and c.column == "sale_id"]
    assert of_it
    assert all("unique_field" in hidden_in(manifest, c) and "sale_id" in hidden_in(manifest, c) for c in of_it)
    others = [c for c in manifest.checks.values() if c.attached_to == "model.stall.fct_sales" and c.column != "sale_id"]
    assert not [c for c in others if "unique_field" in hidden_in(manifest, c)]


def test_failing_rows_show_of_what_is_hidden_only_the_shape():
    done = NodeResult("t", "fail", 0.0, failing_rows=FailingRows(("name", "id", "day", "units"), (("Ana 1", "17", None, "3"),)))
    told = check_metadata(done, Names(["NAME", "id", "day"]))["failing rows"]
    assert [dict(row.data) for row in told.records] == [{"name": "xxx 9", "id": "***", "day": None, "units": "3"}]
