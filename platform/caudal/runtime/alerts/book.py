"""The book of incidents: what is wrong, since when, how often, who was told, and when it was over.

Each look is one transaction: incidents, the messages that they owe and the place up to which Dagster was read change together
or not at all. Whoever dies in between has seen nothing, and looks again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from caudal.environment import Environment
from caudal.runtime.alerts.database import prepare_file
from caudal.runtime.alerts.facts import Ended, Facts, Problem, Quarantined, Target, owner_of
from caudal.runtime.alerts.message import Incident, plain
from caudal.runtime.alerts.quarantine import Baseline, judged
from caudal.runtime.alerts.settings import Settings
from caudal.store.sqlite import reading, transaction

#: So many different errors of one subject are told apart; further ones are counted with the last.
CAUSES_OF_ONE_SUBJECT = 3
#: After a cause is over, what depends on it has this long to catch up before its lateness is told.
CATCH_UP_S = 600.0
#: Incidents that are over, and their messages, are kept this long.
KEEP_S = 90 * 86400.0
#: Runs that were read are remembered this long.
REMEMBER_S = 7 * 86400.0
_KEPT_CHARACTERS = 1000


def book_path(env: Environment) -> Path:
    """Where the company's book is."""
    return env.state / "alerts.db"


class Book:
    """The book in the SQLite file at `path`, which is created if need be. Safe for many processes at once.

    Raises:
        caudal.runtime.alerts.database.UnknownAlerts: the file is newer than this code.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        prepare_file(path)

    @classmethod
    def of(cls, env: Environment) -> Book:
        """The company's."""
        return cls(book_path(env))

    def place(self) -> tuple[float | None, dict[str, float], set[str]]:
        """The cursor of the last look, None before the first; the runs awaited; the runs known."""
        with reading(self.path) as db:
            cursor = db.execute("SELECT value FROM state WHERE name = 'cursor'").fetchone()
            awaited = dict(db.execute("SELECT run_id, since_s FROM awaited").fetchall())
            known = {row[0] for row in db.execute("SELECT run_id FROM known")}
        return cursor[0] if cursor else None, awaited, known

    def open_targets(self) -> dict[str, float]:
        """Assets and jobs that must go well again, each with its last failure."""
        with reading(self.path) as db:
            return dict(db.execute("SELECT name, max(failed_s) FROM target GROUP BY name").fetchall())

    def look(self, facts: Facts, settings: Settings, now_s: float) -> None:
        """Take in what was observed: open, count and resolve incidents, and note what is to be said."""
        with transaction(self.path) as db:
            if facts.declared is not None:
                _forget_undeclared(db, facts.declared)
                _resolve_done(db, "It does not exist any more", now_s)
            for ended in facts.ended:
                if ended.problems and db.execute("SELECT 1 FROM known WHERE run_id = ?", (ended.run_id,)).fetchone():
                    continue  # Another look, at the same time, was first.
                _settle_targets(db, ended)
                for problem in ended.problems:
                    _open_or_count(db, problem, settings)
            _resolve_done(db, "It went well", now_s)
            for kind, problems in facts.holding.items():
                _hold(db, kind, problems, settings, now_s)
            if facts.quarantine is not None:
                _hold(db, "quarantine", _growth(db, facts.quarantine, settings, now_s), settings, now_s)
            _remind(db, settings, now_s)
            _keep_place(db, facts)
            _forget_old(db, now_s)

    def incidents(self, *, resolved: bool = False, limit: int = 1000) -> list[Incident]:
        """The newest first; with `resolved` also those that are over."""
        where = "1" if resolved else "resolved_s IS NULL"
        with reading(self.path) as db:
            return select_incidents(db, f"{where} ORDER BY number DESC LIMIT ?", (limit,))

    def close(self, number: int, now_s: float) -> bool:
        """Somebody says that it is over; False if no such incident is open."""
        with transaction(self.path) as db:
            found = db.execute("SELECT 1 FROM incident WHERE number = ? AND resolved_s IS NULL", (number,)).fetchone()
            if found:
                _resolve(db, number, "Closed by hand", now_s)
            return bool(found)


