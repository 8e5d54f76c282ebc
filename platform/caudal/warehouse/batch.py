"""The files of one batch, normalized: what one commit of the raw table will hold, and what became of each file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.records import LedgerFile, Outcome, Repair
from caudal.store import LakeObject
from caudal.warehouse.parts import LakeFile, Normalized, Quarantined, normalize_many, write_quarantined
from caudal.warehouse.release import apply_repairs
from caudal.warehouse.suppression import Suppressed, without_suppressed

if TYPE_CHECKING:
    import duckdb

    from caudal.contracts import Column
    from caudal.lake.dataset import Dataset
    from caudal.store import Store

    #: Gives a private database.
    Connect = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]

_PIECE = 1 << 20


@dataclass(frozen=True)
class Prepared:
    """What a batch will commit.

    Attributes:
        outcomes: of each file that was read.
        parts, rejects: Parquet files in the work folder.
        undeclared: columns that some file has and the contract does not, each with the first file that has it.
        unstable: files that changed or vanished while they were read.
        left_out: the paths of keys inside structs that the contract does not have.

    """

    outcomes: tuple[Outcome, ...]
    parts: tuple[Path, ...]
    rejects: tuple[Path, ...]
    undeclared: dict[str, tuple[Column, str]]
    unstable: frozenset[str]
    left_out: frozenset[str] = frozenset()

    @classmethod
    def of(cls, shards: Sequence[Prepared]) -> Prepared:
        """Several as one."""
        undeclared: dict[str, tuple[Column, str]] = {}
        for shard in shards:
            undeclared = shard.undeclared | undeclared
        return cls(
            tuple(o for s in shards for o in s.outcomes),
            tuple(p for s in shards for p in s.parts),
            tuple(p for s in shards for p in s.rejects),
            undeclared,
            frozenset().union(*(s.unstable for s in shards)),
            frozenset().union(*(s.left_out for s in shards)),
        )


def prepare_files(
    connect: Connect,
    store: Store,
    dataset: Dataset,
    files: Sequence[LedgerFile],
    *,
    repairs: Sequence[Repair],
    copies: Callable[[dict[str, str]], dict[str, str]],
    loaded_at: datetime,
    work: Path,
    listed: Suppressed,
) -> Prepared:
    """Normalize files of the lake in the versions that the ledger knows.

    Args:
        repairs: repaired rows of any of the files.
        copies: asked with the content of each file, by path, which of them are loaded under another path, and which.
        work: an empty folder.
        listed: people whose rows are left out.

    """
    held = {f.path: h for f in files if (h := store.fetch(_object(f), work / "held")) is not None}
    contents = {path: _hash(file) for path, file in held.items()} if dataset.copies == "refuse" else {}
    refused = _refused_copies(contents, copies)
    wanted = [LakeFile(f.path, f.version, held[f.path]) for f in files if f.path in held and f.path not in refused]
    with connect() as connection:
        results = list(normalize_many(connection, dataset, wanted, loaded_at=loaded_at, into=work))
        results = apply_repairs(connection, dataset, results, repairs, loaded_at=loaded_at, work=work)
        results = without_suppressed(connection, dataset, results, listed, work)
    results += [Quarantined(f.path, f.version, _copy_message(f.path, refused[f.path])) for f in files if f.path in refused]
    quarantined = [r for r in results if isinstance(r, Quarantined)]
    normalized = [r for r in results if isinstance(r, Normalized)]
    rejects = [r.rejects for r in normalized if r.rejects is not None]
    if quarantined:
        rejects.append(write_quarantined(quarantined, loaded_at, work))
    outcomes = _outcomes(results)
    return Prepared(
        tuple(replace(o, content=contents.get(path), copy_of=refused.get(path)) for path, o in outcomes.items()),
        tuple(r.part for r in normalized if r.part is not None),
        tuple(rejects),
        {c.name: (c, r.files[0].path) for r in reversed(normalized) for c in r.undeclared},
        frozenset(f.path for f in files if f.path not in held or not store.unchanged(f.path, f.version)),
        frozenset(path for r in normalized for path in r.left_out),
    )


@dataclass
class _Sum:
    counts: list[tuple[int, int, int, int]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    members: bool = False
    dialect: str | None = None


def _outcomes(results: Iterable[Normalized | Quarantined]) -> dict[str, Outcome]:
    """What became of each lake file, its members taken together."""
    sums: dict[str, _Sum] = {}
    for result in results:
        if isinstance(result, Quarantined):
            told = sums.setdefault(result.path, _Sum())
            told.unreadable.append(result.reason)
            told.members |= result.member is not None
            continue
        for f in result.files:
            told = sums.setdefault(f.path, _Sum())
            told.counts.append((f.rows_read, f.rows_loaded, f.rows_rejected, f.rows_erased))
            told.members |= f.member is not None
            told.dialect = told.dialect or f.dialect
    return {path: _outcome(path, told) for path, told in sums.items()}


def _outcome(path: str, told: _Sum) -> Outcome:
    if not told.counts:
        return Outcome(path, unreadable="\n".join(told.unreadable), has_members=told.members)
    read, loaded, rejected, erased = (sum(c[i] for c in told.counts) for i in range(4))
    note = None
    if told.unreadable:
        of = len(told.counts) + len(told.unreadable)
        note = f"{len(told.unreadable)} of its {of} members are in quarantine: " + "; ".join(told.unreadable)
    outcome = Outcome(path, read, loaded, rejected, note=note, has_members=told.members, dialect=told.dialect)
    return replace(outcome, rows_erased=erased)


def _refused_copies(contents: dict[str, str], copies: Callable[[dict[str, str]], dict[str, str]]) -> dict[str, str]:
    """The paths of files that are copies, each with the path of the original: a loaded file, or another of these files."""
    if not contents:
        return {}
    refused = copies(contents)
    first: dict[str, str] = {}
    for path in sorted(contents.keys() - refused.keys()):
        original = first.setdefault(contents[path], path)
        if original != path:
            refused[path] = original
    return refused


def _copy_message(path: str, original: str) -> str:
    return (
        f"{path}: it has the same content as `{original}`, byte for byte, which is loaded. Delete one of the two, or declare "
        "`copies: load` if both are meant"
    )


def _hash(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _object(file: LedgerFile) -> LakeObject:
    return LakeObject(file.path, file.version, file.size_bytes)
