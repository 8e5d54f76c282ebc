"""A permanent failure is not tried again, a transient one is, boundedly and by one mechanism only; what takes too long is ended."""

import errno
import logging
import multiprocessing
import shutil
import sqlite3
import time
import urllib.error
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.execution.api import execute_run
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import consume_new_runs_for_automatic_reexecution

from caudal.declaration import DeclarationError
from caudal.runtime import failures, guarded
from caudal.runtime.deadline import Deadline, TimedOut
from caudal.runtime.failures import Kind, judge
from caudal.store.objects import StoreError, StoreUnreachable
from caudal.transform.nodes import ManifestError


class OwnConnectionError(ConnectionError): ...


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DeclarationError("sales.yaml:3: no"), Kind.PERMANENT),
        (ManifestError("no"), Kind.PERMANENT),
        (dg.Failure("no", allow_retries=False), Kind.PERMANENT),
        (ModuleNotFoundError("no"), Kind.PERMANENT),
        (PermissionError(errno.EACCES, "no"), Kind.PERMANENT),
        (sqlite3.OperationalError("database is locked"), Kind.TRANSIENT),
        (sqlite3.OperationalError("no such table: t"), Kind.UNKNOWN),
        (StoreUnreachable("no answer"), Kind.TRANSIENT),
        (StoreError("no such bucket"), Kind.UNKNOWN),
        (OwnConnectionError("reset"), Kind.TRANSIENT),
        (TimeoutError("too late"), Kind.TRANSIENT),
        (OSError(errno.ENETUNREACH, "no network"), Kind.TRANSIENT),
        (OSError(errno.ENOSPC, "full"), Kind.UNKNOWN),
        (urllib.error.HTTPError("u", 503, "no", Message(), None), Kind.TRANSIENT),
        (urllib.error.HTTPError("u", 404, "no", Message(), None), Kind.UNKNOWN),
        (ValueError("no"), Kind.UNKNOWN),
        (dg.Failure("no"), Kind.UNKNOWN),
        (TimedOut("no"), Kind.UNKNOWN),
        (caused(RuntimeError("could not extract"), ConnectionError("reset")), Kind.TRANSIENT),
        (caused(DeclarationError("no"), ConnectionError("reset")), Kind.PERMANENT),
    ],
)
def test_an_error_is_judged_by_what_it_is_or_else_by_what_it_comes_from(error: Exception, kind: Kind) -> None:
    assert judge(error) is kind


def test_errors_of_libraries_are_known_by_their_real_names() -> None:
    import duckdb

    for query, kind in (("SELEC 1", Kind.PERMANENT), ("SELECT x FROM no_such", Kind.PERMANENT)):
        with pytest.raises(duckdb.Error) as raised:
            duckdb.connect().execute(query)
        assert judge(raised.value) is kind


def test_a_cycle_of_causes_is_judged_too() -> None:
    one, two = RuntimeError("1"), RuntimeError("2")
    one.__cause__, two.__cause__ = two, one
    assert judge(one) is Kind.UNKNOWN


# Real runs

LOCATION = """
import os, signal
import dagster as dg
from caudal.declaration import DeclarationError
from caudal.runtime.guarded import guard

@dg.asset
def permanent(): raise DeclarationError("sales.yaml:3: no")

@dg.asset
def unknown(): raise ValueError("who knows")

@dg.asset
def refused(): raise dg.Failure("no", allow_retries=False)

def die(): os.kill(os.getpid(), signal.SIGKILL)

good = dg.asset(key=["raw", "shop", "good"])(lambda: None)
dies = dg.asset(name="dies", deps=[good])(die)
loads = dg.asset(key=["raw", "shop", "sales"])(die)
failed = dg.AutomationCondition.execution_failed()
automated = dg.asset(name="automated", automation_condition=failed.newly_true() & ~dg.AutomationCondition.in_progress())(die)
assets = [permanent, unknown, refused, good, dies, loads, automated]
defs = guard(dg.Definitions(assets=assets, executor=dg.in_process_executor))
"""
RETRIES = "run_retries: {enabled: true, max_retries: 1, retry_on_asset_or_op_failure: true}\n"


