"""How far the platform has come, and whether it is done: values from values."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from caudal.runtime.progress import (
    AssetSeen,
    CheckSeen,
    FailedRun,
    FilesSeen,
    Judgement,
    Observation,
    StageProgress,
    State,
    covered,
    judge,
    progress,
    stage_of,
)
from caudal.runtime.report import Bars, Lines, facts, summary, view_for

SALES = ("marts", "sales", "daily_sales")
RAW = ("raw", "pos", "transactions")
FORECAST = ("evaluation", "sales", "forecast")

DONE = Observation(
    assets=(
        AssetSeen(("lake", "product_db", "products"), at_s=90.0),
        AssetSeen(RAW, at_s=100.0, rows=999),
        AssetSeen(("staging", "pos", "transactions"), at_s=110.0),
        AssetSeen(SALES, at_s=111.0, rows=14_000),
        AssetSeen(FORECAST, at_s=120.0, headline="error 0.11, baseline 0.15"),
    ),
    checks=(CheckSeen(SALES, "unique", passed=True), CheckSeen(FORECAST, "gate", passed=False, error=False)),
    files=(
        FilesSeen("pos/transactions", {"loaded": 363, "quarantined": 1, "deleted": 5}, rows_loaded=1_469_307, rows_rejected=12),
        FilesSeen("product_db/products", {"loaded": 1}, rows_loaded=92_331),
    ),
    looked_since_change=True,
    steps=(("warehouse", 0.0, 10.0), ("warehouse", 5.0, 12.0), ("transform", 12.0, 14.5)),
)


def stage(seen: Observation, name: str) -> StageProgress:
    return next(each for each in progress(seen) if each.stage == name)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (("lake", "pos", "transactions"), "lake"),
        (("raw", "pos", "transactions"), "warehouse"),
        (("profile", "sales", "daily_sales"), "explore"),
        (("predictions", "sales", "forecast"), "models"),
        (("online", "sales", "forecast"), "serving"),
        (("somebody's", "own"), "transform"),
    ],
)
def test_the_first_word_of_a_key_is_its_stage(key: tuple[str, ...], expected: str) -> None:
    assert stage_of(key) == expected


def test_stages_come_in_the_order_of_the_life_cycle_and_only_if_there_is_something_in_them() -> None:
    assert [each.stage for each in progress(DONE)] == ["lake", "warehouse", "transform", "models"]


def test_the_lake_is_there_once_it_has_files_even_if_nothing_extracts_them() -> None:
    assert [each.stage for each in progress(Observation(files=DONE.files))] == ["lake"]


def test_a_stage_counts_its_assets_files_rows_checks_and_seconds() -> None:
    assert stage(DONE, "lake") == StageProgress("lake", assets=1, materialized=1, files=365, files_quarantined=1)
    assert stage(DONE, "warehouse") == StageProgress(
        "warehouse", assets=1, materialized=1, rows=1_561_638, rows_rejected=12, seconds=12.0
    )
    assert stage(DONE, "transform") == StageProgress(
        "transform", assets=2, materialized=2, rows=14_000, checks_passed=1, seconds=2.5
    )
    assert stage(DONE, "models") == StageProgress(
        "models", assets=1, materialized=1, checks_warned=1, headlines=("error 0.11, baseline 0.15",)
    )


def test_seconds_of_steps_side_by_side_are_not_counted_twice() -> None:
    assert covered([(0, 10), (2, 3), (9, 12), (20, 21)]) == 13


def test_what_is_said_of_a_stage() -> None:
    assert facts(stage(DONE, "lake")) == "365 files seen; 1 in quarantine"
    assert facts(stage(DONE, "warehouse")) == "1 of 1 tables; 1,561,638 rows; 12 rejected"
    assert facts(stage(DONE, "transform")) == "2 of 2 tables; 14,000 rows; 1 checks passed"
    assert facts(stage(DONE, "transform"), rows=False) == "2 of 2 tables; 1 checks passed"
    assert facts(stage(DONE, "models")) == "1 of 1 assets; 0 checks passed, 1 warned; error 0.11, baseline 0.15"
    assert facts(StageProgress("lake", 0, 0, files=9, files_waiting=4)) == "9 files seen; 4 waiting"


def test_all_is_well_when_everything_is_there_and_a_failed_check_only_warns() -> None:
    assert judge(DONE) == Judgement(State.COMPLETE)


@pytest.mark.parametrize("change", [{"runs_in_progress": 1}, {"looked_since_change": False}])
def test_work_goes_on_while_runs_do_or_a_sensor_has_not_looked(change: dict[str, object]) -> None:
    assert judge(replace(DONE, **change)).state is State.WORKING  # type: ignore[arg-type]


def test_a_failed_run_is_told_with_its_step_and_cause_until_something_makes_up_for_it() -> None:
    failed = FailedRun("run-1", 105.0, (("daily_sales", "division by zero"),), frozenset({SALES}))
    never_made = replace(
        DONE,
        assets=tuple(replace(asset, at_s=None) if asset.key == SALES else asset for asset in DONE.assets),
        failed_runs=(failed,),
    )
    assert judge(never_made) == Judgement(State.FAILED, (("daily_sales failed: division by zero", "run-1"),))
    assert judge(replace(DONE, failed_runs=(failed,))).state is State.COMPLETE
    later = replace(failed, ended_s=200.0)
    assert judge(replace(DONE, failed_runs=(later,))).state is State.FAILED


def test_of_runs_that_failed_alike_only_the_newest_is_told() -> None:
    first = FailedRun("first", 200.0, (("daily_sales", "division by zero"),), frozenset({SALES}))
    again = replace(first, run_id="again", ended_s=210.0)
    assert judge(replace(DONE, failed_runs=(first, again))).problems == (("daily_sales failed: division by zero", "again"),)


def test_everything_that_is_wrong_is_told() -> None:
    wrong = Observation(
        assets=(AssetSeen(RAW), AssetSeen(SALES, at_s=1.0)),
        checks=(CheckSeen(SALES, "unique", passed=False, run_id="run-2"), CheckSeen(SALES, "not_null")),
        files=(FilesSeen("pos/transactions", {"pending": 2, "loading": 1}),),
        looked_since_change=True,
        failing_sensors={"lake": "permission denied"},
    )
    assert judge(wrong).problems == (
        ("sensor lake failed: permission denied", None),
        ("marts/sales/daily_sales: check unique failed", "run-2"),
        ("pos/transactions: 3 lake files were not loaded", None),
        ("never materialized: raw/pos/transactions", None),
    )


def test_lines_are_told_when_something_is_new_not_too_often_and_always_at_the_end() -> None:
    now_s, written = [0.0], io.StringIO()
    view = Lines(Console(file=written, width=100), clock=lambda: now_s[0])
    steps = [(0, 0), (0, 1), (1, 2), (1, 3), (11, 4), (12, 9), (20, 9)]
    for at_s, materialized in steps:
        now_s[0] = at_s
        view.update([StageProgress("transform", assets=9, materialized=materialized)])
    assert [line.split(maxsplit=1)[1] for line in written.getvalue().splitlines()] == [
        "1 of 9 tables",
        "4 of 9 tables",
        "9 of 9 tables",
    ]


def test_a_terminal_gets_a_bar_a_stage_and_anything_else_gets_lines() -> None:
    written = io.StringIO()
    view = view_for(Console(file=written, force_terminal=True, width=100))
    assert isinstance(view, Bars)
    view.update(progress(replace(DONE, assets=DONE.assets[:2])))
    view.update(progress(DONE))
    view.close()
    assert "365 files seen" in written.getvalue()
    assert "error 0.11, baseline 0.15" in written.getvalue()
    assert isinstance(view_for(Console(file=io.StringIO())), Lines)


def test_the_summary_is_one_line_a_stage_with_rows_and_seconds() -> None:
    written = io.StringIO()
    summary(Console(file=written, width=120), progress(DONE))
    lines = [" ".join(line.split()) for line in written.getvalue().splitlines()]
    assert lines == [
        "stage rows seconds",
        "lake 0.0 365 files seen; 1 in quarantine",
        "warehouse 1,561,638 12.0 1 of 1 tables; 12 rejected",
        "transform 14,000 2.5 2 of 2 tables; 1 checks passed",
        "models 0.0 1 of 1 assets; 0 checks passed, 1 warned; error 0.11, baseline 0.15",
    ]
