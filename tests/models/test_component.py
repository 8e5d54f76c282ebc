import subprocess
import sys
import textwrap
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from caudal.models.assets import GATE
from caudal.models.component import Forecast
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.published import read_arrow

EVALUATION, MODEL, PREDICTIONS = (dg.AssetKey([stage, "sales", "demand"]) for stage in ("evaluation", "model", "predictions"))


def declared(**settings) -> Forecast:
    given = {
        "name": "demand",
        "domain": "sales",
        "table": "marts.daily",
        "asset": "marts/sales/daily",
        "time": "day",
        "series": "department",
        "value": "sales",
        "horizon_days": 7,
        "windows": 2,
        "rounds": 60,
        "owners": ["team:science"],
        "description": "What will be asked for.",
    }
    return Forecast(**given | settings)


def publish(env, rows: pa.Table) -> None:
    publish_tables(env, {"marts.daily": rows.rename_columns(["day", "department", "sales"])})


def run(env, instance, forecast: Forecast, selection=None) -> dg.ExecuteInProcessResult:
    assets = list(forecast.definitions(env).assets)
    return dg.materialize(assets, instance=instance, raise_on_error=False, selection=selection)


def metadata(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict:
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == key]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def gate(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (evaluation,) = [e for e in result.get_asset_check_evaluations() if e.check_name == GATE]
    return evaluation


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [e for e in result.all_events if e.is_step_failure]
    return str(event.step_failure_data.user_failure_data.description)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def test_a_table_becomes_a_champion_and_its_predictions_in_one_run(env, instance, weekly_table):
    publish(env, weekly_table({"bread": 100, "fish": 20}, 150))
    result = run(env, instance, declared())
    assert result.success
    assert gate(result).passed
    assert "there is no champion yet" in gate(result).description
    told = metadata(result, EVALUATION)
    assert told["dagster/row_count"] == 2 * 2 * 2 * 7
    assert told["forecast against actual"].startswith("![Backtest of demand](data:image/png;base64,")
    assert told["history"] == "2024-01-01 to 2024-05-29, 150 days, 2 series"
    assert [record.data["method"] for record in told["errors"].records] == ["challenger", "baseline"]
    assert (metadata(result, MODEL)["version"], metadata(result, MODEL)["promoted"]) == (1, True)
    assert metadata(result, PREDICTIONS)["days"] == "2024-05-30 to 2024-06-05"
    rows = read_arrow(env, "SELECT * FROM predictions.demand")
    assert rows.num_rows == metadata(result, PREDICTIONS)["dagster/row_count"] == 14
    assert rows.column_names == [column.name for column in _column_schema(PREDICTIONS, env).columns]
    backtest = read_arrow(env, "SELECT * FROM evaluation.demand")
    assert backtest.num_rows == told["dagster/row_count"]
    assert backtest.column_names == [column.name for column in _column_schema(EVALUATION, env).columns]


def _column_schema(key: dg.AssetKey, env) -> dg.TableSchema:
    return declared().definitions(env).get_assets_def(key).get_asset_spec(key).metadata["dagster/column_schema"]


def test_a_worse_challenger_fails_the_gate_in_sight_and_the_old_champion_predicts_from_the_new_data(
    env, instance, weekly_table
):
    rows = weekly_table({"bread": 100, "fish": 20}, 157)
    earlier = rows.filter(pc.less(rows["day"], pa.scalar(rows["day"][149].as_py())))
    publish(env, earlier)
    assert run(env, instance, declared()).success
    publish(env, rows)
    result = run(env, instance, declared(rounds=1))
    assert result.success
    assert not gate(result).passed
    assert gate(result).severity == dg.AssetCheckSeverity.ERROR
    assert "it is worse than the champion's" in gate(result).description
    assert (metadata(result, MODEL)["version"], metadata(result, MODEL)["promoted"]) == (1, False)
    assert metadata(result, PREDICTIONS)["model version"] == "demand/1"
    assert metadata(result, PREDICTIONS)["days"] == "2024-06-06 to 2024-06-12"


def test_running_the_model_alone_cannot_get_a_refused_challenger_past_the_gate(env, instance, weekly_table):
    publish(env, weekly_table({"bread": 100, "fish": 20}, 150))
    run(env, instance, declared())
    run(env, instance, declared(rounds=1), selection=[EVALUATION])
    alone = run(env, instance, declared(rounds=1), selection=[MODEL])
    assert metadata(alone, MODEL)["version"] == 1
    assert metadata(alone, MODEL)["verdict"].startswith("Refused")


def test_a_refused_first_challenger_fails_the_model_and_nothing_is_predicted(env, instance, weekly_table):
    publish(env, weekly_table({"bread": 100, "fish": 20}, 150))
    result = run(env, instance, declared(margin=0.99))
    assert not result.success
    assert not gate(result).passed
    assert "has no champion yet, and its challenger was not let in. Refused: WAPE" in failure(result)
    assert [e.asset_key for e in result.get_asset_materialization_events()] == [EVALUATION]


def test_too_short_a_history_fails_with_the_days_needed_and_found(env, instance, weekly_table):
    publish(env, weekly_table({"bread": 100}, 40))
    message = failure(run(env, instance, declared()))
    assert "needs 70 days of history; the table covers 40, from 2024-01-01 to 2024-02-09" in message


def test_an_empty_table_fails_with_what_to_do(env, instance, weekly_table):
    publish(env, weekly_table({"bread": 100}, 40).slice(0, 0))
    assert "no rows; materialize what it depends on first" in failure(run(env, instance, declared()))


def test_a_warehouse_without_a_published_version_fails_with_what_to_do(env, instance):
    assert "Nothing is published" in failure(run(env, instance, declared()))


def test_a_column_that_does_not_exist_is_named(env, instance, weekly_table):
    publish(env, weekly_table({"bread": 100}, 100))
    message = failure(run(env, instance, declared(series="depart")))
    assert "marts.daily cannot be read as days (day), series (depart) and values (sales)" in message
    assert "Candidate bindings" in message


def test_rows_of_one_day_are_added_up_and_rows_without_a_series_are_counted_and_left_out(env, instance, weekly_table):
    rows = weekly_table({"bread": 100, "fish": 20}, 150)
    halves = rows.set_column(2, "value", pc.divide(rows["value"], 2))
    nameless = halves.slice(0, 3).set_column(1, "series", pa.array([None] * 3, pa.string()))
    publish(env, pa.concat_tables([halves, halves, nameless]))
    result = run(env, instance, declared())
    assert "3 rows without a day or series" in metadata(result, EVALUATION)["left out"]
    total = sum(rows["value"].to_pylist()[143:150] + rows["value"].to_pylist()[293:])
    assert metadata(result, PREDICTIONS)["sum of forecasts"] == pytest.approx(total, rel=0.15)


def test_every_asset_says_what_it_is_whose_it_is_and_where_it_belongs(env):
    definitions = declared().definitions(env)
    specs = {spec.key: spec for spec in definitions.resolve_all_asset_specs() if spec.group_name != "default"}
    assert {key: spec.group_name for key, spec in specs.items()} == {
        EVALUATION: "evaluation",
        MODEL: "models",
        PREDICTIONS: "production",
    }
    assert [dep.asset_key for dep in specs[PREDICTIONS].deps] == [dg.AssetKey(["marts", "sales", "daily"]), MODEL]
    assert [dep.asset_key for dep in specs[MODEL].deps] == [dg.AssetKey(["marts", "sales", "daily"]), EVALUATION]
    for spec in specs.values():
        assert spec.description.startswith("What will be asked for.")
        assert list(spec.owners) == ["team:science"]
        assert spec.tags["domain"] == "sales"
        assert "lightgbm" in spec.kinds


def test_the_code_version_of_the_evaluation_changes_with_the_recipe_only(env):
    def version(**settings) -> str:
        return declared(**settings).definitions(env).get_assets_def(EVALUATION).code_versions_by_key[EVALUATION]

    assert version() == version(description="Said otherwise.")
    assert len({version(), version(rounds=61), version(parameters={"num_leaves": 7}), version(holidays=["12-25"])}) == 4


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("windows: 0", "0 is out of range; expected at least 1 and less than 1000"),
        ("margin: 1.5", "1.5 is out of range; expected at least 0 and less than 1"),
        ("holidays: ['12-44']", "'12-44' is not a day; expected YYYY-MM-DD, or MM-DD for every year"),
        ("features: [moon]", "Unknown features ['moon']; expected some of: same_weekday_1"),
        ("horizont: 3", "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_declaration_is_refused_at_load_with_file_and_line(tmp_path: Path, line, problem):
    from dagster.components.core.component_tree import ComponentTreeException

    head = """
        type: caudal.models.component.Forecast
        attributes:
          name: demand
          domain: sales
          table: marts.daily
          asset: marts/sales/daily
          time: day
          series: department
          value: sales
    """
    company = tmp_path / f"company_{abs(hash(line))}"
    (company / "defs" / "demand").mkdir(parents=True)
    for package in (company, company / "defs"):
        (package / "__init__.py").touch()
    file = company / "defs" / "demand" / "defs.yaml"
    file.write_text(textwrap.dedent(head).strip() + f"\n  {line}\n")
    sys.path.insert(0, str(tmp_path))
    try:
        module = __import__(f"{company.name}.defs", fromlist=["defs"])
        tree = dg.ComponentTree.from_module(module, tmp_path)
        with pytest.raises(ComponentTreeException) as refused:
            tree.build_defs(tree.defs_module_path)
    finally:
        sys.path.remove(str(tmp_path))
    message = str(refused.value.__cause__)
    assert f"{file}:10" in message
    assert problem in message


def test_importing_the_component_imports_no_heavy_library():
    heavy = "('pandas', 'numpy', 'pyarrow', 'duckdb', 'lightgbm', 'mlflow', 'matplotlib', 'scipy', 'fastapi')"
    script = f"import sys, caudal.models.component; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
