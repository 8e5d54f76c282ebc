"""A reviewed request reaches Dagster once, whatever is killed meanwhile, and is refused if anything about it is wrong."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import dagster as dg
import pytest

from caudal.declaration import DeclarationError
from caudal.runtime.backfills import launching
from caudal.runtime.backfills.launching import Refused, applied, applied_otherwise, launch, progress
from caudal.runtime.backfills.targets import find

HERE = Path(__file__).parent

#: A process that is killed where it would write the record.
KILLED = """
    import importlib.util, os, signal, sys
    from pathlib import Path
    import dagster as dg
    from caudal.environment import Environment
    from caudal.runtime.backfills import launching
    from caudal.runtime.backfills.request import read_request
    from caudal.runtime.backfills.targets import find
    home, data, file, company, killed = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("company", company)
    module = importlib.util.module_from_spec(spec)
    sys.modules["company"] = module
    spec.loader.exec_module(module)
    if killed == "before recording":
        launching._record = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    elif killed == "before launching":
        launching._backfill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    env = Environment("local", "shop", Path(home), Path(data))
    with dg.DagsterInstance.from_config(home) as instance:
        request = read_request(Path(file))
        targets = find(request, module.defs.resolve_asset_graph(), instance)
        try:
            launching.launch(env, request, targets, instance)
        except launching.Refused as refused:
            print("refused", refused)
