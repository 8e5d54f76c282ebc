"""Files to the bucket: each is created if nothing is there, and its MD5 digest compared with the one that the server keeps."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.runtime.migration.journal import CopiedObject, Journal
from caudal.store import LakeObject, Store, open_store
from caudal.store.remote import md5_of

if TYPE_CHECKING:
    from caudal.store.gcs import GoogleStore

#: Files on their way at once, and written into the journal at once.
_AT_ONCE = 16
_AT_A_TIME = 256


class Differs(RuntimeError):
    """What is in the target is not what is in the source. The message names it."""


def copy(journal: Journal, kind: str, source: str, target: str, acts_as: str | None) -> tuple[int, int]:
    """Copy what is new or changed at the URL `source` to `target`; how many files there are, and how many were copied.

    Raises:
        Differs: something else is there already, or a file changed while it was copied.

    """
    given, made = open_store(source), _google(target, acts_as)
    begun, listed = journal.objects(kind), sorted(given.list(""), key=lambda found: found.path)
    todo = [found for found in listed if not is_there(begun.get(found.path), found)]
    with tempfile.TemporaryDirectory(prefix="caudal-migrate-") as work, ThreadPoolExecutor(_AT_ONCE) as threads:
        for some in _batched(todo):
            ours = [found.path in begun for found in some]
            # What is there after this process has died is ours.
            journal.copied(kind, [CopiedObject(f.path, f.version, f.size_bytes, "", "") for f in some])
            done = threads.map(lambda f, o: _copy(given, made, f, Path(work), ours=o), some, ours)
            journal.copied(kind, done)
    return len(listed), len(todo)


def is_there(known: CopiedObject | None, found: LakeObject) -> bool:
    """Whether the file was copied to its end, in the version that it has."""
    return known is not None and known.version == found.version and known.generation != ""


def differences(journal: Journal, kind: str, source: str, target: str, acts_as: str | None) -> list[str]:
    """What of the source is not in the target, byte by byte, and what is there besides."""
    given, made = open_store(source), _google(target, acts_as)
    listed = {found.path: found for found in given.list("")}
    there = {found.path for found in made.list("")}
    with tempfile.TemporaryDirectory(prefix="caudal-migrate-") as work, ThreadPoolExecutor(_AT_ONCE) as threads:
        told = threads.map(lambda f: _difference(given, made, f, Path(work)), listed.values())
        found = [line for line in told if line]
    copied = journal.objects(kind)
    found += [f"{path}: is in the target, and not in the source" for path in sorted(there - listed.keys())]
    found += [f"{path}: was copied, and is gone from the source" for path in sorted(copied.keys() - listed.keys() - there)]
    return found


def checksum(objects: Iterable[CopiedObject]) -> str:
    """Of paths and contents, in any order."""
    digest = hashlib.sha256()
    for each in sorted(objects, key=lambda o: o.path):
        digest.update(f"{each.path}\0{each.md5}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _copy(given: Store, made: GoogleStore, found: LakeObject, work: Path, *, ours: bool) -> CopiedObject:
    file = given.fetch(found, work)
    if file is None:
        raise Differs(f"{found.path}: it changed while it was copied; migrate again when nobody writes to {given.url}")
    try:
        digest = md5_of(file)
        if not made.create(found.path, file):
            there = made.digest(found.path)
            if there is None or there[1] != digest:
                if not ours:
                    raise Differs(f"{made.url}: {found.path} is there already, with another content; nothing is replaced")
                made.replace(found.path, file)
        there = made.digest(found.path)
    finally:
        file.unlink()
    if there is None or there[1] != digest:
        raise Differs(f"{made.url}: {found.path} does not have the content that was sent")
    return CopiedObject(found.path, found.version, found.size_bytes, digest.hex(), there[0].version)


def _difference(given: Store, made: GoogleStore, found: LakeObject, work: Path) -> str:
    file = given.fetch(found, work)
    if file is None:
        return f"{found.path}: changes in the source"
    try:
        there = made.digest(found.path)
        if there is None:
            return f"{found.path}: is not in the target"
        return "" if there[1] == md5_of(file) else f"{found.path}: has another content in the target"
    finally:
        file.unlink()


def _google(url: str, acts_as: str | None) -> GoogleStore:
    from caudal.store.gcs import GoogleStore

    store = open_store(url, acts_as)
    if not isinstance(store, GoogleStore):
        raise Differs(f"{url}: the target's files go to Google Cloud Storage; unset CAUDAL_LAKE, or let it name gs://...")
    return store


def _batched(things: Collection[LakeObject]) -> Iterator[tuple[LakeObject, ...]]:
    rest = iter(things)
    while some := tuple(itertools.islice(rest, _AT_A_TIME)):
        yield some
