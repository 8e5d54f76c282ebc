"""The lake sensor: it holds its tick, wakes when a file has landed, and asks for one run, once whoever loads already has ended."""

import itertools
import threading
import time

import dagster as dg
import pytest

from caudal.lake.ledger import Ledger
from caudal.lake.records import Outcome
from caudal.lake.sensor import lake_sensor
from caudal.lake.watch import DATASETS_TAG, WHOLE_TAG, look

LAKE, RAW, REJECTS, MART = (
    dg.AssetKey(k) for k in (["lake", "stall", "sales"], ["raw", "stall", "sales"], ["quarantine", "stall", "sales"], ["mart"])
)
HOLD_S = 40.0


class Company:
    """The dataset `stall/sales`, a mart below it, a real instance; loading is told to the ledger only."""

    def __init__(self, env, dataset, extracted=()):
        self.env, self.dataset, self.cursor = env, dataset, None
        name = dataset.id
        self.sensor = lake_sensor(env, [dataset], {name: RAW}, {name: LAKE}, {name: REJECTS}, set(extracted), hold_s=HOLD_S)

        @dg.multi_asset(specs=[dg.AssetSpec(LAKE), dg.AssetSpec(RAW, deps=[LAKE]), dg.AssetSpec(REJECTS, deps=[LAKE])])
        def load(): ...

        @dg.asset(key=MART, deps=[RAW])
        def mart(): ...

        self.repository = dg.Definitions([load, mart], sensors=[self.sensor]).get_repository_def()
        self.instance = dg.DagsterInstance.ephemeral()
        self.ledger = Ledger(env.state / "ledger.db")
        (env.lake / "stall/sales").mkdir(parents=True)

    def tick(self):
        context = dg.build_sensor_context(self.instance, self.cursor, repository_def=self.repository, sensor_name="lake")
        result = self.sensor(context)
        if isinstance(result, dg.SkipReason):
            return None
        self.cursor = result.cursor
        (request,) = result.run_requests
        return request

    def tick_while(self, happens, after_s=0.1):
        """The request of a tick that is held while something happens, and how long after that it came."""
        began = []
        timer = threading.Timer(after_s, lambda: (began.append(time.monotonic()), happens()))
        timer.start()
        request = self.tick()
        timer.join()
        return request, time.monotonic() - began[0]

    def start(self, tags, *keys):
        job = self.repository.get_implicit_global_asset_job_def()
        return self.instance.create_run_for_job(
            job, asset_selection=frozenset(keys), tags=tags, status=dg.DagsterRunStatus.STARTED
        )

    def load(self):
        batch = self.ledger.claim(self.dataset, "run", -1)
        self.ledger.prepare(batch, [Outcome(f.path, 1, 1) for f in batch.files])
        self.ledger.finish(batch.number)


@pytest.fixture
def company(env, declare):
    return Company(env, declare())


def test_a_file_that_lands_while_the_tick_is_held_is_asked_for_at_once_with_all_that_is_below(company, drop):
    request, took_s = company.tick_while(lambda: drop("stall/sales/a.csv", "x"))
    assert set(request.asset_selection) == {LAKE, RAW, REJECTS, MART}
    assert request.tags == {DATASETS_TAG: "stall/sales", WHOLE_TAG: "true"}
    assert took_s < HOLD_S / 5


def test_a_burst_of_files_is_one_request_or_two(company, drop):
    times = []

    def burst():
        for number in range(200):
            drop(f"stall/sales/{number}.csv", "x")
            times.append(time.monotonic())

    burst_of_files = threading.Thread(target=burst)
    burst_of_files.start()
    requests = []
    while len(company.ledger.files("stall/sales", "loaded")) < 200 and len(requests) < 100:
        requests.append(company.tick())
        company.load()
    burst_of_files.join()
    # On a machine that is busy with something else the files come in several bursts.
    pauses = sum(after - before > 0.04 for before, after in itertools.pairwise(times))
    assert len(requests) <= 2 + pauses + (times[-1] - times[0]) / 0.5


def test_what_was_loaded_before_this_dagster_began_is_asked_for_once_with_all_below(company, drop):
    """As in the environment of a branch, whose ledger is production's, and on a machine that has lost its history."""
    drop("stall/sales/a.csv", "x")
    look(company.env, company.ledger, [company.dataset])
    company.load()
    assert set(company.tick().asset_selection) == {LAKE, RAW, REJECTS, MART}
    assert company.cursor


def test_what_could_not_be_extracted_is_asked_for_again_when_the_platform_starts_and_not_before(env, declare):
    company = Company(env, declare(), extracted=["stall/sales"])
    first = company.tick()
    assert LAKE in first.asset_selection
    assert company.tick() is None
    begun_again = lake_sensor(
        env, [company.dataset], *({"stall/sales": k} for k in (RAW, LAKE, REJECTS)), {"stall/sales"}, HOLD_S
    )
    company.sensor = begun_again
    again = company.tick()
    assert again.run_key != first.run_key
    assert LAKE in again.asset_selection


@pytest.mark.parametrize("tags", [{DATASETS_TAG: "stall/sales"}, {}], ids=["the sensor's run", "a run that a person started"])
def test_what_lands_while_a_run_loads_waits_for_its_end_and_no_longer(company, drop, tags):
    run = company.start(tags, LAKE, RAW, REJECTS)
    drop("stall/sales/a.csv", "x")
    ended = []

    def end():
        company.instance.report_run_failed(run)
        ended.append(time.monotonic())

    request, took_s = company.tick_while(end, after_s=0.5)
    assert request is not None
    assert ended
    assert took_s < HOLD_S / 5


def test_a_run_of_something_else_holds_up_nothing(company, drop):
    company.start({}, MART)
    drop("stall/sales/a.csv", "x")
    assert company.tick() is not None


def test_two_ticks_at_once_do_not_stand_in_each_others_way(company, drop):
    requests = []
    threads = [threading.Thread(target=lambda: requests.append(company.tick())) for _ in range(2)]
    for thread in threads:
        thread.start()
    drop("stall/sales/a.csv", "x")
    for thread in threads:
        thread.join(HOLD_S)
    assert [r.run_key for r in requests] == [requests[0].run_key] * 2
