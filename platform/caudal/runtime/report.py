"""Shows progress to a person: bars on a terminal, lines elsewhere, and at the end one line a stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from caudal.runtime.progress import StageProgress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

#: Where nobody watches a terminal, a stage is told again when this has passed, and when it becomes complete.
PLAIN_EVERY_S = 10.0
#: Stages whose assets are tables of their own; elsewhere an asset's row count is that of what it describes.
STAGES_WITH_ROWS = frozenset({"warehouse", "transform", "models", "serving"})
PLAIN_WIDTH = 132


def facts(stage: StageProgress, *, rows: bool = True) -> str:
    """What there is to say of a stage, in a few words: files, rows (unless told elsewhere), tests, what its models say."""
    said = []
    if stage.files:
        said.append(f"{stage.files:,} files seen")
        if stage.files_waiting:
            said.append(f"{stage.files_waiting:,} waiting")
        if stage.files_quarantined:
            said.append(f"{stage.files_quarantined:,} in quarantine")
    elif stage.assets:
        noun = "tables" if stage.stage in ("warehouse", "transform") else "assets"
        said.append(f"{stage.materialized} of {stage.assets} {noun}")
    if stage.rows and rows and stage.stage in STAGES_WITH_ROWS:
        said.append(f"{stage.rows:,} rows")
    if stage.stage == "warehouse" and stage.rows:
        said.append(f"{stage.rows_rejected:,} rejected")
    if stage.checks_passed or stage.checks_failed or stage.checks_warned:
        tests = f"{stage.checks_passed} checks passed"
        tests += f", {stage.checks_failed} failed" if stage.checks_failed else ""
        tests += f", {stage.checks_warned} warned" if stage.checks_warned else ""
        said.append(tests)
    said += stage.headlines
    return "; ".join(said)


class View(Protocol):
    """Shows progress as it comes. `close` before anything else is printed."""

    def update(self, stages: Sequence[StageProgress]) -> None: ...

    def close(self) -> None: ...


@dataclass
class Bars:
    """One progress bar a stage, for a terminal."""

    console: Console
    _progress: Progress | None = None
    _tasks: dict[str, TaskID] = field(default_factory=dict)

    def update(self, stages: Sequence[StageProgress]) -> None:
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        if self._progress is None:
            short = Column(no_wrap=True, overflow="ellipsis")
            columns = (
                TextColumn("{task.description:<9}"),
                BarColumn(24),
                TextColumn("{task.fields[facts]}", markup=False, table_column=short),
            )
            self._progress = Progress(*columns, console=self.console, auto_refresh=False)
            self._progress.start()
        for stage in stages:
            if stage.stage not in self._tasks:
                self._tasks[stage.stage] = self._progress.add_task(stage.stage, total=max(stage.total, 1), facts="")
            self._progress.update(self._tasks[stage.stage], completed=stage.done, total=max(stage.total, 1), facts=facts(stage))
        self._progress.refresh()

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()


@dataclass
class Lines:
    """A line when a stage has moved on, for logs."""

    console: Console
    clock: Callable[[], float] = time.monotonic
    _told: dict[str, tuple[float, str, bool]] = field(default_factory=dict)

    def update(self, stages: Sequence[StageProgress]) -> None:
        now = self.clock()
        for stage in stages:
            text = facts(stage)
            told_s, told, was_complete = self._told.get(stage.stage, (float("-inf"), "", False))
            complete = 0 < stage.done == stage.total
            due = now - told_s >= PLAIN_EVERY_S or complete > was_complete
            if text == told or not stage.done or not due:
                continue
            self._told[stage.stage] = (now, text, complete)
            self.console.print(f"{stage.stage:<9} {text}", highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is held open."""


def view_for(console: Console) -> View:
    """Bars on a terminal, lines elsewhere."""
    return Bars(console) if console.is_terminal else Lines(console)


def console() -> Console:
    """Standard output. Where it is no terminal, wide enough that a line of the summary is a line."""
    from rich.console import Console

    made = Console()
    return made if made.is_terminal else Console(width=PLAIN_WIDTH)


def summary(console: Console, stages: Sequence[StageProgress]) -> None:
    """Print one line a stage: what was done, rows, and the seconds that it took."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    for name in ("rows", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("")
    for stage in stages:
        count = f"{stage.rows:,}" if stage.rows and stage.stage in STAGES_WITH_ROWS else ""
        table.add_row(stage.stage, count, f"{stage.seconds:,.1f}", facts(stage, rows=False))
    console.print(table, highlight=False)
