"""The automation policy as a truth table: what happened, tick by tick -> how often the mart is asked for, in all.

raw and other -> view (virtual) -> mart. Runs are written into a real instance's event log as Dagster writes them, so that one
can be in progress during a tick. `docs/guide/operating.md` has the same table for people.
"""

import datetime as dt
import functools
import logging
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from caudal.lake.watch import WHOLE_TAG
from caudal.runtime.policy import refresh_policy

RAW, OTHER, VIEW, MART = (dg.AssetKey(k) for k in ("raw", "other", "view", "mart"))
GOOD = dg.AssetCheckKey(OTHER, "good")
LOADED, NEW = ["2024-01-01", "2024-01-02", "2024-01-04"], ["2024-01-03", "2024-01-05"]
KINDS = {
    "none": (None, [], []),
    "day": (dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-10"), LOADED, NEW),
    "hour": (
        dg.HourlyPartitionsDefinition("2024-01-01-00:00", end_date="2024-01-01-09:00"),
        [f"2024-01-01-{h}:00" for h in ("00", "01", "03")],
        [f"2024-01-01-{h}:00" for h in ("02", "04")],
    ),
    "file": (dg.DynamicPartitionsDefinition(name="files"), ["a", "b", "d"], ["c", "e"]),
}


@functools.cache
def definitions(kind: str, code_version: str = "1") -> dg.Definitions:
    partitions = KINDS[kind][0]
    policy = refresh_policy(dg.AssetSelection.keys(*([RAW] if partitions else [])), over_views=True)

    @dg.multi_asset(specs=[dg.AssetSpec(RAW, partitions_def=partitions)])
    def raw(): ...

    @dg.multi_asset(specs=[dg.AssetSpec(OTHER)], check_specs=[dg.AssetCheckSpec("good", asset=OTHER, blocking=True)])
    def other(): ...

    @dg.multi_asset(specs=[dg.AssetSpec(VIEW, deps=[RAW, OTHER], is_virtual=True)])
    def view(): ...

    @dg.multi_asset(specs=[dg.AssetSpec(MART, deps=[VIEW], automation_condition=policy, code_version=code_version)])
    def mart(): ...

    return dg.Definitions([raw, other, view, mart])


class World:
    """Each method is something that happens; `tick` says whether the mart was asked for, and starts the run that was."""

    def __init__(self, kind: str = "day", slow: bool = False, missing: tuple[dg.AssetKey, ...] = ()) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self.partitions, loaded, new = KINDS[kind]
        self.loaded, self.new, self.backfill = list(loaded), list(new), None
        self.slow, self.asked, self.cursor = slow, 0, None
        self.fails, self.failures, self.is_good = False, 0, True
        self.running: list[dg.DagsterRun] = []
        self.kind, self.defs = kind, definitions(kind)
        self.job = self.defs.resolve_implicit_global_asset_job_def()
        if kind == "file":
            self.instance.add_dynamic_partitions("files", loaded)
        self.run(*(key for key in (RAW, OTHER, VIEW, MART) if key not in missing))

    # What happens -----------------------------------------------------------------------------------------------------------

    def begin(self, *keys: dg.AssetKey, whole: bool = False) -> dg.DagsterRun:
        tags = {WHOLE_TAG: "true"} if whole else {}
        run = self.instance.create_run_for_job(self.job, asset_selection=frozenset(keys), tags=tags)
        self.instance.report_dagster_event(DagsterEvent(DagsterEventType.RUN_START.value, run.job_name), run.run_id)
        return run

    def end(
        self, run: dg.DagsterRun, partitions: list | None = None, good: bool = True, canceled_after: list | None = None
    ) -> None:
        canceled = canceled_after is not None
        made = canceled_after if canceled else [k for k in (RAW, OTHER, VIEW, MART) if k in run.asset_selection]
        failed = self.fails and MART in made
        self.failures += failed
        for key in made:
            if key == MART and failed:
                continue
            of_raw = (self.loaded[:2] if partitions is None else partitions) if key == RAW and self.partitions else []
            for partition in [*of_raw, None]:
                event = dg.AssetMaterialization(key, partition=partition)
                data = StepMaterializationData(event, [])
                kind = DagsterEventType.ASSET_MATERIALIZATION.value
                self.instance.report_dagster_event(DagsterEvent(kind, run.job_name, event_specific_data=data), run.run_id)
        if OTHER in made:
            self.is_good = good
            evaluation = dg.AssetCheckEvaluation(GOOD.asset_key, GOOD.name, good, {}, blocking=True)
            kind = DagsterEventType.ASSET_CHECK_EVALUATION.value
            self.instance.report_dagster_event(DagsterEvent(kind, run.job_name, event_specific_data=evaluation), run.run_id)
        ended = "CANCELED" if canceled else "FAILURE" if failed else "SUCCESS"
        kind = DagsterEventType[f"RUN_{ended}"].value
        self.instance.report_dagster_event(DagsterEvent(kind, run.job_name), run.run_id)

    def run(self, *keys: dg.AssetKey, whole: bool = False, **ending: object) -> None:
        self.end(self.begin(*keys, whole=whole), **ending)

    def update(self) -> None:
        """A run of its own loads a file of a new partition."""
        new = [self.new.pop(0)] if self.partitions else []
        if isinstance(self.partitions, dg.DynamicPartitionsDefinition):
            self.instance.add_dynamic_partitions("files", new)
        self.run(RAW, partitions=new)

    def late(self) -> None:
        self.run(RAW, partitions=self.loaded[:1])

    def other(self) -> None:
        self.run(OTHER)

    def other_bad(self) -> None:
        self.run(OTHER, good=False)

    def whole(self) -> None:
        """The lake sensor's run."""
        self.run(RAW, VIEW, MART, whole=True)

    def whole_canceled(self) -> None:
        self.run(RAW, VIEW, MART, whole=True, canceled_after=[RAW])

    def whole_begins(self) -> None:
        self.running.append(self.begin(RAW, VIEW, MART, whole=True))

    def raw_begins(self) -> None:
        self.running.append(self.begin(RAW))

    def other_begins(self) -> None:
        self.running.append(self.begin(OTHER))

    def it_ends(self) -> None:
        self.end(self.running.pop(0))

    def it_is_canceled(self) -> None:
        self.end(self.running.pop(0), canceled_after=[])

    def deleted(self) -> None:
        """A file is removed from the lake: the sensor's run removes its rows. What was a partition of its own is none any more."""
        if isinstance(self.partitions, dg.DynamicPartitionsDefinition):
            self.instance.delete_dynamic_partition("files", self.loaded[2])
        self.run(RAW, VIEW, MART, whole=True, partitions=[])

    def backfill_begins(self) -> None:
        graph, now = self.defs.resolve_asset_graph(), dt.datetime.now(dt.UTC).timestamp()
        data = AssetBackfillData.from_asset_partitions(
            asset_graph=graph,
            partition_names=self.loaded,
            asset_selection=[RAW],
            dynamic_partitions_store=self.instance,
            backfill_start_timestamp=now,
            all_partitions=False,
        )
        self.backfill = PartitionBackfill(
            backfill_id="b", status=BulkActionStatus.REQUESTED, from_failure=False, tags={}, backfill_timestamp=now,
            asset_selection=[RAW],
        ).with_asset_backfill_data(data, self.instance, graph)  # fmt: skip
        self.instance.add_backfill(self.backfill)

    def backfill_ends(self) -> None:
        self.instance.update_backfill(self.backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))

    def new_code(self) -> None:
        self.defs = definitions(self.kind, "2")

    def mart_fails(self) -> None:
        self.fails = True

    def mart_works(self) -> None:
        self.fails = False

    def tick(self) -> bool:
        result = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        requested = bool(result.get_num_requested(MART))
        self.asked += requested
        for run in [r for r in self.running if r.tags.get("by") == "policy"]:
            self.running.remove(run)
            self.end(run)
        if requested:
            run = self.begin(MART)
            self.running.append(run.with_tags({**run.tags, "by": "policy"})) if self.slow else self.end(run)
        return requested


