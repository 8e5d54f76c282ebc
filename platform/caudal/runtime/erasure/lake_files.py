"""Rows of people taken out of files of the lake, the others left as they were, where that is proved; else the file stays.

A file is written anew by `rewriting`, beside the lake, and read again as any load reads it: it must hold just the other rows,
with the same values, and nobody of the list. Only then does it take the place of the old one, at once and whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from caudal.lake.readers.rows import LakeFile
from caudal.runtime.erasure.plan import folder
from caudal.runtime.erasure.rewriting import CannotRewrite
from caudal.runtime.erasure.rewriting.packing import take_out_packed
from caudal.store import exclusive_lock, open_store
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parts import Normalized, Quarantined, normalize_many
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from caudal.contracts import Column
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.store import LakeObject
    from caudal.warehouse.suppression import Suppressed

#: How often a file is read again that changes while it is written anew.
_ATTEMPTS = 3

_SHOWN = 20


@dataclass(frozen=True)
class Rewritten:
    """A lake file that was, or would be, written anew.

    Attributes:
        rows: that were taken out.
        unread: names of files of the archive that are copied as they are, and that no load reads.

    """

    rows: int = 0
    unread: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        if not self.unread:
            return f"written anew without {self.rows:,} rows"
        names = ", ".join(self.unread[:_SHOWN])
        return f"written anew without {self.rows:,} rows; LOOK YOURSELF into what no load reads of the archive: {names}"


@dataclass
class Held:
    """What a lake file holds, as a load would read it.

    Attributes:
        rows: how many each member has; the file itself is the member None.
        gone: the places of the rows of people of the list, of the members that have such.
        others: by member, the number of all other rows and a sum over their values, however they are ordered.
        unreadable: why the file, or a member of it, cannot be read.

    """

    rows: dict[str | None, int] = field(default_factory=dict)
    gone: dict[str | None, list[int]] = field(default_factory=dict)
    others: dict[str, tuple[int, int]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(map(len, self.gone.values()))

    @property
    def places(self) -> str:
        """Where the rows are, for people."""
        told = []
        for member, rows in self.gone.items():
            more = ", ..." if len(rows) > _SHOWN else ""
            told.append(f"{'' if member is None else f'{member}: '}{', '.join(map(str, rows[:_SHOWN]))}{more}")
        return "; ".join(told)


@dataclass(frozen=True)
class LakeFiles:
    """The files of one dataset, and a folder for copies of them, which is empty again after each.

    Attributes:
        columns: those that identify the people of the list.

    """

    env: Environment
    dataset: Dataset
    columns: Sequence[Column]
    listed: Suppressed
    work: Path

    def look(self, path: str) -> Held | None:
        """What the file holds; None if there is no such file."""
        with self.fetched(path) as (_, held):
            return None if held is None else self._read(held, path, self.work / "before")

    def rewrite(self, path: str, *, only_try: bool = False) -> Rewritten:
        """Write the file anew without the rows of people of the list.

        Args:
            only_try: do all of it but for putting the new file in the place of the old one.

        Raises:
            CannotRewrite: nothing was changed, and why, and what to do.

        """
        for _ in range(_ATTEMPTS):
            with self.fetched(path) as (found, held):
                if found is None:
                    return Rewritten()
                if held is not None:
                    rewritten, target = self._written_anew(held, path)
                    store = open_store(self.env.lake_url, self.env.acts_as)
                    if target is None or only_try:
                        return rewritten
                    if store.exchange(path, found.version, target):
                        return rewritten
        raise CannotRewrite(f"{path}: it changes all the time. Plan and apply another erasure when nobody writes to it")

    @contextmanager
    def fetched(self, path: str) -> Generator[tuple[LakeObject | None, Path | None]]:
        """The object at `path`, and a copy of it; None for one that is not there, or has changed while it was fetched."""
        store = open_store(self.env.lake_url, self.env.acts_as)
        found = store.find(path)
        try:
            yield found, None if found is None else store.fetch(found, self.work)
        finally:
            _empty(self.work)

    def _written_anew(self, held: Path, path: str) -> tuple[Rewritten, Path | None]:
        before = self._read(held, path, self.work / "before")
        told = f"{path}: LEFT AS IT IS, with {before.count:,} rows of the person (at {before.places})"
        advice = "Take them out yourself and deliver the file again, or delete it: the other rows stay loaded"
        if before.unreadable:
            raise CannotRewrite(f"{told} and perhaps more, because a load cannot read all of it. {advice}")
        if not before.count:
            return Rewritten(), None
        target, pieces = self.work / f"rewritten{''.join(held.suffixes)}", self.work / "pieces"
        pieces.mkdir(exist_ok=True)
        try:
            unread = take_out_packed(self.dataset, held, before.gone, target, pieces)
        except CannotRewrite as refused:
            raise CannotRewrite(f"{told}: {refused}. {advice}") from None
        except Exception as failed:  # noqa: BLE001 - whatever it is, the file stays; its message may quote the file
            raise CannotRewrite(f"{told}: writing it anew failed with {type(failed).__name__}. {advice}") from None
        after = self._read(target, path, self.work / "after")
        left = {member: rows - len(before.gone.get(member, ())) for member, rows in before.rows.items()}
        if after.unreadable or after.gone or after.rows != left or after.others != before.others:
            raise CannotRewrite(f"{told}, because without them the other rows would not be read as they are now. {advice}")
        return Rewritten(before.count, tuple(unread)), target

    def _read(self, file: Path, path: str, into: Path) -> Held:
        held = Held()
        with connect_memory(self.env) as connection:
            given = [LakeFile(path, "", file)]
            for result in normalize_many(connection, self.dataset, given, loaded_at=datetime.now(UTC), into=into):
                if isinstance(result, Quarantined):
                    held.unreadable.append(result.reason)
                else:
                    self._note(connection, result, held)
        return held

    def _note(self, connection: duckdb.DuckDBPyConnection, result: Normalized, held: Held) -> None:
        members = {counts.name: counts.member for counts in result.files}
        held.rows |= {counts.member: counts.rows_read for counts in result.files}
        written = (
            (result.part, self.listed.in_rows(self.columns), [column.name for column in self.dataset.contract.columns]),
            (result.rejects, self.listed.in_rejects(self.columns), ["column", "value", "record"]),
        )
        connection.execute("CREATE OR REPLACE TEMP TABLE gone (_file VARCHAR, _row BIGINT)")
        for part, condition, _ in written:
            if part is not None:
                source = f"read_parquet({text(str(part))})"
                connection.execute(f"INSERT INTO gone SELECT DISTINCT _file, _row FROM {source} WHERE {condition}")
        for name, rows in connection.execute("SELECT _file, list(DISTINCT _row ORDER BY _row) FROM gone GROUP BY 1").fetchall():
            held.gone[members[name]] = rows
        for kind, (part, _, columns) in zip(("rows", "rejects"), written, strict=True):
            if part is None:
                continue
            values = ", ".join(identifier(name) for name in columns)
            sums = connection.execute(
                f"SELECT _file, count(*), sum(hash({values})::HUGEINT) FROM read_parquet({text(str(part))}) AS p "
                "ANTI JOIN gone USING (_file, _row) GROUP BY 1"
            )
            held.others |= {f"{kind} {name}": (count, total) for name, count, total in sums.fetchall()}
            part.unlink()


@contextmanager
def work_folder(env: Environment) -> Generator[Path]:
    """A folder for copies of lake files. Whatever a process that was killed left there is removed first."""
    work = folder(env) / ".work"
    with exclusive_lock(env.state / "locks" / "erasure_work.lock"):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _empty(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