def select_incidents(db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[Incident]:
    """The incidents for which `where` holds."""
    columns = "number, kind, subject, detail, owners, link, first_s, last_s, count, resolved_s, resolution"
    rows = db.execute(f"SELECT {columns} FROM incident WHERE {where}", values).fetchall()
    also = "SELECT asset FROM consequence WHERE incident = ? ORDER BY asset"
    found = []
    for number, kind, subject, detail, owners, *rest in rows:
        late = tuple(asset for (asset,) in db.execute(also, (number,)))
        found.append(Incident(number, kind, subject, detail, tuple(json.loads(owners)), *rest, late))
    return found


# Opening ------------------------------------------------------------------------------------------------------------------


def _open_or_count(db: sqlite3.Connection, problem: Problem, settings: Settings) -> int:
    """The number of the incident."""
    fingerprint = problem.fingerprint
    row = db.execute(
        "SELECT number, occurrence FROM incident WHERE fingerprint = ? AND resolved_s IS NULL", (fingerprint,)
    ).fetchone()
    if row is None:
        others = db.execute(
            "SELECT number, occurrence FROM incident WHERE kind = ? AND subject = ? AND resolved_s IS NULL ORDER BY number",
            (problem.kind, problem.subject),
        ).fetchall()
        row = others[-1] if len(others) >= CAUSES_OF_ONE_SUBJECT else None
    detail, link = plain(problem.detail, _KEPT_CHARACTERS), problem.link
    if row is None:
        number = db.execute(
            "INSERT INTO incident (fingerprint, kind, subject, detail, owners, link, roots, occurrence, first_s, last_s, "
            "count, told_s, told_count, told_times) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, 1, 1)",
            (
                *(fingerprint, problem.kind, problem.subject, detail, json.dumps(problem.owners), link),
                *(json.dumps(problem.roots), problem.occurrence, problem.at_s, problem.at_s, problem.at_s),
            ),
        ).lastrowid
        assert number is not None
        for channel in settings.channels_for(problem.kind, problem.owners):
            _owe(db, number, "opened", channel, problem.at_s)
    else:
        number = row[0]
        if row[1] != problem.occurrence:
            db.execute(
                "UPDATE incident SET count = count + 1, last_s = max(last_s, ?), detail = ?, link = ?, occurrence = ? "
                "WHERE number = ?",
                (problem.at_s, detail, link, problem.occurrence, number),
            )
    db.executemany(
        "INSERT INTO target VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET failed_s = max(failed_s, excluded.failed_s)",
        [(number, t.name, t.part, problem.at_s) for t in problem.targets if problem.kind == "run"],
    )
    return number


def _hold(db: sqlite3.Connection, kind: str, problems: Sequence[Problem], settings: Settings, now_s: float) -> None:
    """Open what holds, and resolve what holds no longer. Lateness that follows from something else is noted there."""
    rows = db.execute("SELECT fingerprint, number FROM incident WHERE kind = ? AND resolved_s IS NULL", (kind,))
    open_before = dict(rows.fetchall())
    late = {p.subject for p in problems if p.kind == "late"}
    for problem in sorted(problems, key=lambda p: (len(late & p.upstream), p.subject)):
        number = open_before.pop(problem.fingerprint, None)
        if number is None and kind == "late":
            if (root := _root_of(db, problem)) is not None:
                db.execute("INSERT OR IGNORE INTO consequence VALUES (?, ?)", (root, problem.subject))
                continue
            if _catching_up(db, problem, now_s):
                continue
        _open_or_count(db, problem if problem.at_s else replace(problem, at_s=now_s), settings)
    if kind == "late":
        rows = db.execute("SELECT DISTINCT asset FROM consequence").fetchall()
        db.executemany("DELETE FROM consequence WHERE asset = ?", [row for row in rows if row[0] not in late])
    for number in open_before.values():
        _resolve(db, number, _OVER[kind], now_s)


_OVER = {"check": "The check passes", "late": "It is fresh again", "quarantine": "It was emptied, or grows no more"}


def _root_of(db: sqlite3.Connection, late: Problem) -> int | None:
    """The open incident that the lateness follows from."""
    for number, roots in db.execute("SELECT number, roots FROM incident WHERE resolved_s IS NULL ORDER BY number"):
        if not late.upstream.isdisjoint(json.loads(roots)):
            return number
    return None


def _catching_up(db: sqlite3.Connection, late: Problem, now_s: float) -> bool:
    rows = db.execute("SELECT roots FROM incident WHERE resolved_s > ?", (now_s - CATCH_UP_S,))
    return any(not late.upstream.isdisjoint(json.loads(roots)) for (roots,) in rows)


def _growth(db: sqlite3.Connection, seen: Iterable[Quarantined], settings: Settings, now_s: float) -> list[Problem]:
    columns = "rows, files, rows_read, taken_s, last_rows, last_files, grown_s"
    before = {row[0]: Baseline(*row[1:]) for row in db.execute(f"SELECT dataset, {columns} FROM quarantine")}
    first_look = not db.execute("SELECT 1 FROM state WHERE name = 'quarantine'").fetchone()
    found = []
    for each in seen:
        # What was in quarantine before anybody looked has not grown; a dataset that is new starts from nothing.
        start = Baseline.of(each, now_s) if first_look else Baseline.empty(now_s)
        known = before.get(each.dataset)
        growth = settings.growth_of.get(each.dataset, settings.growth)
        after, problem = judged(known or start, each, growth, settings.window_hours * 3600, now_s)
        if after != known:
            values = (after.rows, after.files, after.rows_read, after.taken_s, after.last_rows, after.last_files, after.grown_s)
            db.execute("INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (each.dataset, *values))
        if problem is not None:
            found.append(problem)
    db.execute("INSERT OR IGNORE INTO state VALUES ('quarantine', 1)")
    return found


# Resolving ----------------------------------------------------------------------------------------------------------------


def _settle_targets(db: sqlite3.Connection, ended: Ended) -> None:
    """Strike out what went well. An asset made as a whole has all its partitions made."""
    failed = {t for p in ended.problems for t in p.targets}
    for asset, parts in ended.made.items():
        if "" in parts and not any(t.name == asset for t in failed):
            db.execute("DELETE FROM target WHERE name = ? AND failed_s < ?", (asset, ended.at_s))
            continue
        done = [(asset, part, ended.at_s) for part in parts if part and Target(asset, part) not in failed]
        db.executemany("DELETE FROM target WHERE name = ? AND part = ? AND failed_s < ?", done)
    if ended.succeeded is not None:
        db.execute("DELETE FROM target WHERE name = ? AND failed_s < ?", (f"job:{ended.succeeded}", ended.at_s))


def _forget_undeclared(db: sqlite3.Connection, declared: frozenset[str]) -> None:
    """What does not exist any more cannot go well again."""
    names = [name for (name,) in db.execute("SELECT DISTINCT name FROM target")]
    gone = [(name,) for name in names if (owner_of(name) or name) not in declared]
    db.executemany("DELETE FROM target WHERE name = ?", gone)


def _resolve_done(db: sqlite3.Connection, resolution: str, now_s: float) -> None:
    done = db.execute(
        "SELECT number FROM incident WHERE kind = 'run' AND resolved_s IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM target WHERE incident = number)"
    ).fetchall()
    for (number,) in done:
        _resolve(db, number, resolution, now_s)


def _resolve(db: sqlite3.Connection, number: int, resolution: str, now_s: float) -> None:
    db.execute("UPDATE incident SET resolved_s = ?, resolution = ? WHERE number = ?", (now_s, resolution, number))
    db.execute("DELETE FROM target WHERE incident = ?", (number,))
    # What nobody can have read yet need not be said any more, nor be taken back.
    unsaid = "incident = ? AND attempts = 0 AND sent_s IS NULL AND NOT dropped"
    db.execute(f"UPDATE message SET dropped = 1 WHERE {unsaid}", (number,))
    told = db.execute("SELECT DISTINCT channel FROM message WHERE incident = ? AND NOT dropped", (number,)).fetchall()
    for (channel,) in told:
        _owe(db, number, "resolved", channel, now_s)


# Saying -------------------------------------------------------------------------------------------------------------------


def _owe(db: sqlite3.Connection, incident: int, occasion: str, channel: str, now_s: float) -> None:
    insert = "INSERT INTO message (incident, occasion, channel, created_s, next_s) VALUES (?, ?, ?, ?, 0)"
    db.execute(insert, (incident, occasion, channel, now_s))


def _remind(db: sqlite3.Connection, settings: Settings, now_s: float) -> None:
    """Remind of what has happened again, and of conditions that still hold; never while a message about it waits to be sent."""
    rows = db.execute(
        "SELECT number, kind, owners, told_s, told_times FROM incident WHERE resolved_s IS NULL "
        "AND (count > told_count OR kind != 'run') AND NOT EXISTS "
        "(SELECT 1 FROM message WHERE incident = incident.number AND sent_s IS NULL AND NOT dropped)"
    ).fetchall()
    for number, kind, owners, told_s, told_times in rows:
        if now_s - told_s < settings.remind_after_s(told_times):
            continue
        for channel in settings.channels_for(kind, json.loads(owners)):
            _owe(db, number, "reminder", channel, now_s)
        db.execute(
            "UPDATE incident SET told_s = ?, told_count = count, told_times = told_times + 1 WHERE number = ?",
            (now_s, number),
        )


def _keep_place(db: sqlite3.Connection, facts: Facts) -> None:
    if facts.cursor is not None:
        db.execute("INSERT OR REPLACE INTO state VALUES ('cursor', ?)", (facts.cursor,))
    db.executemany("INSERT OR REPLACE INTO known VALUES (?, ?)", list(facts.known.items()))
    if facts.awaited is not None:
        db.execute("DELETE FROM awaited")
        db.executemany("INSERT INTO awaited VALUES (?, ?)", list(facts.awaited.items()))


def _forget_old(db: sqlite3.Connection, now_s: float) -> None:
    db.execute("DELETE FROM known WHERE ended_s < ?", (now_s - REMEMBER_S,))
    old = [(n,) for (n,) in db.execute("SELECT number FROM incident WHERE resolved_s < ?", (now_s - KEEP_S,))]
    for table, column in (("message", "incident"), ("consequence", "incident"), ("incident", "number")):
        db.executemany(f"DELETE FROM {table} WHERE {column} = ?", old)