MISSING_OTHER, MISSING_MART = (OTHER,), (MART,)

#: What happens -> how raw is partitioned -> what is missing at first -> what happens before each tick -> requests in all.
#: Where it says `slow`, it is tried again with runs that are in progress during the tick after the one that asked for them.
TABLE = {
    "nothing, and all is there": ("day", (), ["", "", ""], 0),
    "nothing, but the mart is missing": ("day", MISSING_MART, [""], 1),
    "a file, and the lake sensor's run": ("none file day", (), ["", "whole"], 0),
    "the same run, seen halfway": ("day", (), ["", "whole_begins", "it_ends"], 0),
    "a file, and a run of raw alone": ("none file hour slow", (), ["", "update"], 1),
    "a late file of a day that was loaded": ("day", (), ["", "late"], 1),
    "two dependencies in one tick": ("day", (), ["", "update update other"], 1),
    "another file in the tick after a request": ("day slow", (), ["", "update", "update"], 2),
    "another file later": ("day", (), ["", "update", "", "update"], 2),
    "a file is deleted": ("none file", (), ["", "deleted"], 0),
    "the sensor's run fails at the mart": ("day slow", (), ["", "mart_fails whole", ""], 0),
    "the sensor's run is canceled by a person": ("day", (), ["", "whole_canceled"], 0),
    "the mart's own run fails": ("day slow", (), ["", "mart_fails update", "", ""], 1),
    "the same, and then another file": ("day slow", (), ["", "mart_fails update", *[""] * 3, "update", "", ""], 2),
    "the same, and then the sensor's run works": ("day slow", (), ["", "mart_fails update", "", "mart_works whole"], 1),
    "failure while raw is in progress": ("none", (), ["", "mart_fails whole raw_begins", "mart_works it_is_canceled"], 0),
    "a blocking check fails": ("day", (), ["", "other_bad", ""], 0),
    "a blocking check fails, then passes": ("day", (), ["", "other_bad", "", "other"], 1),
    "a file while a blocking check fails, then it passes": ("day", (), ["", "other_bad", "update", "", "other"], 1),
    "a dependency is missing, then it is there": ("day", MISSING_OTHER, ["", "update", "", "other"], 1),
    "a partition is missing, such as a Saturday": ("day file", (), ["", "other"], 1),
    "a file while a dependency is in progress": ("day", (), ["", "other_begins update", "", "it_ends"], 1),
    "a file while the mart is in progress": ("day", (), ["", "whole_begins", "update", "it_ends"], 1),
    "a backfill of raw, seen halfway": ("day", (), ["", "backfill_begins update", "late", "backfill_ends"], 1),
    "new code": ("day", (), ["", "new_code"], 1),
    "new code while raw is in progress": ("none", (), ["", "raw_begins new_code", "it_is_canceled"], 1),
    "new code in the tick after a request": ("day", (), ["", "update", "new_code"], 2),
}

