"""What of production is on this machine, copied for a branch: files that never change are linked, the others are copied."""

from __future__ import annotations

import fcntl
import json
import shutil
import sqlite3
from collections.abc import Callable, Collection, Generator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.ledger import Ledger
from caudal.store import LakeObject, exclusive_lock, write_atomically
from caudal.store.overlay import write_overlay
from caudal.warehouse import versions
from caudal.warehouse.local_candidate import copy_file
from caudal.warehouse.sql import identifier, text
from caudal.warehouse.suppression import hand_over

if TYPE_CHECKING:
    from caudal.environment import Environment

#: What the platform remembers of tables. Not what it has told people, nor what is remembered for speed alone.
_REMEMBERED = ("judged", "held_back.json", "profiles", "late.json")

#: Columns of the registry's database that hold paths.
_PLACES = frozenset({"artifact_location", "artifact_uri", "source", "storage_location"})

#: In an unfinished or private file of somebody else.
_UNFINISHED = (".tmp", ".lock", "-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Copied:
    """What was copied: the version of the warehouse, "" for none; known files of the lake; raw tables and rejects."""

    version: str
    lake_files: int
    tables: int


def copy_home(
    production: Environment,
    made: Environment,
    loading: Collection[str] = (),
    elsewhere: Callable[[], int] = lambda: 0,
) -> Copied:
    """Copy the ledger, raw tables, published tables, registry, online store and stand-in sources.

    Loads and upkeep wait while raw tables are linked and the ledger is copied, so that these agree.

    Args:
        loading: the names of raw tables that are not on this machine.
        elsewhere: copies these, while nobody writes to them; how many that were.

    """
    version = versions.current(production) or ""
    is_here = bool(version) and production.cloud is None
    if is_here:
        _copy_tree(production.versions / version, made.versions / version)
    with no_writers(production, loading):
        count = elsewhere()
        tables = [table for home in (production.raw, production.quarantine) for table in _tables(home)]
        for table in tables:
            target = made.warehouse / table.relative_to(production.warehouse)
            link_tree(table, target, copied="_delta_log")
        copy_database(production.state / "ledger.db", made.state / "ledger.db")
    Ledger(made.state / "ledger.db")  # Brings an older one up to date.
    hand_over(production, made)
    for name in _REMEMBERED:
        if (production.state / name).exists():
            _copy_tree(production.state / name, made.state / name)
    if is_here:
        _own_views(production, made, version)
    copy_registry(production, made)
    _copy_online(production, made)
    if production.sources.is_dir():
        _copy_tree(production.sources, made.sources)
    known = write_overlay(made.branch_lake, made.own_lake_url, production.lake_url, _known_files(made.state / "ledger.db"))
    return Copied(version, known, count + len(tables))


@contextmanager
def no_writers(env: Environment, loading: Collection[str] = ()) -> Generator[None]:
    """Hold the locks of whoever writes to raw tables, all or none: a dataset that is loading keeps no other one waiting."""
    names = {table.name for home in (env.raw, env.quarantine) for table in _tables(home)} | set(loading)
    locks = [env.state / "locks" / f"{name}.lock" for name in sorted(names)]
    while True:
        with ExitStack() as held:
            busy = next((lock for lock in locks if not _taken(held, lock)), None)
            if busy is None:
                yield
                return
        with exclusive_lock(busy):
            pass


def link_tree(source: Path, target: Path, copied: str = "") -> None:
    """Give each file of `source` a second name below `target`; where that cannot be, and in the folder `copied`, copy it.

    A Parquet file of a Delta Lake table is never written to again; its log's `_last_checkpoint` is.
    """
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.name == copied:
            _copy_tree(entry, target / entry.name)
        elif entry.is_dir():
            link_tree(entry, target / entry.name, copied)
        elif not entry.name.endswith(_UNFINISHED):
            try:
                (target / entry.name).hardlink_to(entry)
            except OSError:
                copy_file(entry, target / entry.name)


def disk_bytes(folder: Path) -> tuple[int, int]:
    """Bytes on disk below `folder`: of its own, and of files that have another name elsewhere."""
    own = shared = 0
    for path in folder.rglob("*"):
        status = path.lstat()
        if not path.is_dir() or path.is_symlink():
            size = status.st_blocks * 512
            own, shared = (own, shared + size) if status.st_nlink > 1 else (own + size, shared)
    return own, shared


def _own_views(production: Environment, made: Environment, version: str) -> None:
    """Have the raw views read the branch's own tables, and point the published link at the version."""
    from caudal.warehouse.engine import connect_file

    folder = made.versions / version
    there, here = (text(str(env.warehouse))[1:-1] for env in (production, made))
    with connect_file(made, folder / made.published.name) as connection:
        moved = [f"'{there}/", f"'{here}/"]
        views = connection.execute(
            "SELECT replace(sql, ?, ?) FROM duckdb_views() WHERE database_name = current_database() AND instr(sql, ?) > 0",
            [*moved, moved[0]],
        ).fetchall()
        for (definition,) in views:
            connection.execute(definition.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
        if connection.execute(
            "SELECT 1 FROM duckdb_tables() WHERE schema_name || '.' || table_name = 'caudal.raw_views'"
        ).fetchone():
            connection.execute("UPDATE caudal.raw_views SET body = replace(body, ?, ?)", moved)
        connection.execute("CHECKPOINT")
    record = folder / versions.RECORD
    if record.is_file():
        told = json.loads(record.read_text())
        for relation in told["relations"].values():
            relation["definition"] = relation["definition"].replace(f"'{there}/", f"'{here}/")
        with write_atomically(record) as temporary:
            temporary.write_text(json.dumps(told, indent=1))
    made.published.symlink_to(Path("versions", version, made.published.name))


def copy_registry(production: Environment, made: Environment) -> None:
    database = production.registry / "mlflow.db"
    if not database.is_file():
        return
    with exclusive_lock(production.registry / "registry.lock"):
        copy_database(database, made.registry / "mlflow.db")
        if (production.registry / "artifacts").is_dir():
            link_tree(production.registry / "artifacts", made.registry / "artifacts")
    move_places(made.registry / "mlflow.db", str(production.registry), str(made.registry))


def move_places(database: Path, there: str, here: str) -> None:
    """Have the registry look for artifacts below `here`, that were below `there`."""
    with closing(sqlite3.connect(database)) as db, db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for column in _PLACES & {row[1] for row in db.execute(f"PRAGMA table_info({identifier(table)})")}:
                change = f"UPDATE {identifier(table)} SET {column} = replace({column}, ?, ?)"
                db.execute(f"{change} WHERE instr({column}, ?)", (f"{there}/", f"{here}/", f"{there}/"))


def _copy_online(production: Environment, made: Environment) -> None:
    if not (production.online / "current").is_file():
        return
    with exclusive_lock(production.online / "publish.lock"):
        current = (production.online / "current").read_text(encoding="utf-8").strip()
        serving = production.online / "versions" / f"{current}.sqlite"
        (made.online / "versions").mkdir(parents=True, exist_ok=True)
        if serving.is_file():
            copy_file(serving, made.online / "versions" / serving.name)
            copy_file(production.online / "current", made.online / "current")


def _copy_tree(source: Path, target: Path) -> None:
    """A copy of a file or folder, sharing blocks where the file system can."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for entry in source.iterdir():
            if not entry.name.endswith(_UNFINISHED):
                _copy_tree(entry, target / entry.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_file(source, target)
    shutil.copystat(source, target)


def copy_database(source: Path, target: Path) -> None:
    """A copy of an SQLite file as it is at one moment, whoever writes to it."""
    if not source.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(source, timeout=60)) as given, closing(sqlite3.connect(target)) as made:
        given.backup(made)


def _known_files(ledger: Path) -> list[LakeObject]:
    if not ledger.is_file():
        return []
    query = (
        "SELECT path, version, size_bytes FROM file WHERE state != 'deleted' AND version NOT IN ('', 'unknown') GROUP BY path"
    )
    with closing(sqlite3.connect(ledger)) as db:
        return [LakeObject(*row) for row in db.execute(query)]


def _tables(home: Path) -> list[Path]:
    return sorted(path for path in home.iterdir() if (path / "_delta_log").is_dir()) if home.is_dir() else []


def _taken(held: ExitStack, lock: Path) -> bool:
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = held.enter_context(lock.open("a"))
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
