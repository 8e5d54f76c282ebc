"""Budgets: what was billed and set aside is known to every step, and no two steps take the same dollar."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from caudal.warehouse.bigquery.budgets import Budget, Verdict
from caudal.warehouse.bigquery.component import Budgets
from caudal.warehouse.bigquery.spending import Spending, Spent, Total

DAY_S = 86_400
NOON_S = 1_700_049_600.0  # 2023-11-15 12:00 UTC


class Clock:
    def __init__(self) -> None:
        self.now_s = NOON_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spending(tmp_path: Path, clock: Clock) -> Spending:
    return Spending(tmp_path / "state" / "spending.db", clock)


def spent(job: str, usd: float, group: str = "sales") -> Spent:
    return Spent(job, group, "marts/sales/daily", round(usd / 6.25 * 2**40), usd)


def test_a_job_is_counted_once_however_often_it_is_told(spending):
    spending.count("run", [spent("a", 1.25), spent("b", 0.5)])
    spending.count("retry", [spent("a", 1.25)])
    assert spending.billed_today_usd("sales") == 1.75
    assert spending.totals() == {"sales": Total(round(1.75 / 6.25 * 2**40), 1.75, 2)}


def test_what_others_have_set_aside_is_no_longer_to_be_had(spending):
    budgets = {"sales": Budget(usd_per_day=5)}
    first = spending.reserve("one", {"sales": 3.0, "web": 9.0}, budgets)
    assert not first.refused
    (refused,) = spending.reserve("two", {"sales": 2.5}, budgets).refused
    assert (refused.reserved_usd, refused.estimated_usd) == (3.0, 2.5)
    assert "3.00 USD set aside by other steps" in refused.sentence()

    spending.settle(first, [spent("a", 1.0)])  # it was billed for less than was feared
    assert not spending.reserve("two", {"sales": 2.5}, budgets).refused


def test_a_step_that_died_counts_with_its_estimate_until_the_day_ends(spending, clock):
    budgets = {"sales": Budget(usd_per_day=5)}
    spending.reserve("killed", {"sales": 4.0}, budgets)
    assert spending.reserve("next", {"sales": 2.0}, budgets).refused
    clock.now_s += DAY_S
    assert not spending.reserve("next", {"sales": 2.0}, budgets).refused


def test_what_was_billed_yesterday_is_not_of_todays_budget_and_stays_in_the_total(spending, clock):
    spending.count("run", [spent("a", 4.9)])
    clock.now_s += DAY_S
    assert spending.billed_today_usd("sales") == 0.0
    assert not spending.reserve("run", {"sales": 4.9}, {"sales": Budget(usd_per_day=5)}).refused
    clock.now_s += 200 * DAY_S
    spending.reserve("run", {}, {})
    assert spending.totals()["sales"].usd == 4.9


def test_a_run_has_a_budget_of_its_own_over_all_its_steps(spending):
    budgets = {"sales": Budget(usd_per_run=1)}
    step = spending.reserve("run", {"sales": 0.6}, budgets)
    spending.settle(step, [spent("a", 0.7)])
    (refused,) = spending.reserve("run", {"sales": 0.4}, budgets).refused
    assert "A run may spend 1.00 USD, of which the run has spent 0.70 USD" in refused.sentence()
    assert "raise `usd_per_run` of `sales`" in refused.sentence()
    assert not spending.reserve("another run", {"sales": 0.4}, budgets).refused


def test_one_group_over_its_budget_sets_nothing_aside_for_any(spending):
    budgets = {"sales": Budget(usd_per_day=1), "web": Budget(usd_per_day=1)}
    both = spending.reserve("run", {"sales": 0.9, "web": 1.1}, budgets)
    assert [verdict.group for verdict in both.refused] == ["web"]
    assert not spending.reserve("run", {"sales": 1.0}, budgets).refused


def test_a_run_that_ignores_its_budget_goes_ahead_and_says_so(spending):
    reserved = spending.reserve("run", {"sales": 7.0}, {"sales": Budget(usd_per_day=1)}, ignored_by="ann")
    assert not reserved.refused
    (verdict,) = reserved.verdicts
    assert not verdict.fits
    assert "ann lets it go ahead by the run's tag caudal/budget: ignore" in verdict.sentence()


def test_what_fits_exactly_fits():
    assert Verdict("sales", Budget(usd_per_day=0.3), 0.1, billed_today_usd=0.1, reserved_usd=0.1).fits


def test_waiting_is_advised_only_where_it_helps():
    budget = Budget(usd_per_day=1)
    assert "wait until 00:00 UTC" in Verdict("sales", budget, 0.9, billed_today_usd=0.2).sentence()
    assert "wait" not in Verdict("sales", budget, 1.1).sentence()


@pytest.mark.parametrize("kill", [False, True])
def test_of_many_processes_at_once_only_as_many_start_as_the_budget_pays_for(tmp_path, kill):
    path = tmp_path / "spending.db"
    program = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from caudal.warehouse.bigquery.budgets import Budget
        from caudal.warehouse.bigquery.spending import Spending, Spent
        spending = Spending(Path(sys.argv[1]))
        print("ready", flush=True)
        sys.stdin.readline()
        reserved = spending.reserve(sys.argv[2], {"sales": 1.0}, {"sales": Budget(usd_per_day=3)})
        print("no" if reserved.refused else "yes", flush=True)
        if not reserved.refused and sys.argv[3] == "True":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.stdin.readline()
        if not reserved.refused:
            spending.settle(reserved, [Spent(sys.argv[2], "sales", "marts/x", 1, 1.0)])
    """)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), f"run{n}", str(kill)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(6)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [process.stdout.readline().strip() for process in processes]
        assert sorted(answers) == ["no"] * 3 + ["yes"] * 3
        for process in processes:
            process.communicate(timeout=30)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert Spending(path).reserve("late", {"sales": 0.1}, {"sales": Budget(usd_per_day=3)}).refused


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"usd_per_week": 3}, "`usd_per_week` is not known"),
        ({}, "it has no limit"),
        ({"usd_per_day": -1}, "usd_per_day is -1; expected US dollars, 0 or more"),
        ({"usd_per_run": "a lot"}, "usd_per_run is 'a lot'"),
    ],
)
def test_a_budget_that_is_not_understood_is_refused_with_its_line(said, why):
    with pytest.raises(ValueError, match="group `sales`") as refused:
        Budgets(budgets={"sales": said}).read()
    assert why in str(refused.value)


def test_budgets_are_read_from_yaml():
    read = Budgets(budgets={"sales": {"usd_per_day": 5, "usd_per_run": 1}, "web": {"usd_per_run": 0}}).read()
    assert read == {"sales": Budget(5.0, 1.0), "web": Budget(None, 0.0)}
