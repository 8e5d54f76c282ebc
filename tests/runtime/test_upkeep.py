"""Upkeep in Dagster: asked for by its schedule alone, awaited by nobody, and telling what it did."""

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.runtime.observation import Subject
from caudal.runtime.upkeep import Upkeep, compact, declared_upkeep, upkeep_definitions
from caudal.warehouse import delta

KEY = dg.AssetKey(["upkeep", "shop", "raw_tables"])


@pytest.fixture
def dataset(env, declare):
    """With 20 small files in its raw table."""
    dataset = declare()
    schema = dataset.contract.arrow_schema()
    env.state.mkdir(parents=True)
    for number in range(1, 21):
        part = env.state / "part.parquet"
        pq.write_table(pa.Table.from_pylist([{"item": str(number), "_file": f"{number}.csv"}], schema=schema), part)
        transaction = delta.Transaction("t", number)
        delta.replace_files(env.raw / dataset.table, schema, [part], [f"{number}.csv"], transaction=transaction, append=True)
    return dataset


def test_a_run_tends_every_table_and_shows_what_it_did(env, dataset, declare):
    definitions = upkeep_definitions(env, [dataset, declare(name="never_loaded")], Upkeep())
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("upkeep_job").execute_in_process(instance=instance)
        metadata = instance.get_latest_materialization_event(KEY).asset_materialization.metadata
        evaluations = result.get_asset_check_evaluations()
        again = definitions.resolve_job_def("upkeep_job").execute_in_process(instance=instance)
    assert result.success
    (counted,) = evaluations
    assert (counted.asset_key.path, counted.check_name, counted.passed) == (["raw", "stall", "sales"], "duplicates", True)
    assert again.get_asset_check_evaluations() == []
    (row,) = metadata["tables"].records
    assert (row.data["table"], row.data["files before"], row.data["files"]) == ("raw/stall__sales", 20, 1)
    assert row.data["older versions kept"] == "0: for who opened it in the last 24 hours"
    assert metadata["files fewer"].value == 19


def test_one_table_that_cannot_be_tended_does_not_stop_the_others(env, dataset, declare):
    broken = declare(name="broken")
    (env.raw / broken.table / "_delta_log").mkdir(parents=True)
    definitions = upkeep_definitions(env, [broken, dataset], Upkeep())
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("upkeep_job")
        assert not job.execute_in_process(instance=instance, raise_on_error=False).success
    assert len(delta_files(env, dataset)) == 1


def delta_files(env, dataset):
    from deltalake import DeltaTable

    return DeltaTable(env.raw / dataset.table).file_uris()


def test_it_runs_daily_by_default_and_nobody_waits_for_it(env):
    definitions = upkeep_definitions(env, [], Upkeep())
    (schedule,) = definitions.schedules
    assert schedule.cron_schedule == "30 3 * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert next(iter(definitions.resolve_all_asset_specs())).automation_condition is None
    assert Subject.of(definitions, "shop").assets == ()


def test_the_command_line_tells_a_table_a_line(env, dataset):
    (line,) = compact(env, [dataset], Upkeep(grace_hours=1))
    assert line.startswith("raw/stall__sales: 20 -> 1 files, ")
    assert "version 0 stays: for who opened it in the last 1 hours" in line


@pytest.mark.parametrize("hours", [0, 169])
def test_a_grace_period_that_makes_no_sense_is_refused(hours):
    with pytest.raises(ValueError, match=f"grace_hours is {hours}; expected"):
        _ = Upkeep(grace_hours=hours).settings


def test_a_company_declares_it_in_yaml_once_or_not_at_all():
    declared = Upkeep.resolve_from_yaml("{grace_hours: 48, target_mb: 32, owners: ['team:lake']}")
    assert (declared.settings.grace_hours, declared.settings.target_bytes) == (48, 32 * 1024**2)
    assert Upkeep().settings.target_bytes is None

    class Tree:
        def __init__(self, *found):
            self.found = list(found)

        def get_all_components(self, of_type):
            assert of_type is Upkeep
            return self.found

    assert declared_upkeep(Tree(declared)) is declared
    assert declared_upkeep(Tree()).grace_hours == 24
    with pytest.raises(ValueError, match="declared twice"):
        declared_upkeep(Tree(declared, declared))