def run(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    guarded.guard(dg.Definitions(assets=assets))
    return dg.materialize(assets, instance=instance, raise_on_error=False)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the waits before another attempt."""
    monkeypatch.setattr(failures, "WAITS_S", (0.0, 0.01))


def test_a_transient_failure_is_tried_again_within_the_run_until_it_passes(local_instance, at_once) -> None:
    attempts = []

    @dg.asset
    def flaky() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("reset")

    result = run(local_instance, flaky)
    assert result.success
    assert len(attempts) == 3


def test_a_transient_failure_that_does_not_pass_ends_the_run_with_its_own_error(local_instance, at_once) -> None:
    attempts = []

    @dg.asset
    def gone() -> Iterator[dg.MaterializeResult]:
        attempts.append(1)
        yield from ()
        raise ConnectionError("reset")

    result = run(local_instance, gone)
    assert not result.success
    assert len(attempts) == 3
    assert "ConnectionError: reset" in str(result.failure_data_for_node("gone").error)


@pytest.mark.parametrize("error", [DeclarationError("sales.yaml:3: no"), dg.Failure("no", allow_retries=False)])
def test_a_permanent_failure_is_tried_once_though_the_author_asked_for_retries(local_instance, error: Exception) -> None:
    attempts = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=3))
    def wrong() -> None:
        attempts.append(1)
        raise error

    result = run(local_instance, wrong)
    assert len(attempts) == 1
    kept = local_instance.get_run_by_id(result.run_id)
    assert kept is not None
    assert kept.tags["dagster/retry_on_asset_or_op_failure"] == "false"
    assert "no" in str(result.failure_data_for_node("wrong").error)


def test_an_authors_retry_policy_is_followed_where_trying_again_may_help(local_instance) -> None:
    attempts = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=4))
    def own() -> None:
        attempts.append(1)
        raise ConnectionError("reset")

    run(local_instance, own)
    assert len(attempts) == 5


def test_a_guarded_asset_is_what_it_was(local_instance) -> None:
    @dg.asset
    def plain() -> int:
        return 7

    @dg.asset(check_specs=[dg.AssetCheckSpec("good", asset="made")])
    def made(context: dg.AssetExecutionContext, plain: int) -> Iterator[dg.MaterializeResult]:
        yield dg.MaterializeResult(
            metadata={"n": plain, "key": context.asset_key.to_user_string()},
            check_results=[dg.AssetCheckResult(passed=True, check_name="good")],
        )

    @dg.asset_check(asset=made)
    def other() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    guarded.guard(dg.Definitions(assets=[plain, made], asset_checks=[other]))
    guarded.guard(dg.Definitions(assets=[plain, made], asset_checks=[other]))
    result = dg.materialize([plain, made, other], instance=local_instance)
    assert result.success
    (materialized,) = result.asset_materializations_for_node("made")
    assert (materialized.metadata["n"].value, materialized.metadata["key"].value) == (7, "made")
    assert len(result.get_asset_check_evaluations()) == 2
    assert plain() == 7


@pytest.fixture(scope="module")
def daemon(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A code location, and what Dagster's daemon does about its failed runs."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(empty_home / "database", home / "database")
    (home / "dagster.yaml").write_text((empty_home / "dagster.yaml").read_text() + RETRIES)
    location = home / "failing_location.py"
    location.write_text(LOCATION)
    target = PythonFileTarget(str(location), attribute=None, working_directory=None, location_name="failing")
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        create_test_daemon_workspace_context(target, instance) as workspace,
    ):
        yield Daemon(instance, workspace, location)


class Daemon:
    def __init__(self, instance: dg.DagsterInstance, workspace: Any, location: Path) -> None:
        self.instance, self.workspace, self.location = instance, workspace, location

    def create(self, *assets: str, **tags: str) -> str:
        selection = frozenset(dg.AssetKey(asset.split("/")) for asset in assets)
        code = self.workspace.create_request_context().get_code_location("failing")
        repository = code.get_repository("__repository__")
        job = code.get_job(JobSubsetSelector("failing", "__repository__", "__ASSET_JOB", None, selection))
        plan = code.get_execution_plan(job, {}, step_keys_to_execute=None, known_state=None, instance=self.instance)
        return self.instance.create_run(
            job_name="__ASSET_JOB",
            run_id=None,
            run_config={},
            status=dg.DagsterRunStatus.STARTING,
            tags={name.replace("__", "/"): value for name, value in tags.items()},
            root_run_id=None,
            parent_run_id=None,
            step_keys_to_execute=None,
            execution_plan_snapshot=plan.execution_plan_snapshot,
            job_snapshot=job.job_snapshot,
            parent_job_snapshot=job.parent_job_snapshot,
            asset_selection=selection,
            asset_check_selection=None,
            resolved_op_selection=None,
            op_selection=None,
            remote_job_origin=repository.get_full_job("__ASSET_JOB").get_remote_origin(),
            job_code_origin=repository.get_full_job("__ASSET_JOB").get_python_origin(),
            asset_graph=repository.asset_graph,
        ).run_id

    def execute(self, run_id: str) -> None:
        """As the run's worker does, in a process of its own, which may die; then the run is failed as monitoring does."""
        process = multiprocessing.get_context("fork").Process(target=self._work, args=(run_id,))
        process.start()
        process.join(60)
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        if not run.is_finished:
            self.instance.report_run_failed(run, "The worker died.")

    def _work(self, run_id: str) -> None:
        with dg.DagsterInstance.from_ref(self.instance.get_ref()) as instance:
            run = instance.get_run_by_id(run_id)
            assert run is not None
            job = ReconstructableJob(ReconstructableRepository.for_file(str(self.location), "defs"), "__ASSET_JOB")
            execute_run(job.get_subset(asset_selection=run.asset_selection), run, instance)

    def retries(self, run_id: str) -> list[str]:
        """What the daemon makes of the run's failure, told of it twice."""
        for _ in range(2):
            failed = self.instance.get_run_records(dg.RunsFilter(run_ids=[run_id]))
            list(consume_new_runs_for_automatic_reexecution(self.workspace, failed, logging.getLogger("test")))
        return [run.run_id for run in self.instance.get_runs() if run.parent_run_id == run_id]


def test_dagsters_daemon_tries_a_failed_run_once_more_unless_that_is_hopeless(daemon: Daemon) -> None:
    for hopeless in ("permanent", "refused"):
        run_id = daemon.create(hopeless)
        daemon.execute(run_id)
        assert daemon.retries(run_id) == []
    run_id = daemon.create("unknown")
    daemon.execute(run_id)
    (retry,) = daemon.retries(run_id)
    as_launched = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, "__ASSET_JOB")
    daemon.instance.report_dagster_event(as_launched, run_id=retry)
    daemon.execute(retry)
    assert daemon.retries(retry) == []  # and no third time


