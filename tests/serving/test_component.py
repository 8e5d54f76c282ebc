import subprocess
import sys

import dagster as dg
import pytest

from caudal.serving.component import OnlineForecasts, OnlineStore, OnlineTable
from caudal.serving.reader import OnlineReader

KEY = dg.AssetKey(["online", "sales", "store"])
PRODUCT = OnlineTable(relation="marts.dim_product", key="product_id", asset="marts/products/dim_product")
DEMAND = OnlineForecasts(relation="predictions.demand", asset="predictions/sales/demand")


def declared(**settings) -> OnlineStore:
    return OnlineStore(**{"name": "store", "domain": "sales", "tables": [PRODUCT], "forecasts": DEMAND} | settings)


def run(env, store: OnlineStore) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(list(store.definitions(env).assets), instance=instance, raise_on_error=False)


def test_materializing_the_store_puts_its_tables_online(env, publish):
    publish()
    result = run(env, declared())
    assert result.success
    (event,) = result.get_asset_materialization_events()
    told = {name: value.value for name, value in event.materialization.metadata.items()}
    current = OnlineReader(env).current()
    assert event.asset_key == KEY
    assert told["dagster/row_count"] == 14
    assert (told["rows of forecasts"], told["rows of dim_product"]) == (9, 5)
    assert told["version"] == current.version
    assert told["bytes"] > 0


def test_the_store_depends_on_all_that_it_holds(env):
    spec = next(spec for spec in declared().definitions(env).resolve_all_asset_specs() if spec.key == KEY)
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {"marts/products/dim_product", "predictions/sales/demand"}
    assert spec.group_name == "production"
    assert "`/v1/forecasts/<series>`, `/v1/tables/dim_product/<key>`" in spec.description


def test_a_store_of_tables_only_needs_no_forecasts(env, publish):
    publish()
    assert run(env, declared(forecasts=None)).success
    assert OnlineReader(env).current().series == ()


def test_a_table_that_cannot_be_served_fails_with_the_reason(env, publish):
    publish()
    wrong = OnlineTable(relation="marts.dim_product", key="brand", asset="marts/products/dim_product")
    result = run(env, declared(tables=[wrong]))
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "marts.dim_product has 1 rows with no key" in failed.step_failure_data.user_failure_data.description


@pytest.mark.parametrize("name", ["dim_product", "forecasts"])
def test_a_name_that_is_taken_is_refused(env, name):
    with pytest.raises(ValueError, match=f"OnlineStore store: the name '{name}' is taken"):
        declared(tables=[PRODUCT, PRODUCT.model_copy(update={"name": name})]).definitions(env)


def test_importing_the_component_and_the_api_imports_no_heavy_library():
    heavy = "('pandas', 'numpy', 'pyarrow', 'duckdb', 'lightgbm', 'mlflow', 'fastapi', 'uvicorn')"
    script = (
        f"import sys, caudal.serving.component, caudal.serving.api; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
