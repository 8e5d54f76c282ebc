"""What the ledger can be asked. Nothing here waits for a loader."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from caudal.lake.records import Evolved, LedgerFile, Repair, Seen, State, Totals, Unfinished
from caudal.store.sqlite import reading

_COLUMNS = (
    "path, version, size_bytes, state, partition, live_version, may_have_rows, rows_read, rows_loaded, rows_rejected, "
    "reason, loaded_at, note, has_members, dialect, content, rows_erased"
)


class LedgerReader:
    """The asking side of `caudal.lake.ledger.Ledger`."""

    _path: Path

    def files(self, dataset_id: str, state: State | None = None) -> list[LedgerFile]:
        """Every file of the dataset, or those in `state`, in the order of their paths."""
        with reading(self._path) as db:
            if state is None:
                return select_files(db, "dataset = ? ORDER BY path", (dataset_id,))
            return select_files(db, "dataset = ? AND state = ? ORDER BY path", (dataset_id, state))

    def faulty(self, dataset_id: str, limit: int = -1) -> list[LedgerFile]:
        """The live files that are in quarantine, wholly or partly, in the order of their paths."""
        where = "dataset = ? AND (state = 'quarantined' OR note IS NOT NULL AND state != 'deleted') ORDER BY path LIMIT ?"
        with reading(self._path) as db:
            return select_files(db, where, (dataset_id, limit))

    def standing(self, dataset_ids: Iterable[str]) -> dict[str, Seen]:
        """How many files of each dataset are pending, and its sequence."""
        with reading(self._path) as db:
            pending = dict(
                db.execute(
                    "SELECT dataset, count(*) FROM file INDEXED BY file_pending WHERE state = 'pending' GROUP BY dataset"
                )
            )
            sequences = dict(db.execute("SELECT id, sequence FROM dataset"))
        return {i: Seen(pending=pending.get(i, 0), sequence=sequences.get(i, 0)) for i in dataset_ids}

    def totals(self, dataset_id: str) -> Totals:
        """Counts of files by state, and of the rows that came from the versions in the raw table."""
        with reading(self._path) as db:
            states = db.execute("SELECT state, count(*) FROM file WHERE dataset = ? GROUP BY state", (dataset_id,))
            files: dict[State, int] = dict(states.fetchall())
            sums = db.execute(
                "SELECT coalesce(sum(rows_read), 0), coalesce(sum(rows_loaded), 0), coalesce(sum(rows_rejected), 0), "
                "coalesce(sum(rows_erased), 0) "
                "FROM file WHERE dataset = ? AND live_version IS NOT NULL",
                (dataset_id,),
            ).fetchone()
        return Totals(files, *sums)

    def dataset_ids(self) -> list[str]:
        """Every dataset that the ledger has a file of."""
        with reading(self._path) as db:
            return [row[0] for row in db.execute("SELECT DISTINCT dataset FROM file ORDER BY dataset")]

    def loaded_ids(self, dataset_ids: Collection[str]) -> set[str]:
        """Those of the datasets that rows of some file were loaded of."""
        query = "SELECT 1 FROM file WHERE dataset = ? AND live_version IS NOT NULL LIMIT 1"
        with reading(self._path) as db:
            return {i for i in dataset_ids if db.execute(query, (i,)).fetchone()}

    def knows_table(self, dataset_id: str) -> bool:
        """Whether every file that the dataset's raw table may have rows of is in the ledger."""
        with reading(self._path) as db:
            return bool(db.execute("SELECT 1 FROM dataset WHERE id = ? AND knows_table", (dataset_id,)).fetchone())

    def unfinished(self, dataset_id: str) -> list[Unfinished]:
        """Every batch of the dataset that was neither finished nor abandoned."""
        query = "SELECT number, prepared FROM batch WHERE dataset = ? ORDER BY number"
        with reading(self._path) as db:
            return [Unfinished(number, bool(prepared)) for number, prepared in db.execute(query, (dataset_id,))]

    def evolved(self, dataset_id: str) -> list[Evolved]:
        """The columns that files brought beside those of the contract, in the order in which they appeared."""
        query = "SELECT name, declared, first_file, at FROM evolved WHERE dataset = ? ORDER BY at, rowid"
        with reading(self._path) as db:
            return [Evolved(*row) for row in db.execute(query, (dataset_id,))]

    def repairs(self, dataset_id: str) -> list[Repair]:
        """The repaired rows, of whatever version of their files."""
        query = "SELECT path, version, name, place, record FROM repair WHERE dataset = ? ORDER BY path, name, place"
        with reading(self._path) as db:
            return [Repair(*row) for row in db.execute(query, (dataset_id,))]

    def live_copies(self, dataset_id: str, contents: Mapping[str, str]) -> dict[str, str]:
        """For each path whose content, by its hash, is loaded under another path: that path."""
        query = (
            "SELECT path FROM file WHERE dataset = ? AND content = ? AND path != ? AND live_version = version "
            "AND state IN ('loaded', 'deleted', 'pending', 'loading') ORDER BY path LIMIT 1"
        )
        copies = {}
        with reading(self._path) as db:
            for path, content in contents.items():
                row = db.execute(query, (dataset_id, content, path)).fetchone()
                if row:
                    copies[path] = row[0]
        return copies


def select_files(db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[LedgerFile]:
    """The files for which `where` holds."""
    return [LedgerFile(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM file WHERE {where}", values)]