"""


@pytest.fixture
def start(local_home, env):
    def started(path, killed):
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            textwrap.dedent(KILLED),
            local_home,
            env.data,
            path,
            HERE / "company.py",
            killed,
        ]
        return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return started


def targets_of(request, graph, instance):
    return find(request, graph, instance)


def test_a_launched_request_is_a_backfill_that_says_why(ask, graph, local_instance, env):
    request = ask(("reason:", "priority: -1\none_run_at_a_time: true\ntags: {team: floor}\nreason:"))
    record = launch(env, request, targets_of(request, graph, local_instance), local_instance)
    backfill = local_instance.get_backfill(record.id)
    assert backfill.title == "2026-03-10-scale (shop)"
    assert backfill.tags == {
        "team": "floor",
        "dagster/priority": "-1",
        "caudal/backfill_file": "2026-03-10-scale.yaml",
        "caudal/backfill_reason": request.reason,
        "caudal/backfill_requested_by": "ana@bakery.example",
        "caudal/backfill_reviewed_by": "bo@bakery.example",
        "caudal/one_run_at_a_time": record.id,
    }
    subset = backfill.asset_backfill_data.target_subset
    raw = subset.partitions_subsets_by_asset_key[dg.AssetKey(["raw", "till", "sales"])]
    assert set(raw.get_partition_keys()) == {"2026-03-02", "2026-03-03", "2026-03-04"}
    assert progress(record.id, local_instance) == launching.Progress("requested", targets=6)


def test_a_request_is_applied_once_and_a_changed_file_is_another(ask, graph, local_instance, env):
    request = ask()
    targets = targets_of(request, graph, local_instance)
    first = launch(env, request, targets, local_instance)
    with pytest.raises(Refused, match=r"was applied at .* copy it to a file with another name"):
        launch(env, request, targets, local_instance)
    changed = ask(("to: 2026-03-04", "to: 2026-03-05"))
    assert applied(env, changed) is None
    assert applied_otherwise(env, changed) == first
    launch(env, changed, targets_of(changed, graph, local_instance), local_instance)
    assert len(local_instance.get_backfills()) == 2


def test_what_nobody_reviewed_is_not_launched(ask, graph, local_instance, env):
    request = ask(("reviewed_by: bo@bakery.example\n", ""))
    with pytest.raises(Refused, match=r"somebody else than ana@bakery.example"):
        launch(env, request, targets_of(request, graph, local_instance), local_instance)
    assert local_instance.get_backfills() == []


def test_it_is_not_launched_again_when_dagster_has_forgotten_it(ask, graph, local_instance, env, empty_home):
    request = ask()
    targets = targets_of(request, graph, local_instance)
    launch(env, request, targets, local_instance)
    with dg.DagsterInstance.ephemeral() as another:
        with pytest.raises(Refused):
            launch(env, request, targets, another)
        assert progress(request.id, another).status == "forgotten"


@pytest.mark.parametrize(("killed", "launched"), [("before launching", 0), ("before recording", 1)])
def test_killed_between_two_steps_it_is_launched_once_all_the_same(
    killed, launched, write, ask, graph, local_instance, env, start
):
    process = start(write(), killed)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    request = ask()
    before = local_instance.get_backfills()
    assert (len(before), applied(env, request)) == (launched, None)
    launch(env, request, targets_of(request, graph, local_instance), local_instance)
    (after,) = local_instance.get_backfills()
    assert after.backfill_id == request.id
    assert not before or before[0].backfill_timestamp == after.backfill_timestamp
    assert applied(env, request).id == request.id


def test_two_who_apply_at_once_launch_one(write, local_instance, start):
    path = write()
    processes = [start(path, "no") for _ in range(2)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert sorted(out.startswith("refused") for out, _ in said) == [False, True]
    assert len(local_instance.get_backfills()) == 1


# What a request comes to


def test_a_step_that_makes_several_assets_is_made_whole_and_what_is_below_is_told(ask, graph, local_instance):
    targets = targets_of(ask(), graph, local_instance)
    assert targets.assets == ("lake/till/sales", "raw/till/sales")
    assert targets.along == ("lake/till/sales",)
    assert (targets.partitions, targets.runs) == (3, 1)
    assert targets.below == ("marts/sales/daily", "marts/sales/yearly")


def test_downstream_is_made_too_where_it_is_asked_for(ask, graph, local_instance):
    targets = targets_of(ask(("partitions:", "downstream: true\npartitions:")), graph, local_instance)
    assert targets.assets == ("lake/till/sales", "marts/sales/daily", "marts/sales/yearly", "raw/till/sales")
    assert (targets.runs, targets.below) == (2, ())


def test_a_partition_takes_a_run_of_its_own_where_no_policy_says_otherwise(ask, graph, local_instance):
    assert targets_of(ask(("raw/till/sales", "raw/till/counts")), graph, local_instance).runs == 3


def test_files_are_partitions_that_the_instance_knows(ask, graph, local_instance):
    local_instance.add_dynamic_partitions("files/till/notes", ["a.csv", "b.csv"])
    some = (("raw/till/sales", "raw/till/notes"), ("partitions: {from: 2026-03-02, to: 2026-03-04}", "files: [b.csv]"))
    assert targets_of(ask(*some), graph, local_instance).partitions == 1
    with pytest.raises(
        DeclarationError, match=r"yaml:3: raw/till/notes has no partition c.csv; there are a.csv to b.csv, 2 of"
    ):
        targets_of(ask(*some, ("[b.csv]", "[c.csv]")), graph, local_instance)


WRONG = {
    "no such asset": (("raw/till/sales", "raw/till/sale"), r":2: there is no asset 'raw/till/sale'; is raw/till/sales"),
    "made by others": (("raw/till/sales", "partner/list"), r":2: partner/list is made by others"),
    "no such partition": (
        ("to: 2026-03-04", "to: 2027-03-04"),
        r":3: raw/till/sales has no partition 2027-03-04; there are 2026",
    ),
    "backwards": (
        ("from: 2026-03-02", "from: 2026-03-05"),
        r":3: the range goes from 2026-03-05 to 2026-03-04, which is before",
    ),
    "partitions left out": (
        ("partitions: {from: 2026-03-02, to: 2026-03-04}\n", ""),
        r":2: raw/till/sales has partitions; say",
    ),
    "partitions of what has none": (("raw/till/sales", "marts/sales/daily"), r":3: marts/sales/daily has no partitions"),
}


@pytest.mark.parametrize(("change", "problem"), WRONG.values(), ids=WRONG)
def test_what_does_not_exist_is_refused_with_file_and_line(ask, graph, local_instance, change, problem):
    with pytest.raises(DeclarationError, match=problem):
        targets_of(ask(change), graph, local_instance)


def test_dagsters_daemon_does_what_was_asked_for(ask, graph, env, tmp_path):
    """The daemon's own iteration, on a real instance, with the definitions at hand and runs in this process."""
    import logging

    from dagster._core.remote_origin import InProcessCodeLocationOrigin
    from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget, instance_for_test
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._daemon.backfill import execute_backfill_iteration

    overrides = {
        "run_launcher": {"module": "dagster._core.launcher.sync_in_memory_run_launcher", "class": "SyncInMemoryRunLauncher"},
        "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    }
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, python_file=str(HERE / "company.py")), location_name="shop"
    )
    request = ask(("partitions:", "downstream: true\npartitions:"))
    with instance_for_test(temp_dir=str(tmp_path), overrides=overrides) as instance:
        launch(env, request, targets_of(request, graph, instance), instance)
        with WorkspaceProcessContext(instance, InProcessTestWorkspaceLoadTarget(origin)) as workspace:
            for _ in range(6):
                list(execute_backfill_iteration(workspace, logging.getLogger("backfill")))
        assert progress(request.id, instance) == launching.Progress("completed success", targets=8, made=8)
        runs = instance.get_runs()
        assert len(runs) == 2
        assert all(run.tags["caudal/backfill_file"] == "2026-03-10-scale.yaml" for run in runs)
        materialized = instance.get_materialized_partitions(dg.AssetKey(["raw", "till", "sales"]))
        assert materialized == {"2026-03-02", "2026-03-03", "2026-03-04"}
