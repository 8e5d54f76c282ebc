"""How far the platform has come: values computed from what was observed, and the judgement whether it is done.

Pure: `observation` does the looking, `report` the showing. A stage's progress is that of the assets whose keys begin with
one of the stage's words, of the checks on them and, for lake and warehouse, of the files in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

STAGES = ("sources", "lake", "warehouse", "transform", "explore", "models", "serving")

_STAGE_OF = {
    "source": "sources",
    "sources": "sources",
    "lake": "lake",
    "raw": "warehouse",
    "quarantine": "warehouse",
    "upkeep": "warehouse",
    "staging": "transform",
    "intermediate": "transform",
    "marts": "transform",
    "profile": "explore",
    "notebook": "explore",
    "explore": "explore",
    "evaluation": "models",
    "model": "models",
    "predictions": "models",
    "online": "serving",
}


def stage_of(key: tuple[str, ...]) -> str:
    """The stage of an asset, from the first word of its key. Words that mean no stage are processing."""
    return _STAGE_OF.get(key[0], "transform")


@dataclass(frozen=True)
class AssetSeen:
    """One asset.

    Attributes:
        key: the parts of its key.
        at_s: when it was last materialized, in seconds since the epoch, or None if it never was.
        rows: the rows that it then had, if it told.
        headline: how it sums itself up in a sentence, such as a model's error beside its baseline's.
    """

    key: tuple[str, ...]
    at_s: float | None = None
    rows: int | None = None
    headline: str | None = None

    @property
    def name(self) -> str:
        return "/".join(self.key)


@dataclass(frozen=True)
class CheckSeen:
    """The newest result of one check: `passed` is None until it has been executed. Only `error` ones must pass."""

    asset: tuple[str, ...]
    name: str
    passed: bool | None = None
    error: bool = True
    run_id: str | None = None


@dataclass(frozen=True)
class FilesSeen:
    """The ledger's account of one dataset: files by state, and the rows of those that are loaded."""

    dataset: str
    states: Mapping[str, int] = field(default_factory=dict)
    rows_loaded: int = 0
    rows_rejected: int = 0

    @property
    def known(self) -> int:
        return sum(count for state, count in self.states.items() if state != "deleted")

    @property
    def waiting(self) -> int:
        return self.states.get("pending", 0) + self.states.get("loading", 0)

    @property
    def quarantined(self) -> int:
        return self.states.get("quarantined", 0)


@dataclass(frozen=True)
class FailedRun:
    """A run that failed: when it ended, which steps failed and why, and the assets that it should have made and did not."""

    run_id: str
    ended_s: float
    causes: tuple[tuple[str, str], ...]
    unmade: frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Observation:
    """Everything seen at one moment.

    Attributes:
        runs_in_progress: runs and backfills that are queued, starting or going on.
        looked_since_change: whether every sensor has looked since anything last changed, and asked for nothing.
        failing_sensors: sensors whose newest tick failed, with the error.
        steps: (stage, start, end) of the steps executed since the platform was started, in seconds since the epoch.
    """

    assets: tuple[AssetSeen, ...] = ()
    checks: tuple[CheckSeen, ...] = ()
    files: tuple[FilesSeen, ...] = ()
    failed_runs: tuple[FailedRun, ...] = ()
    runs_in_progress: int = 0
    looked_since_change: bool = False
    failing_sensors: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True)
class StageProgress:
    """One stage at one moment. `rows` are those of its newest materializations; `seconds` the time it was worked on."""

    stage: str
    assets: int
    materialized: int
    files: int = 0
    files_waiting: int = 0
    files_quarantined: int = 0
    rows: int = 0
    rows_rejected: int = 0
    checks_passed: int = 0
    checks_failed: int = 0
    checks_warned: int = 0
    seconds: float = 0.0
    headlines: tuple[str, ...] = ()

    @property
    def done(self) -> int:
        """Units of work done, of `total`: files where the stage is about files, assets otherwise."""
        return self.files - self.files_waiting if self.files else self.materialized

    @property
    def total(self) -> int:
        return self.files or self.assets


class State(Enum):
    """Whether there is anything left to wait for."""

    WORKING = "working"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class Judgement:
    """The state, and for a failure each thing that is wrong with the id of the run to look at, if there is one."""

    state: State
    problems: tuple[tuple[str, str | None], ...] = ()


def progress(seen: Observation) -> tuple[StageProgress, ...]:
    """The progress of each stage that has an asset to materialize, or files, in the order of the life cycle."""
    present = {stage_of(asset.key) for asset in seen.assets} | ({"lake"} if seen.files else set())
    return tuple(_stage(stage, seen) for stage in STAGES if stage in present)


def _stage(stage: str, seen: Observation) -> StageProgress:
    assets = [asset for asset in seen.assets if stage_of(asset.key) == stage]
    results = [check for check in seen.checks if stage_of(check.asset) == stage]
    in_lake, in_warehouse = stage == "lake", stage == "warehouse"
    rows = sum(asset.rows or 0 for asset in assets)
    if in_warehouse and seen.files:
        rows = sum(each.rows_loaded for each in seen.files)
    return StageProgress(
        stage,
        assets=len(assets),
        materialized=sum(asset.at_s is not None for asset in assets),
        files=sum(each.known for each in seen.files) if in_lake else 0,
        files_waiting=sum(each.waiting for each in seen.files) if in_lake else 0,
        files_quarantined=sum(each.quarantined for each in seen.files) if in_lake else 0,
        rows=0 if in_lake else rows,
        rows_rejected=sum(each.rows_rejected for each in seen.files) if in_warehouse else 0,
        checks_passed=sum(check.passed is True for check in results),
        checks_failed=sum(check.passed is False and check.error for check in results),
        checks_warned=sum(check.passed is False and not check.error for check in results),
        seconds=covered((start, end) for of, start, end in seen.steps if of == stage),
        headlines=tuple(dict.fromkeys(asset.headline for asset in assets if asset.headline)),
    )


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of the union of intervals, so that steps side by side are not counted twice."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def judge(seen: Observation) -> Judgement:
    """Whether work goes on, all is well, or something failed and nobody is going to try it again."""
    if seen.runs_in_progress or not seen.looked_since_change:
        return Judgement(State.WORKING)
    problems = [
        *_failed_runs(seen),
        *((f"sensor {name} failed: {why}", None) for name, why in seen.failing_sensors.items()),
        *(
            (f"{'/'.join(check.asset)}: check {check.name} failed", check.run_id)
            for check in seen.checks
            if check.passed is False and check.error
        ),
        *((f"{each.dataset}: {each.waiting} lake files were not loaded", None) for each in seen.files if each.waiting),
    ]
    explained = {key for run in seen.failed_runs for key in run.unmade}
    missing = [asset.name for asset in seen.assets if asset.at_s is None and asset.key not in explained]
    if missing:
        problems.append((f"never materialized: {', '.join(missing)}", None))
    return Judgement(State.FAILED, tuple(problems)) if problems else Judgement(State.COMPLETE)


def _failed_runs(seen: Observation) -> Iterable[tuple[str, str]]:
    """Failed runs that nothing has made up for since. Of several that failed alike, the newest."""
    made_at = {asset.key: asset.at_s for asset in seen.assets}
    told: set[tuple[tuple[str, str], ...]] = set()
    for run in sorted(seen.failed_runs, key=lambda run: -run.ended_s):
        if run.causes in told or not any((made_at.get(key) or 0.0) < run.ended_s for key in run.unmade):
            continue
        told.add(run.causes)
        for step, why in run.causes or (("the run", "it ended without telling why"),):
            yield f"{step} failed: {why}", run.run_id