def test_a_run_whose_worker_died_is_tried_again_by_one_mechanism_only(daemon: Daemon) -> None:
    plain = daemon.create("dies")
    daemon.execute(plain)
    assert len(daemon.retries(plain)) == 1
    automated = daemon.create("automated")  # its condition looks at failures, and asks for it again
    daemon.execute(automated)
    assert daemon.retries(automated) == []
    loading = daemon.create("raw/shop/sales", caudal__datasets="shop/sales")  # the lake sensor asks for its files again
    daemon.execute(loading)
    assert daemon.retries(loading) == []
    below = daemon.create("raw/shop/good", "dies", caudal__datasets="shop/good")  # loaded; the sensor has nothing to ask for
    daemon.execute(below)
    assert len(daemon.retries(below)) == 1


# Limits


def test_a_step_that_takes_too_long_ends_with_an_error_that_names_asset_and_limit(local_instance) -> None:
    @dg.asset(metadata={"caudal/timeout_s": 0.2})
    def slow() -> None:
        time.sleep(30)

    started = time.monotonic()
    result = run(local_instance, slow)
    assert not result.success
    assert time.monotonic() - started < 25
    assert "slow took longer than its limit of 0.2 s" in str(result.failure_data_for_node("slow").error)


def test_time_between_two_results_counts_and_only_the_steps_own_code_is_interrupted(local_instance) -> None:
    @dg.multi_asset(specs=[dg.AssetSpec("one"), dg.AssetSpec("two")], op_tags={"caudal/timeout_s": "0.3"})
    def pair() -> Iterator[dg.MaterializeResult]:
        yield dg.MaterializeResult("one")
        for _ in range(100):
            time.sleep(0.05)
        yield dg.MaterializeResult("two")

    result = run(local_instance, pair)
    assert not result.success
    assert [m.asset_key.to_user_string() for m in result.asset_materializations_for_node("pair")] == ["one"]
    assert "one, two took longer than its limit of 0.3 s" in str(result.failure_data_for_node("pair").error)


