"""What was billed, by asset group and day, from what each job said of itself; and what steps that go on have set aside.

One SQLite file in `env.state`. A step sets its estimate aside in the transaction that looks whether the budget allows it, so
that two steps at once cannot both take the rest, and puts in its place what its jobs were billed for. A step that died told
nobody what its jobs cost: its estimate counts until the day ends. A job is counted once, by its id.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store.sqlite import reading, transaction
from caudal.warehouse.bigquery.budgets import Budget, Verdict

if TYPE_CHECKING:
    import sqlite3

    from caudal.environment import Environment

_TABLES = """
CREATE TABLE IF NOT EXISTS job (id TEXT PRIMARY KEY, day TEXT NOT NULL, asset_group TEXT NOT NULL, asset TEXT NOT NULL,
    run_id TEXT NOT NULL, bytes_billed INTEGER NOT NULL, usd REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS job_by_day ON job (day, asset_group);
CREATE TABLE IF NOT EXISTS total (asset_group TEXT PRIMARY KEY, bytes_billed INTEGER NOT NULL, usd REAL NOT NULL,
    jobs INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS set_aside (step TEXT, asset_group TEXT, day TEXT NOT NULL, run_id TEXT NOT NULL,
    usd REAL NOT NULL, PRIMARY KEY (step, asset_group)) WITHOUT ROWID
"""

#: BigQuery remembers ids of jobs for six months, and so long one might be told again.
_KEPT_DAYS = 190


@dataclass(frozen=True)
class Spent:
    """One job, and for what it was."""

    job_id: str
    group: str
    asset: str
    bytes_billed: int
    usd: float


@dataclass(frozen=True)
class Total:
    """All that a group was billed for since the file was made."""

    bytes_billed: int
    usd: float
    jobs: int


@dataclass(frozen=True)
class Reserved:
    """A step that asked whether it may spend.

    Attributes:
        step: under what it has set money aside.
        verdicts: of each group that has a budget.

    """

    step: str
    run_id: str
    verdicts: tuple[Verdict, ...]

    @property
    def refused(self) -> tuple[Verdict, ...]:
        """The budgets that it would break; then nothing is set aside."""
        return tuple(verdict for verdict in self.verdicts if not verdict.may_start)


class Spending:
    """The file at `path`, which is created if need be. Safe for many processes at once."""

    def __init__(self, path: Path, now_s: Callable[[], float] = time.time) -> None:
        """Args: now_s: the clock."""
        self._path, self._now_s = path, now_s
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with transaction(path) as db:
                for table in _TABLES.split(";"):
                    db.execute(table)

    @classmethod
    def of(cls, env: Environment) -> Spending:
        """That of a company."""
        return cls(path_of(env))

    def reserve(
        self, run_id: str, estimates: Mapping[str, float], budgets: Mapping[str, Budget], *, ignored_by: str = ""
    ) -> Reserved:
        """Set aside what a step is estimated to spend, in US dollars by group, unless that breaks a budget."""
        step, day = uuid.uuid4().hex, self._day()
        with transaction(self._path) as db:
            db.execute("DELETE FROM set_aside WHERE day < ?", (day,))
            db.execute("DELETE FROM job WHERE day < ?", (self._day(-_KEPT_DAYS),))
            verdicts = tuple(
                _verdict(db, day, run_id, group, budgets[group], estimate, ignored_by)
                for group, estimate in sorted(estimates.items())
                if group in budgets
            )
            reserved = Reserved(step, run_id, verdicts)
            if not reserved.refused:
                rows = [(step, group, day, run_id, estimate) for group, estimate in estimates.items()]
                db.executemany("INSERT INTO set_aside VALUES (?, ?, ?, ?, ?)", rows)
        return reserved

    def add(self, reserved: Reserved, group: str, estimate: float, budget: Budget) -> Verdict:
        """Set aside so much more for a step that goes on, in US dollars, unless that breaks the group's budget."""
        with transaction(self._path) as db:
            verdict = _verdict(db, self._day(), reserved.run_id, group, budget, estimate)
            if verdict.may_start:
                db.execute(
                    "INSERT INTO set_aside VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET usd = usd + excluded.usd",
                    (reserved.step, group, self._day(), reserved.run_id, estimate),
                )
        return verdict

    def look(self, run_id: str, estimates: Mapping[str, float], budgets: Mapping[str, Budget]) -> tuple[Verdict, ...]:
        """Whether such a step would be allowed now. Nothing is set aside."""
        with reading(self._path) as db:
            day = self._day()
            told = [
                _verdict(db, day, run_id, group, budgets[group], estimate)
                for group, estimate in sorted(estimates.items())
                if group in budgets
            ]
        return tuple(told)

    def settle(self, reserved: Reserved, spent: Iterable[Spent]) -> None:
        """Count what the step's jobs were billed for, in place of what it set aside."""
        with transaction(self._path) as db:
            db.execute("DELETE FROM set_aside WHERE step = ?", (reserved.step,))
            self._count(db, reserved.run_id, spent)

    def count(self, run_id: str, spent: Iterable[Spent]) -> None:
        """Count jobs that nothing was set aside for."""
        with transaction(self._path) as db:
            self._count(db, run_id, spent)

    def billed_today_usd(self, group: str) -> float:
        """What the jobs of a group were billed for since 00:00 UTC."""
        with reading(self._path) as db:
            return _billed(db, self._day(), group)

    def totals(self) -> dict[str, Total]:
        """By group, since the file was made: these only rise."""
        with reading(self._path) as db:
            rows = db.execute("SELECT asset_group, bytes_billed, usd, jobs FROM total ORDER BY asset_group").fetchall()
        return {group: Total(billed, usd, jobs) for group, billed, usd, jobs in rows}

    def _count(self, db: sqlite3.Connection, run_id: str, spent: Iterable[Spent]) -> None:
        day = self._day()
        for one in spent:
            row = (one.job_id, day, one.group, one.asset, run_id, one.bytes_billed, one.usd)
            if db.execute("INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row).rowcount:
                db.execute(
                    "INSERT INTO total VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1, "
                    "bytes_billed = bytes_billed + excluded.bytes_billed, usd = usd + excluded.usd",
                    (one.group, one.bytes_billed, one.usd),
                )

    def _day(self, later_days: int = 0) -> str:
        return datetime.fromtimestamp(self._now_s() + later_days * 86_400, UTC).strftime("%Y-%m-%d")


def path_of(env: Environment) -> Path:
    """Where the file of a company is, whether or not it has been made."""
    return env.state / "spending.db"


def _verdict(
    db: sqlite3.Connection, day: str, run_id: str, group: str, budget: Budget, estimate: float, ignored_by: str = ""
) -> Verdict:
    (set_aside,) = db.execute(
        "SELECT coalesce(sum(usd), 0) FROM set_aside WHERE day = ? AND asset_group = ?", (day, group)
    ).fetchone()
    (of_run,) = db.execute(
        "SELECT (SELECT coalesce(sum(usd), 0) FROM job WHERE run_id = :run AND asset_group = :grp) + "
        "(SELECT coalesce(sum(usd), 0) FROM set_aside WHERE run_id = :run AND asset_group = :grp)",
        {"run": run_id, "grp": group},
    ).fetchone()
    return Verdict(group, budget, estimate, _billed(db, day, group), set_aside, of_run, ignored_by)


def _billed(db: sqlite3.Connection, day: str, group: str) -> float:
    row = db.execute("SELECT coalesce(sum(usd), 0) FROM job WHERE day = ? AND asset_group = ?", (day, group))
    return row.fetchone()[0]