CASES = [(name, kind) for name, row in TABLE.items() for kind in row[0].split()]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_mart_is_asked_for_as_often_as_the_table_says(name, kind):
    _, missing, ticks, expected = TABLE[name]
    world = World("day" if kind == "slow" else kind, kind == "slow", missing)
    seen = []
    for happening in [*ticks, "", "", *["", ""] * world.slow]:
        for step in happening.split():
            getattr(world, step)()
        seen.append(world.tick())
    assert world.asked == expected, seen


class Whatever(RuleBasedStateMachine):
    """Any sequence of what the table's rows are made of. At its end, nothing is owed."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.time = self.updated = self.attempted = self.updates = 0

    @initialize(slow=st.booleans())
    def a_company(self, slow: bool) -> None:
        self.world = World("day", slow)
        self.world.new = list(LOADED) * 20
        self.world.tick()

    def happens(self, step: str) -> None:
        getattr(self.world, step)()
        self.time += 1

    @rule(step=st.sampled_from(["update", "late", "other", "other_bad"]))
    def what_it_depends_on_is_updated(self, step: str) -> None:
        self.happens(step)
        self.updated, self.updates = self.time, self.updates + 1

    @rule(seen_halfway=st.booleans())
    def the_sensor_asks(self, seen_halfway: bool) -> None:
        """A run starts after the ticks before it, and reads all that was updated before it."""
        if self.world.running:
            return
        self.happens("whole_begins")
        self.attempted = self.time
        if seen_halfway:
            self.a_tick()
        while self.world.running:
            self.world.it_ends()

    @rule()
    def the_mart_breaks_or_is_repaired(self) -> None:
        self.happens("mart_works" if self.world.fails else "mart_fails")

    @rule()
    def a_tick(self) -> None:
        if self.world.tick():
            self.attempted = self.time

    def teardown(self) -> None:
        if self.world is None:
            return
        if not self.world.is_good:
            self.what_it_depends_on_is_updated("other")
        for _ in range(6):
            self.a_tick()
        assert self.attempted >= self.updated, "an update was forgotten"
        assert self.world.asked <= self.updates, "it was asked for twice for one update"
        asked = self.world.asked
        for _ in range(3):
            self.world.tick()
        assert self.world.asked == asked, "it is asked for without end"


def test_whatever_happens_no_update_is_forgotten_and_none_is_answered_for_ever():
    few = settings(max_examples=6, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Whatever, settings=few)