def test_a_step_in_time_leaves_no_timer_and_no_handler_behind(local_instance) -> None:
    import signal
    import threading

    before = (signal.getsignal(signal.SIGALRM), threading.active_count())

    @dg.asset(metadata={"caudal/timeout_s": 60})
    def quick() -> None: ...

    assert run(local_instance, quick).success
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    deadline = time.monotonic() + 30
    while threading.active_count() > before[1] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (signal.getsignal(signal.SIGALRM), threading.active_count()) == before


def test_a_step_of_several_assets_has_the_limit_of_the_longest_if_all_have_one(local_instance) -> None:
    found = []

    def limits(**seconds: float) -> None:
        specs = [dg.AssetSpec(name, metadata={"caudal/timeout_s": s} if s else {}) for name, s in seconds.items()]

        @dg.multi_asset(specs=specs, name="step_" + "_".join(seconds))
        def step(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
            found.append(guarded.timeout_s(context.op_execution_context))
            for name in seconds:
                yield dg.MaterializeResult(name)

        assert run(local_instance, step).success

    limits(a=10, b=20)
    limits(c=10, d=0)
    assert found == [20, None]


def test_a_limit_that_is_no_number_is_an_error_that_says_so(local_instance) -> None:
    @dg.asset(metadata={"caudal/timeout_s": "soon"})
    def odd() -> None: ...

    result = run(local_instance, odd)
    assert "`caudal/timeout_s` of odd is 'soon'; expected a number of seconds above 0" in str(
        result.failure_data_for_node("odd").error
    )


def test_what_goes_on_after_its_limit_is_reported_as_stuck() -> None:
    told: list[str] = []
    with pytest.raises(TimedOut), Deadline(0.05, "stubborn", told.append, grace_s=0.2) as deadline, deadline.running():
        try:
            time.sleep(30)
        except TimedOut:  # goes on all the same
            until = time.monotonic() + 30
            while not told and time.monotonic() < until:
                time.sleep(0.01)
            raise
    assert told == ["stubborn took longer than its limit of 0.05 s (`caudal/timeout_s`), and did not end when it was told to"]


def test_outside_the_main_thread_a_limit_is_kept_at_the_next_result() -> None:
    import threading

    raised: list[BaseException] = []

    def work() -> None:
        try:
            with Deadline(0.05, "threaded", lambda _: None) as deadline:
                with deadline.running():
                    time.sleep(0.1)
                with deadline.running():
                    pass
        except TimedOut as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert len(raised) == 1


def test_dagster_still_keeps_an_ops_function_where_it_is_guarded() -> None:
    """`guard` replaces `OpDefinition._compute_fn`, a private attribute: if this fails, see `caudal.runtime.guarded`."""
    from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction

    @dg.asset
    def any_asset() -> None: ...

    op = any_asset.node_def
    assert isinstance(op, dg.OpDefinition)
    assert isinstance(op._compute_fn, DecoratedOpFunction)
    assert op.compute_fn is op._compute_fn
    guarded.guard(dg.Definitions(assets=[any_asset]))
    assert hasattr(any_asset.node_def.compute_fn.decorated_fn, "_caudal_guarded")  # ty: ignore


def test_the_retries_of_runs_know_whether_the_policy_of_automation_looks_at_failures() -> None:
    from caudal.runtime.guarded import _looks_at_failures

    assert _looks_at_failures(dg.AutomationCondition.eager() | dg.AutomationCondition.execution_failed().newly_true())
    assert not _looks_at_failures(dg.AutomationCondition.eager())
