"""Compaction and retention of raw tables and rejects, which no reader notices.

Loading many files makes many small ones, of which a table is read slowly, and replaced ones stay on disk. Upkeep writes small
files together, removes data files that no readable version has, and log entries before the oldest such version. Readable are
the newest version, those that a published version or the candidate pins (`pins`), and all that were the newest at some moment
of the grace period, for whoever opened one. It holds the dataset's lock while it changes something, as loaders do, so that
neither meets the other's commit. Each step leaves the table as good as it was: killed anywhere, it is run again.

A table on which nothing is worth doing costs one look: it is opened, and its two folders are listed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import exclusive_lock
from caudal.warehouse import delta, pins, settling
from caudal.warehouse.retention import expire_rejects

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

    #: Holds off loaders.
    Writing = Callable[[], AbstractContextManager[None]]

#: Longer than this Delta Lake's checkpoints do not remember which files were removed, and when.
LONGEST_GRACE_HOURS = 168

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")
_OF_VERSION = re.compile(r"(\d{20})\..+")
#: Names under which the library writes what it then renames: left behind where it was killed.
_UNFINISHED = re.compile(r".*#\d+|_commit_.*\.tmp")
_SECONDS_AN_HOUR = 3600
#: A table is to have about so many files, if that makes them neither smaller nor larger than these.
_FILES_OF_A_TABLE = 256
_LEAST_TARGET_BYTES, _MOST_TARGET_BYTES = 8 * 1024**2, 128 * 1024**2


@dataclass(frozen=True)
class Settings:
    """When what is done.

    Attributes:
        grace_hours: how long data stay readable after a newer version took their place, pinned or not.
        target_bytes: how large a file may become; None: as the table's size asks for. The more files, the longer it takes to
            open a table (17 ms with 300, 120 ms with 5,000); the larger they are, the more is written again when one lake file
            is replaced (0.06 s with files of 0.3 MB, 0.3 s with 8 MB, 2.4 s with 64 MB).
        small_files: so many files below a quarter of that are worth writing together.

    """

    grace_hours: int = 24
    target_bytes: int | None = None
    small_files: int = 16

    def __post_init__(self) -> None:
        if not 0 <= self.grace_hours <= LONGEST_GRACE_HOURS:
            raise ValueError(f"grace_hours is {self.grace_hours}; expected 0 to {LONGEST_GRACE_HOURS}, which is a week")

    def target_of(self, table_bytes: int) -> int:
        """How large a file of a table of this size may become."""
        return self.target_bytes or min(max(table_bytes // _FILES_OF_A_TABLE, _LEAST_TARGET_BYTES), _MOST_TARGET_BYTES)


@dataclass(frozen=True)
class Size:
    """A table at one moment: its newest version, the files of that, and all that lies on disk.

    Attributes:
        files, bytes: of the newest version.
        files_on_disk, bytes_on_disk: data files of any version.
        log_entries: files of the log.

    """

    version: int
    files: int
    bytes: int
    files_on_disk: int
    bytes_on_disk: int
    log_entries: int


@dataclass(frozen=True)
class Tended:
    """What was done to one table.

    Attributes:
        table: `raw/...` or `quarantine/...`.
        kept: older versions that stay readable, each with who reads it.
        rejects_removed: rejects that were older than the dataset keeps them, or of files that are gone.
        note: why something was left undone, or "".

    """

    table: str
    before: Size
    after: Size
    kept: Mapping[int, str] = field(default_factory=dict)
    rejects_removed: int = 0
    seconds: float = 0.0
    note: str = ""


def tend(env: Environment, dataset: Dataset, settings: Settings) -> Iterator[Tended]:
    """Compact and clear the dataset's raw table and its rejects, as far as they exist; one result for each."""
    writing = partial(settling.writing, env, dataset)
    with exclusive_lock(env.state / "locks" / "upkeep.lock"):
        if env.cloud is not None:  # BigQuery keeps its tables itself: there is nothing to compact, and it forgets after a week.
            yield from _expired_on_bigquery(env, dataset, writing)
            return
        for home, name in ((env.raw, "raw"), (env.quarantine, "quarantine")):
            table = home / dataset.table
            if delta.version_of_table(table) is None:
                continue
            began = time.monotonic()
            before = _size(table)
            removed = expire_rejects(env, dataset, writing) if name == "quarantine" else 0
            _compact(table, settings, writing)
            kept, note = _clear(env, table, settings, writing)
            seconds = time.monotonic() - began
            yield Tended(f"{name}/{dataset.table}", before, _size(table), kept, removed, seconds, note)


def forget_history(env: Environment, dataset: Dataset) -> None:
    """Remove every older version of the dataset's raw table and rejects, however new, but for those that somebody pins.

    Raises:
        caudal.warehouse.pins.UnknownPins: a published version does not say which it reads.

    """
    from deltalake import DeltaTable

    writing = partial(settling.writing, env, dataset)
    at_once = Settings(grace_hours=0)
    with exclusive_lock(env.state / "locks" / "upkeep.lock"):
        for table in (env.raw / dataset.table, env.quarantine / dataset.table):
            if delta.version_of_table(table) is None:
                continue
            with writing():
                DeltaTable(str(table)).create_checkpoint()
            kept = _readable(env, table, at_once)
            _clear_data(table, at_once, sorted(kept), writing)
            _clear_log(table, at_once, min(kept), writing)


