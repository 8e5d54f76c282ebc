"""Running pairs of sides in turns, and what came of it as a Markdown table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

CHILD = Path(__file__).parent / "child.py"

#: A side that takes longer hangs.
TIME_LIMIT_S = 1800


@dataclass(frozen=True)
class Options:
    """How benchmarks are run.

    Attributes:
        cache: the folder for data and for peers' environments.
        repeats: pairs of each comparison.
        scale: of the data: 1 is what the goals are about; less, while developing.

    """

    cache: Path
    repeats: int = 5
    scale: float = 1.0


class Side:
    """What is measured: `module:function` and its arguments (as JSON has them), perhaps on the interpreter of a peer."""

    def __init__(self, function: str, *arguments: object, python: str | None = None) -> None:
        self._command = [python or sys.executable, str(CHILD), function, json.dumps(arguments)]

    def measure(self) -> Measured:
        done = subprocess.run(self._command, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False)
        if done.returncode:
            raise RuntimeError(f"{self._command[2]} {self._command[3]} failed:\n{done.stdout}\n{done.stderr}")
        return Measured(**json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Measured:
    seconds: float
    cpu_s: float
    peak_mib: float


@dataclass(frozen=True)
class Comparison:
    """Two sides.

    Attributes:
        name: what both do.
        ours, against: the sides.
        against_name: what the other side is called in the table.
        at_most: the goal for the ratio of the times, ours to the other; None for none. 20 times faster is `1 / 20`.
        memory_mib: the goal for our peak memory.

    """

    name: str
    ours: Side
    against: Side
    against_name: str
    at_most: float | None = None
    memory_mib: float | None = None


@dataclass(frozen=True)
class Result:
    """The pairs of one comparison."""

    comparison: Comparison
    ours: list[Measured]
    against: list[Measured]

    @property
    def ratio(self) -> float:
        """The median over the pairs of our time to the other."""
        return median(a.seconds / b.seconds for a, b in zip(self.ours, self.against, strict=True))

    @property
    def reached(self) -> bool:
        goal = self.comparison
        slow = goal.at_most is not None and self.ratio > goal.at_most
        large = goal.memory_mib is not None and median(m.peak_mib for m in self.ours) > goal.memory_mib
        return not slow and not large


def run(comparisons: Iterable[Comparison], options: Options, told: Callable[[str], None] = print) -> list[Result]:
    """Measure each comparison: both sides in turns, `options.repeats` times; which is first changes."""
    results = []
    for comparison in comparisons:
        pairs: tuple[list[Measured], list[Measured]] = ([], [])
        sides = list(zip(pairs, (comparison.ours, comparison.against), strict=True))
        for turn in range(options.repeats):
            for measured, side in sides if turn % 2 == 0 else reversed(sides):
                measured.append(side.measure())
        results.append(Result(comparison, *pairs))
        told(_line(results[-1]))
    return results


HEADER = (
    "| | ours | against | | ratio | goal | | CPU s | peak MiB |\n"
    "|---|---:|---:|---|---:|---:|---|---:|---:|"
)  # fmt: skip


def report(title: str, results: Iterable[Result], options: Options) -> str:
    """The table as a page."""
    body = "\n".join([HEADER, *map(_line, results)])
    return f"# {title}\n\n{_circumstances(options)}\n\n{body}\n"


def _line(result: Result) -> str:
    ours, other, goal = result.ours, result.against, result.comparison
    limits = [_times(goal.at_most)] if goal.at_most is not None else []
    limits += [f"{goal.memory_mib:g} MiB"] if goal.memory_mib is not None else []
    verdict = ("reached" if result.reached else "**missed**") if limits else ""
    both = [f"{median(m.cpu_s for m in side):.2f}" for side in (ours, other)]
    peaks = [f"{median(m.peak_mib for m in side):.0f}" for side in (ours, other)]
    return (
        f"| {goal.name} | {_time(ours)} | {_time(other)} | {goal.against_name} | {_times(result.ratio)} | {', '.join(limits)} "
        f"| {verdict} | {' : '.join(both)} | {' : '.join(peaks)} |"
    )


def _time(measured: list[Measured]) -> str:
    seconds = median(m.seconds for m in measured)
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio > 0.1 else f"{ratio:.2g}x (1/{1 / ratio:.0f})"


def _circumstances(options: Options) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    packages = ", ".join(f"{name} {_version(name)}" for name in ("duckdb", "pyarrow", "deltalake"))
    scaled = "" if options.scale == 1 else f" Data of {options.scale:g} times the size that the goals are about."
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {memory} GiB, Python {sys.version.split()[0]}, {packages}. "
        f"Medians of {options.repeats} pairs, the sides in turns, each in a process of its own; the ratio is the median of the "
        f"pairs' ratios; CPU and memory are ours : against.{scaled}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
