"""Exploration in Dagster: what is declared, and what a real run on a real instance records."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from caudal.environment import Environment
from caudal.explore.assets import profile_assets
from caudal.explore.component import Network, Notebook, Profiles
from caudal.explore.markdown import MAX_BYTES
from caudal.lake.component import declared_datasets
from caudal.runtime.location import component_tree
from caudal.transform.component import DbtProject
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.published import PublishedTable, read_arrow

PROFILE = dg.AssetKey(["profile", "sales", "daily_sales"])
NETWORK = Network(
    name="household_network",
    domain="marketing",
    table="marts.coupon_redemptions",
    asset="marts/marketing/coupon_redemptions",
    node="household_id",
    link="coupon_upc",
    owners=["team:analytics"],
)


def materialize(
    defs: dg.Definitions, *keys: dg.AssetKey, check: bool = True
) -> tuple[dg.ExecuteInProcessResult, dg.DagsterInstance]:
    """Materialize `keys` (all if there are none) on an instance of their own."""
    instance = dg.DagsterInstance.ephemeral()
    return dg.materialize(
        list(defs.assets or ()), selection=list(keys) or None, instance=instance, raise_on_error=check
    ), instance


def declared(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    """What the definitions make themselves, without what that depends on."""
    return {spec.key.to_user_string(): spec for asset in defs.assets or () for spec in asset.specs}


def recorded(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, dg.MetadataValue]:
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    return dict(event.asset_materialization.metadata)


def test_a_profile_follows_its_mart_and_belongs_to_who_owns_that(env, tables):
    specs = declared(profile_assets(tables, env))
    spec = specs["profile/sales/daily_sales"]
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey(["marts", "sales", "daily_sales"])]
    assert (spec.group_name, spec.owners, spec.tags["domain"]) == ("explore", ["team:sales"], "sales")
    assert spec.kinds == {"duckdb", "python"}
    assert spec.description.endswith("Sales by day and department.")
    assert spec.automation_condition is None
    assert list(specs) == ["profile/sales/daily_sales", "profile/marketing/coupon_redemptions"]


def test_a_profile_records_counts_quantiles_and_pictures_of_what_is_published(published, tables, pictures):
    result, instance = materialize(profile_assets(tables, published))
    assert result.success
    found = recorded(instance, PROFILE)
    assert found["dagster/row_count"].value == 140
    assert found["empty cells"].value == 0.0
    columns = {r.data["column"]: r.data for r in found["columns"].records}
    assert columns["sales"] == {"column": "sales", "null": "0 %", "distinct": "4", "minimum": "10.00", "maximum": "200.00"}
    assert columns["baskets"]["distinct"] == "unique"
    page = found["profile"].value
    assert "| department | varchar | 0 % | 2 | FUEL |  | GROCERY | FUEL (50.0 %), GROCERY (50.0 %) |" in page
    assert "| day | 2017-01-04 | 2017-01-18 | 2017-02-04 | 2017-02-22 | 2017-03-08 |  |  |" in page
    assert [picture.width for picture in pictures(page)] == [998, 998]
    assert len(page) < MAX_BYTES
    stored = found["figures"].value
    assert stored["relation"] == "marts.daily_sales"
    assert next(c for c in stored["columns"] if c["name"] == "sales")["mean"] == pytest.approx(55 * 8 / 7)


def test_an_empty_table_has_a_profile_without_pictures(published, tables, pictures):
    publish_tables(published, {"marts.coupon_redemptions": read_arrow(published, "FROM marts.coupon_redemptions LIMIT 0")})
    _, instance = materialize(profile_assets(tables[1:], published))
    found = recorded(instance, dg.AssetKey(["profile", "marketing", "coupon_redemptions"]))
    assert found["dagster/row_count"].value == 0
    assert pictures(found["profile"].value) == []


def test_a_profile_is_compared_with_the_one_before_and_has_a_report_in_a_file(published, tables):
    materialize(profile_assets(tables[:1], published))
    doubled = read_arrow(published, "SELECT * REPLACE (sales * 100 AS sales) FROM marts.daily_sales")
    publish_tables(published, {"marts.daily_sales": doubled})
    _, instance = materialize(profile_assets(tables[:1], published))
    found = recorded(instance, PROFILE)
    assert found["drift"].value == 2
    assert [r.data["column"] for r in found["differences"].records] == ["sales", "sales"]
    assert found["profile"].value.startswith("**2 differences from the profile of ")
    report = published.reports / "profiles" / "sales" / "daily_sales.html"
    assert found["report"].value == str(report)
    assert "Sales by day and department." in report.read_text()
    assert (published.state / "profiles" / "marts" / "sales" / "daily_sales.json").is_file()


def test_classified_columns_of_a_mart_are_masked_in_all_that_is_recorded(published, tables):
    hidden = replace(tables[0], personal=frozenset({"department"}))
    _, instance = materialize(profile_assets([hidden], published))
    report = (published.reports / "profiles" / "sales" / "daily_sales.html").read_text()
    everything = (
        report
        + str(recorded(instance, PROFILE))
        + (published.state / "profiles" / "marts" / "sales" / "daily_sales.json").read_text()
    )
    assert "GROCERY" not in everything
    assert "values masked" in report


def test_one_profile_is_made_without_the_others(published, tables):
    result, _ = materialize(profile_assets(tables, published), PROFILE)
    assert [e.asset_key for e in result.get_asset_materialization_events()] == [PROFILE]


def test_a_table_that_is_not_published_fails_its_own_profile_only(published, tables):
    missing = PublishedTable(("marts", "sales", "lost"), "marts.lost")
    result, instance = materialize(profile_assets([missing, *tables], published), check=False)
    assert not result.success
    failure = result.failure_data_for_node("profile__sales__lost")
    assert "Table with name lost does not exist" in failure.error.cause.message
    assert recorded(instance, PROFILE)["dagster/row_count"].value == 140


def test_a_network_is_published_and_its_most_important_nodes_are_shown(published, pictures):
    defs = NETWORK.definitions(published)
    key = dg.AssetKey(["explore", "marketing", "household_network"])
    (spec,) = declared(defs).values()
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey(["marts", "marketing", "coupon_redemptions"])]
    assert [c.name for c in spec.metadata["dagster/column_schema"].columns] == [
        "household_id",
        "degree",
        "pagerank",
        "betweenness",
    ]
    _, instance = materialize(defs)
    found = recorded(instance, key)
    assert (found["dagster/row_count"].value, found["links"].value) == (6, 4)
    top = found["most important"].records[0].data
    assert (top["household_id"], top["degree"], top["betweenness"]) == ("2", "2", "0.3000")
    assert len(pictures(found["importance"].value)) == 1
    assert [(c.name, c.type) for c in found["dagster/column_schema"].schema.columns][:2] == [
        ("household_id", "bigint"),
        ("degree", "bigint"),
    ]
    table = read_arrow(published, "SELECT household_id, degree FROM explore.household_network ORDER BY household_id")
    assert table.to_pydict() == {"household_id": [1, 2, 3, 4, 5, 9], "degree": [1, 2, 2, 2, 1, 0]}
    assert read_arrow(published, "SELECT count(*) AS n FROM marts.daily_sales").to_pylist() == [{"n": 140}]


def test_the_network_of_nobody_is_an_empty_table(published):
    publish_tables(published, {"marts.coupon_redemptions": read_arrow(published, "FROM marts.coupon_redemptions LIMIT 0")})
    _, instance = materialize(NETWORK.definitions(published))
    found = recorded(instance, dg.AssetKey(["explore", "marketing", "household_network"]))
    assert (found["dagster/row_count"].value, found["links"].value, "importance" in found) == (0, 0, False)


def notebook(path: Path, *cells: str, **settings: object) -> Notebook:
    tagged = [new_code_cell("department = 'GROCERY'", metadata={"tags": ["parameters"]}, id="p")]
    nbformat.write(new_notebook(cells=tagged + [new_code_cell(c, id=f"c{i}") for i, c in enumerate(cells)]), path)
    given = {"path": path, "domain": "sales", "deps": ["marts/sales/daily_sales"]} | settings
    return Notebook(**given)


READ = """
from caudal.environment import Environment
from caudal.warehouse.published import read_arrow
env = Environment.current()
read_arrow(env, "SELECT count(*) FROM marts.daily_sales WHERE department = ?", [department]).to_pydict()
"""


def test_a_notebook_reads_what_is_published_in_the_environment_of_its_asset(published, tmp_path):
    defs = notebook(tmp_path / "rhythm.ipynb", READ, parameters={"department": "FUEL"}).definitions(published)
    (spec,) = declared(defs).values()
    assert spec.key == dg.AssetKey(["notebook", "sales", "rhythm"])
    assert (spec.group_name, spec.kinds) == ("explore", {"jupyter", "python"})
    _, instance = materialize(defs)
    found = recorded(instance, spec.key)
    assert "{'count_star()': [70]}" in found["report"].value
    assert found["cells"].value == 3
    kept = published.reports / "notebooks" / "sales" / "rhythm.ipynb"
    assert found["executed notebook"].value == str(kept)
    assert kept.is_file()


def test_a_notebook_that_fails_fails_its_run_with_the_cell(published, tmp_path):
    defs = notebook(tmp_path / "rhythm.ipynb", "1 / 0", name="other").definitions(published)
    result, _ = materialize(defs, check=False)
    failure = result.failure_data_for_node("notebook__sales__other")
    assert "rhythm.ipynb: cell 2 of 2 raised ZeroDivisionError" in failure.error.cause.message


def test_a_change_of_the_notebook_or_its_parameters_is_a_change_of_code(env, tmp_path):
    def version(*cells: str, **settings: object) -> str | None:
        (spec,) = declared(notebook(tmp_path / "x.ipynb", *cells, **settings).definitions(env)).values()
        return spec.code_version

    versions = [version("1"), version("2"), version("1", parameters={"department": "FUEL"})]
    assert len(set(versions)) == 3
    assert version("1") == versions[0]


def test_the_shop_declares_profiles_of_all_marts_a_notebook_and_a_network(env, tables, monkeypatch):
    monkeypatch.setenv("CAUDAL_DATA", str(env.data))
    monkeypatch.setattr(
        DbtProject, "published_tables", lambda _self, _env, *_: [*tables, PublishedTable(("staging", "pos", "s"), "staging.s")]
    )
    tree = component_tree(env)
    specs = declared(tree.build_defs(tree.defs_module_path / "explore"))
    made = {key: sorted(d.asset_key.to_user_string() for d in spec.deps) for key, spec in specs.items()}
    assert made == {
        "profile/sales/daily_sales": ["marts/sales/daily_sales"],
        "profile/marketing/coupon_redemptions": ["marts/marketing/coupon_redemptions"],
        "notebook/sales/weekday_rhythm": ["marts/sales/fct_basket_lines", "marts/sales/fct_baskets"],
        "explore/marketing/household_network": ["marts/marketing/coupon_redemptions"],
        "profile/explore/marketing/household_network": ["explore/marketing/household_network"],
        "profile/predictions/sales/sales_forecast": ["predictions/sales/sales_forecast"],
    }
    assert all(specs[key].description and specs[key].kinds for key in made)


def test_raw_tables_and_tables_of_other_assets_are_profiled_where_that_is_declared(env, monkeypatch):
    monkeypatch.setenv("CAUDAL_DATA", str(env.data))
    monkeypatch.setattr(DbtProject, "published_tables", lambda _self, _env, *_: [])
    network = {"explore/marketing/household_network": "explore.household_network"}
    tree = component_tree(env)
    context = SimpleNamespace(defs_module_name="shop.defs", component_tree=tree)
    defs = Profiles(raw=True, also=network, owners=["team:analytics"]).build_defs(context)
    made = {key: [d.asset_key.to_user_string() for d in spec.deps] for key, spec in declared(defs).items()}
    assert made["profile/explore/marketing/household_network"] == ["explore/marketing/household_network"]
    raw = [key for key in made if key.startswith("profile/raw/")]
    assert len(raw) == len(made) - 1 > 3
    assert all(made[key] == [key.removeprefix("profile/")] for key in raw)


def test_a_raw_table_is_profiled_as_it_was_loaded_also_before_anything_is_published(env, monkeypatch):
    monkeypatch.setenv("CAUDAL_DATA", str(env.data))
    dataset = next(d for d in declared_datasets(component_tree(env)) if d.id == "product_db/coupons")
    key = ("raw", *dataset.id.split("/"))
    defs = profile_assets([PublishedTable(key, f"raw.{dataset.table}")], env, raw={f"raw.{dataset.table}": dataset})
    _, instance = materialize(defs)
    assert not env.published.exists()
    assert recorded(instance, dg.AssetKey(["profile", *key]))["dagster/row_count"].value == 0


def test_a_company_without_a_dbt_project_has_no_profiles(tmp_path, monkeypatch):
    package = tmp_path / "company_of_one"
    (package / "defs" / "explore").mkdir(parents=True)
    for folder in (package, package / "defs"):
        (folder / "__init__.py").touch()
    (package / "defs" / "explore" / "defs.yaml").write_text(
        "type: caudal.explore.component.Profiles\nattributes: {stage: marts}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tree = component_tree(Environment("local", "company_of_one", tmp_path, tmp_path / "data"))
    assert declared(tree.build_defs(tree.defs_module_path)) == {}


def test_loading_the_declarations_imports_no_heavy_library():
    heavy = (
        "pandas",
        "pyarrow",
        "duckdb",
        "numpy",
        "scipy",
        "matplotlib",
        "PIL",
        "nbclient",
        "nbformat",
        "jupyter_client",
        "dbt",
    )
    code = f"import sys, caudal.explore.component\nprint([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
