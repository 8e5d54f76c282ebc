"""Does what a reviewed plan says. Each step may be done again, so that one that was killed goes on where it was.

1. The person is put on the list of those whose rows no load lets in: from here on nothing new comes.
2. Of each dataset, under the lock of its loaders: rows leave the raw table and the rejects, repaired rows the ledger, and the
   ledger counts what is left.
3. What is kept beside the tables is removed, and files of the lake are written anew if the plan says so.
4. A candidate without the rows is written anew and published; every version before it is removed, and with them what they
   read of the raw tables.
5. Dagster is told, which makes anew what is below the raw tables. Then everything is looked through again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from caudal.lake.ledger import Ledger
from caudal.runtime.erasure import copies
from caudal.runtime.erasure.finding import changes, in_published, places
from caudal.runtime.erasure.lake_files import LakeFiles, work_folder
from caudal.runtime.erasure.plan import Place, Plan, folder
from caudal.runtime.erasure.rewriting import CannotRewrite
from caudal.store import exclusive_lock, write_atomically
from caudal.warehouse import versions
from caudal.warehouse.candidate import open_candidate
from caudal.warehouse.connection import quoted
from caudal.warehouse.delta import lake_file
from caudal.warehouse.quality import judged
from caudal.warehouse.raw_tables import raw, raw_tables, rejects
from caudal.warehouse.settling import note_unshown, settled, show_files
from caudal.warehouse.suppression import Entry, Suppressed, suppress, suppressed
from caudal.warehouse.upkeep import forget_history
from caudal.warehouse.versions import Cause

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.runtime.erasure.subjects import Where


class Refused(RuntimeError):
    """Nothing was changed. The message says why, and what to do."""


@dataclass
class Journal:
    """How far an erasure has come.

    Attributes:
        concerned: by dataset, the lake files whose rows are counted anew.
        lake: what became of each lake file that was to be written anew, for people.
        stays: those of them that hold the person's rows still.
        version: that was published without the person, "" if nothing needed to be.
        told: the assets of which Dagster was told.
        left: what was found of the person after all of it.

    """

    reviewed_by: str
    begun_at: str
    steps: dict[str, str] = field(default_factory=dict)
    concerned: dict[str, list[str]] = field(default_factory=dict)
    lake: dict[str, str] = field(default_factory=dict)
    stays: list[str] = field(default_factory=list)
    version: str = ""
    told: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return "checked" in self.steps


def read_journal(env: Environment, plan_id: str) -> Journal | None:
    """How far the erasure has come; None if it was not applied."""
    try:
        return Journal(**json.loads(_path(env, plan_id).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def apply(env: Environment, plan: Plan, where: Where, reviewed_by: str, tell: Callable[[list[Dataset]], list[str]]) -> Journal:
    """Do what the plan says, or what is left of it.

    Args:
        where: as when it was planned.
        reviewed_by: who has read the plan; not who made it.
        tell: has Dagster make anew what is below the raw tables of these datasets; the assets that it was told of.

    Raises:
        Refused: nobody else has read it, it is done, or there is something else now than it says.

    """
    if not reviewed_by.strip() or reviewed_by.strip() == plan.asked_by:
        raise Refused(f"{plan.id} is to be read by somebody else than {plan.asked_by}, who is named with --reviewed-by")
    with exclusive_lock(env.state / "locks" / "erasure.lock"):
        journal = read_journal(env, plan.id)
        if journal is not None and journal.is_done:
            raise Refused(f"{plan.id} was applied; `caudal erasure show {plan.id}` tells what was done")
        listed = Suppressed(suppressed(env).salt, (Entry(plan.key, plan.hash, plan.id, plan.made_at),))
        work = _Work(env, plan, where, listed, journal or Journal(reviewed_by, _now()), tell)
        if journal is None:
            work.check()
        work.run()
        return work.journal


@dataclass(frozen=True)
class _Work:
    env: Environment
    plan: Plan
    where: Where
    listed: Suppressed
    journal: Journal
    tell: Callable[[list[Dataset]], list[str]]

    def check(self) -> None:
        """See that it is as the plan says, but for what new files have brought."""
        ledger = Ledger(self.env.state / "ledger.db")
        known = {f.path: f.live_version or "" for d in self.where.datasets for f in ledger.files(d.id)}
        found = changes(self.plan, self._places(), known)
        failed = [
            d.id for d in self.where.datasets if (stands := judged.standing(self.env, d)) is not None and not stands.holds
        ]
        found += [
            f"raw/{name} does not pass its rules, so that readers see an older version: repair it first" for name in failed
        ]
        if found:
            told = "\n".join(f"  {each}" for each in found)
            raise Refused(f"It is not as {self.plan.id} says:\n{told}\nPlan it anew, and have that read")

    def run(self) -> None:
        """Do every step that is not done."""
        self._step("suppressed", lambda: suppress(self.env, self.listed.entries[0]))
        for dataset in self.where.datasets:
            self._step(f"raw {dataset.id}", lambda dataset=dataset: self._erase(dataset))
        self._step("copies", lambda: copies.remove(self.env, self.where, self.listed))
        if self.plan.rewrite_lake:
            self._step("lake", self._rewrite_lake)
        self._step("published", self._publish)
        self._step("history", self._forget)
        self._step("told", lambda: self.journal.told.extend(self.tell(self._concerned())))
        self._step("checked", self._look_again)

    def _step(self, name: str, do: Callable[[], object]) -> None:
        if name in self.journal.steps:
            return
        self._save()
        do()
        self.journal.steps[name] = _now()
        self._save()

    def _erase(self, dataset: Dataset) -> None:
        ledger, tables = Ledger(self.env.state / "ledger.db"), raw_tables(self.env)
        columns = self.where.columns(dataset)
        with settled(self.env, dataset, ledger, tables):
            relations = (raw(dataset), rejects(dataset))
            found = {relation: tables.rows_of(relation, columns, self.listed) for relation in relations}
            paths = {lake_file(name) for rows in found.values() for name in rows} | set(
                self.journal.concerned.get(dataset.id, ())
            )
            if paths:
                self.journal.concerned[dataset.id] = sorted(paths)
                self._save()  # Whoever goes on after this counts these files, though he finds no rows of the person in them.
                note_unshown(self.env, dataset)
                for relation, rows in found.items():
                    if rows:
                        tables.remove_rows(relation, rows)
                self._recount(dataset, ledger, paths)
                version, stands = tables.version(raw(dataset)), judged.standing(self.env, dataset)
                if version is not None and stands is not None:
                    judged.note(self.env, dataset, version, [])
            ledger.forget_repairs(dataset.id, copies.repairs(ledger, dataset, self.listed))
            show_files(self.env, dataset, ledger, tables, changed=bool(paths))

    def _recount(self, dataset: Dataset, ledger: Ledger, paths: set[str]) -> None:
        tables = raw_tables(self.env)
        counts = dict.fromkeys(paths, (0, 0))
        for place, relation in enumerate((raw(dataset), rejects(dataset))):
            for name, rows in tables.counts(relation).items():
                path = lake_file(name)
                if path in counts:
                    before = counts[path]
                    counts[path] = (before[0] + rows, before[1]) if place == 0 else (before[0], before[1] + rows)
        ledger.recount(dataset.id, counts)

    def _rewrite_lake(self) -> None:
        planned = {place.name: place for place in self.plan.places if place.kind == "lake file"}
        with work_folder(self.env) as work:
            for dataset in self.where.datasets:
                files = LakeFiles(self.env, dataset, self.where.columns(dataset), self.listed, work)
                known = {f.path for f in Ledger(self.env.state / "ledger.db").files(dataset.id) if f.state != "deleted"}
                for path in sorted(known & {*planned, *self.journal.concerned.get(dataset.id, ())}):
                    told, is_left = _rewritten(files, path, planned.get(path))
                    self.journal.lake[path] = told
                    self.journal.stays = sorted(set(self.journal.stays) - {path} | ({path} if is_left else set()))
                    self._save()

    def _publish(self) -> None:
        if versions.current(self.env) is None:
            return
        relations = list(self.where.published)
        with open_candidate(self.env, self.where.datasets) as candidate:
            candidate.prepare(relations, incremental=relations)
            with candidate.connect() as connection:
                for relation, columns in self.where.published.items():
                    connection.execute(f"DELETE FROM {quoted(relation)} WHERE {in_published(columns, self.where, self.listed)}")
            candidate.rewrite()
            cause = Cause("erasure", "", f"erasure {self.plan.id}, reviewed by {self.journal.reviewed_by}")
            self.journal.version = candidate.publish(relations, cause)

    def _forget(self) -> None:
        if self.journal.version:
            versions.remove_before(self.env, self.journal.version)
        if self.env.cloud is None:
            for dataset in self.where.datasets:
                forget_history(self.env, dataset)

    def _look_again(self) -> None:
        self.journal.left = [f"{place.kind} {place.name}: {place.rows} rows" for place in self._places() if place.rows]

    def _places(self) -> list[Place]:
        return list(places(self.env, self.where, self.listed))

    def _concerned(self) -> list[Dataset]:
        return [dataset for dataset in self.where.datasets if self.journal.concerned.get(dataset.id)]

    def _save(self) -> None:
        with write_atomically(_path(self.env, self.plan.id)) as temporary:
            temporary.write_text(json.dumps(asdict(self.journal), indent=1), encoding="utf-8")


def _rewritten(files: LakeFiles, path: str, planned: Place | None) -> tuple[str, bool]:
    """What became of the file, and whether the person may still be in it."""
    try:
        rewritten = files.rewrite(path)
    except CannotRewrite as stays:
        return str(stays), True
    if rewritten.rows or planned is None:
        return rewritten.told, bool(rewritten.unread)
    return "written anew without the rows", planned.is_left  # By one that was killed right behind it.


def _path(env: Environment, plan_id: str) -> Path:
    return folder(env) / plan_id / "journal.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
