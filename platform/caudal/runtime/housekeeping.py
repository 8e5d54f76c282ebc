"""Forgetting old runs, events and ticks on a schedule: an asset that says what went, and the settings of a company."""

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from caudal.runtime.company import declared_once, on_schedule

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.runtime.history import Ages, Forgotten, History

_MB = 1024**2
_DAY_S = 86400
_RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

#: What a step may take; the rest is for the next day.
_LONGEST_S = 600.0


class Housekeeping(dg.Component, dg.Model, dg.Resolvable):
    """How long the history of runs is kept. Once a company, or not at all.

    A run that holds the newest materialization of an asset or partition, or the newest result of a check, is kept in any case;
    only what it logged and printed goes.

    Attributes:
        schedule: a cron expression in UTC.
        success_days: how long runs that succeeded are kept, with their events.
        failure_days: how long runs that failed are kept.
        canceled_days: how long runs that were canceled are kept.
        printed_days: how long what a run printed (stdout and stderr of its steps) is kept.
        tick_days: how long ticks of schedules and sensors are kept. The newest of each is kept in any case.
        other_days: how long runs of other code locations are kept. They have housekeeping of their own, unless they are gone.
        owners: such as `team:data-platform`.

    """

    schedule: str = "40 4 * * *"
    success_days: float = 30
    failure_days: float = 90
    canceled_days: float = 30
    printed_days: float = 14
    tick_days: float = 90
    other_days: float = 400
    owners: Sequence[str] = ("team:data-platform",)

    @property
    def ages(self) -> "Ages":
        """The same for the history.

        Raises:
            ValueError: a number is out of range.

        """
        from caudal.runtime.history import Ages

        for name in ("success", "failure", "canceled", "printed", "tick", "other"):
            days = getattr(self, f"{name}_days")
            if days < 1:
                raise ValueError(f"{name}_days is {days}; expected at least 1: what is of today is looked at")
        return Ages(
            self.success_days, self.failure_days, self.canceled_days, self.printed_days, self.tick_days, self.other_days
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """The asset is made where the company is known."""
        return dg.Definitions()


def declared_housekeeping(tree: dg.ComponentTree) -> Housekeeping:
    """What the company declares, or the defaults.

    Raises:
        ValueError: it declares that twice.

    """
    return declared_once(tree, Housekeeping, "there is one history") or Housekeeping()


def housekeeping_definitions(env: "Environment", housekeeping: Housekeeping) -> dg.Definitions:
    """The asset `upkeep/<company>/history`, a job for it and its schedule. Nothing else asks for it."""
    key = dg.AssetKey(["upkeep", env.company, "history"])
    spec = dg.AssetSpec(
        key,
        description=(
            "Runs, events, ticks and printed output without what is old. Runs that succeeded are kept for "
            f"{housekeeping.success_days:g} days, those that failed for {housekeeping.failure_days:g}, "
            "and in any case what holds the newest materialization of an asset or partition."
        ),
        group_name="upkeep",
        kinds={"dagster"},
        owners=list(housekeeping.owners),
        tags={"domain": "upkeep"},
    )

    @dg.multi_asset(name=f"history_{env.company}", specs=[spec])
    def history(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        swept = sweep(context.instance, env, housekeeping, log=context.log.info)
        return dg.MaterializeResult(key, metadata=swept.metadata())

    return on_schedule("history", history, housekeeping.schedule, "Retention of runs, events, ticks and printed output.")


@dataclass(frozen=True)
class Swept:
    """What went.

    Attributes:
        rows: of the database.
        printed_bytes: of files of what steps printed.
        database_bytes: by which the database's files are smaller.
        leftovers: files and folders of work that was cut off.

    """

    rows: "Forgotten"
    printed_bytes: int
    database_bytes: int
    leftovers: int
    seconds: float

    def metadata(self) -> dict[str, dg.MetadataValue]:
        """For the asset's page."""
        rows = self.rows
        counts = {
            "runs removed": rows.runs,
            "runs trimmed": rows.trimmed_runs,
            "old runs kept because they are needed": rows.kept_runs,
            "events removed": rows.events,
            "check results removed": rows.check_results,
            "ticks removed": rows.ticks,
            "evaluations removed": rows.evaluations,
            "leftovers removed": self.leftovers,
        }
        return {
            **{name: dg.MetadataValue.int(count) for name, count in counts.items()},
            "MB of printed output removed": dg.MetadataValue.float(round(self.printed_bytes / _MB, 2)),
            "MB by which the database shrank": dg.MetadataValue.float(round(self.database_bytes / _MB, 2)),
            "all of it": dg.MetadataValue.bool(rows.complete),
            "seconds": dg.MetadataValue.float(round(self.seconds, 2)),
        }


def sweep(
    instance: dg.DagsterInstance,
    env: "Environment",
    housekeeping: Housekeeping,
    *,
    log: Callable[[str], None] = lambda _: None,
    now_s: float | None = None,
    longest_s: float = _LONGEST_S,
) -> Swept:
    """Forget what is old enough, now.

    Raises:
        ValueError: the settings are out of range.
        TypeError: the instance has no SQL storage.

    """
    from caudal.runtime.history import History

    started_s = time.monotonic()
    until = lambda: time.monotonic() - started_s > longest_s  # noqa: E731
    now_s = time.time() if now_s is None else now_s
    history = History(instance, now_s, until)
    rows = history.forget(env.company, housekeeping.ages, log)
    log(f"{rows.runs} runs, {rows.events} events, {rows.ticks} ticks removed; {rows.kept_runs} old runs are needed and kept")
    printed = _printed(instance)
    printed_bytes = sum(_remove(folder) for folder in _of_runs(printed, rows.printed))
    printed_bytes += sum(_remove(folder) for folder in _orphaned(printed, history, now_s))
    leftovers = sum(bool(_remove(path) or True) for path in _leftovers(Path(instance.root_directory), now_s))
    shrunk = sum(
        _shrink(storage, until) for storage in (instance.event_log_storage, instance.run_storage, instance.schedule_storage)
    )
    return Swept(rows, printed_bytes, shrunk, leftovers, time.monotonic() - started_s)


def _printed(instance: dg.DagsterInstance) -> Path | None:
    """The folder of what steps printed, one folder a run; None if that is not on this machine."""
    from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

    kept = instance.compute_log_manager
    return Path(kept._base_dir) if isinstance(kept, LocalComputeLogManager) else None  # noqa: SLF001


def _of_runs(printed: Path | None, run_ids: Iterable[str]) -> Iterator[Path]:
    # Only this folder of the run's: what an I/O manager wrote beside it may be an asset's data.
    return (printed / run_id / "compute_logs" for run_id in run_ids) if printed else iter(())


def _orphaned(printed: Path | None, history: "History", now_s: float) -> Iterator[Path]:
    """What runs printed that are gone. A run that begins has its row before its folder, and a day's grace."""
    if printed is None or not printed.is_dir():
        return iter(())
    found = [path for path in printed.iterdir() if _RUN_ID.fullmatch(path.name) and path.stat().st_mtime < now_s - _DAY_S]
    existing = history.existing_runs(path.name for path in found)
    return _of_runs(printed, (path.name for path in found if path.name not in existing))


def _leftovers(home: Path, now_s: float) -> Iterator[Path]:
    """What killed processes left below Dagster's home: half-made databases, and claims of runs that were never made."""
    patterns = ("database/.*", "warm/runs/.*")
    for path in (path for pattern in patterns for path in home.glob(pattern)):
        if path.lstat().st_mtime < now_s - _DAY_S:
            yield path


def _remove(path: Path) -> int:
    """Remove a file or folder, and the folder above it if it is a run's that is empty now; the bytes that it had."""
    if path.is_dir() and not path.is_symlink():
        size = sum(each.lstat().st_size for each in path.rglob("*") if each.is_file())
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        size = path.lstat().st_size
        path.unlink(missing_ok=True)
    else:
        size = 0
    if _RUN_ID.fullmatch(path.parent.name) and path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()
    return size


def _shrink(storage: object, until: Callable[[], bool]) -> int:
    """Of our own storage only: PostgreSQL tidies up by itself."""
    from caudal.runtime.storage.stored import Stored

    return storage.database.shrink(until) if isinstance(storage, Stored) else 0
