"""When a dataset's quarantine has grown by more than was declared."""

from __future__ import annotations

from dataclasses import dataclass, replace

from caudal.runtime.alerts.facts import Problem, Quarantined
from caudal.runtime.alerts.settings import Growth


@dataclass(frozen=True)
class Baseline:
    """What growth is measured from.

    Attributes:
        rows, files, rows_read: as they were at `taken_s`; fewer, where there were fewer since.
        last_rows, last_files: at the last look.
        grown_s: when the last look was that saw more than the one before.
    """

    rows: int
    files: int
    rows_read: int
    taken_s: float
    last_rows: int
    last_files: int
    grown_s: float

    @classmethod
    def of(cls, seen: Quarantined, now_s: float) -> Baseline:
        """Growth is measured from what is seen now."""
        return cls(seen.rows, seen.files, seen.rows_read, now_s, seen.rows, seen.files, now_s)

    @classmethod
    def empty(cls, now_s: float) -> Baseline:
        return cls(0, 0, 0, now_s, 0, 0, now_s)


def judged(
    before: Baseline, seen: Quarantined, growth: Growth, window_s: float, now_s: float
) -> tuple[Baseline, Problem | None]:
    """What to measure from at the next look, and the growth that is worth telling now.

    Emptied: a quarantine that shrinks takes its baseline with it. Stopped: what has not grown for a window is the new normal.
    """
    grown = seen.rows > before.last_rows or seen.files > before.last_files
    grown_s = now_s if grown else before.grown_s
    after = replace(before, last_rows=seen.rows, last_files=seen.files, grown_s=grown_s)
    after = replace(after, rows=min(after.rows, seen.rows), files=min(after.files, seen.files))
    after = replace(after, rows_read=min(after.rows_read, seen.rows_read))
    rows, files, read = seen.rows - after.rows, seen.files - after.files, seen.rows_read - after.rows_read
    share = rows / read if rows and read > 0 else float(rows > 0)
    too_much = (
        (growth.rows is not None and rows > growth.rows)
        or (growth.files is not None and files > growth.files)
        or (growth.share is not None and rows > 0 and share > growth.share)
    )
    since_s = grown_s if too_much else after.taken_s
    if now_s - since_s >= window_s:
        return Baseline.of(seen, now_s), None
    if not too_much:
        return after, None
    found = [f"{rows:,} more rejected rows ({share:.1%} of those read)"] if rows else []
    found += [f"{files:,} more files that could not be read"] if files else []
    problem = Problem(
        "quarantine",
        seen.dataset,
        " and ".join(found),
        seen.owners,
        seen.link,
        occurrence=f"{seen.rows}/{seen.files}",
        at_s=grown_s,
        cause="grew",
    )
    return after, problem