def _expired_on_bigquery(env: Environment, dataset: Dataset, writing: Writing) -> Iterator[Tended]:
    began = time.monotonic()
    removed = expire_rejects(env, dataset, writing)
    if removed:
        unknown = Size(0, 0, 0, 0, 0, 0)
        seconds, note = time.monotonic() - began, "BigQuery keeps the table's files itself"
        yield Tended(f"quarantine/{dataset.table}", unknown, unknown, {}, removed, seconds, note)


def _compact(table: Path, settings: Settings, writing: Writing) -> None:
    from deltalake import DeltaTable

    opened = DeltaTable(str(table))
    if not delta.TABLE_PROPERTIES.items() <= opened.metadata().configuration.items():
        with writing():
            opened.alter.set_table_properties(delta.TABLE_PROPERTIES)
    sizes = _sizes(opened)
    target = settings.target_of(sum(sizes))
    if sum(size < target // 4 for size in sizes) < settings.small_files:
        return
    with writing():
        opened.update_incremental()
        # One task: each holds the rows of its files that are being written.
        opened.optimize.compact(target_size=target, max_concurrent_tasks=1)
        opened.create_checkpoint()


def _clear(env: Environment, table: Path, settings: Settings, writing: Writing) -> tuple[dict[int, str], str]:
    """Remove what no readable version needs. The older versions that stay readable, and why nothing was removed, or ""."""
    try:
        kept = _readable(env, table, settings)
    except pins.UnknownPins as unknown:
        return {}, str(unknown)
    _clear_data(table, settings, sorted(kept), writing)
    _clear_log(table, settings, min(kept), writing)
    newest = max(kept)
    return {version: why for version, why in kept.items() if version != newest}, ""


def _readable(env: Environment, table: Path, settings: Settings) -> dict[int, str]:
    """The versions that must stay readable, each with the reason. Of those of the grace period only the oldest is named.

    A version that the log does not hold any more is read by nobody, whoever pins it.
    """
    newest = delta.version_of_table(table)
    assert newest is not None
    name = table.relative_to(env.warehouse).as_posix()
    commits = _log_files(table, _COMMIT)
    first = min([version for version, _ in _log_files(table, _CHECKPOINT)] + [v for v, _ in commits if v == 0])
    kept = {v: ", ".join(readers) for v, readers in pins.pinned(env).get(name, {}).items() if v >= first}
    if kept and max(kept) > newest:
        raise pins.UnknownPins(
            f"{name} is at version {newest}, and {kept[max(kept)]} reads version {max(kept)}: the table was made anew under "
            "its readers. Nothing is removed until they are gone"
        )
    since = _grace_start(settings)
    at_start = max((version for version, path in commits if _written(path) <= since), default=first)
    kept.setdefault(max(at_start, first), f"for who opened it in the last {settings.grace_hours} hours")
    kept.setdefault(newest, "the newest")
    return dict(sorted(kept.items()))


def _clear_data(table: Path, settings: Settings, keep: list[int], writing: Writing) -> None:
    from deltalake import DeltaTable

    needed = {Path(uri).name for uri in DeltaTable(str(table)).file_uris()}
    if all(path.name in needed for path in _data_files(table)):
        return

    def vacuum(*, dry_run: bool) -> list[str]:
        return DeltaTable(str(table)).vacuum(
            retention_hours=settings.grace_hours,
            enforce_retention_duration=False,
            full=True,
            keep_versions=keep,
            dry_run=dry_run,
        )

    if vacuum(dry_run=True):
        with writing():
            vacuum(dry_run=False)


def _clear_log(table: Path, settings: Settings, oldest: int, writing: Writing) -> None:
    """Remove the log before the last checkpoint that is not after the oldest readable version, oldest first."""
    base = max((version for version, _ in _log_files(table, _CHECKPOINT) if version <= oldest), default=0)
    needless = [path for version, path in sorted(_log_files(table, _OF_VERSION)) if version < base]
    since = _grace_start(settings)
    unfinished = [
        path
        for folder in (table, table / "_delta_log")
        for path in folder.iterdir()
        if _UNFINISHED.fullmatch(path.name) and _written(path) < since
    ]
    if needless or unfinished:
        with writing():
            for path in [*needless, *unfinished]:
                path.unlink(missing_ok=True)


def _size(table: Path) -> Size:
    from deltalake import DeltaTable

    opened = DeltaTable(str(table))
    sizes = _sizes(opened)
    on_disk = [path.stat().st_size for path in _data_files(table)]
    entries = len(_log_files(table, _OF_VERSION))
    return Size(opened.version(), len(sizes), sum(sizes), len(on_disk), sum(on_disk), entries)


def _sizes(opened: DeltaTable) -> list[int]:
    import pyarrow as pa

    return pa.table(opened.get_add_actions())["size_bytes"].to_pylist()


def _data_files(table: Path) -> list[Path]:
    return [path for path in table.iterdir() if path.suffix == ".parquet"]


def _log_files(table: Path, pattern: re.Pattern[str]) -> list[tuple[int, Path]]:
    found = ((pattern.fullmatch(path.name), path) for path in (table / "_delta_log").iterdir())
    return [(int(match[1]), path) for match, path in found if match]


def _written(path: Path) -> float:
    """When the file was written, in seconds since the epoch; for one that is no longer there, never."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _grace_start(settings: Settings) -> float:
    return time.time() - settings.grace_hours * _SECONDS_AN_HOUR
