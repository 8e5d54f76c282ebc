"""Looks for one person in files of the lake: those that loads read, and those that none could."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from caudal.lake.ledger import Ledger
from caudal.lake.readers.compression import Packed, compression_of, decompressed
from caudal.lake.readers.content import recognised
from caudal.lake.readers.rows import Unreadable
from caudal.runtime.erasure.lake_files import LakeFiles, work_folder
from caudal.runtime.erasure.plan import Place
from caudal.runtime.erasure.rewriting import WORKBOOK, CannotRewrite

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from caudal.environment import Environment
    from caudal.lake.records import LedgerFile
    from caudal.runtime.erasure.subjects import Where
    from caudal.warehouse.suppression import Suppressed

#: Formats whose files can be searched as they are.
_TEXT = ("csv", "jsonl", "json", "xml", "fixed_width")
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "cp1252", "cp850")

_STAYS = "left as it is; its rows of the person are never loaded again"
_WORKBOOK_STAYS = f"LEFT AS IT IS: {WORKBOOK}. Take the rows out yourself; no load lets them in"


def lake_places(
    env: Environment, where: Where, listed: Suppressed, found: Sequence[Place], value: str, *, rewrite_lake: bool
) -> Iterator[Place]:
    """The lake files that hold something of the person, or may.

    Args:
        found: in tables, by which the files are known that have brought rows. Besides, those are read of which no row is in a
            table: of which rows were erased before, or that wait, or could not be read.
        value: by which the person is looked for in files that cannot be read.
        rewrite_lake: files are written anew: each is here, beside the lake, so that what cannot be is known before the review.

    """
    brought = Counter[str]()
    for place in found:
        brought.update({path: rows for path, (_, rows) in place.files.items()})
    with work_folder(env) as work:
        for dataset in where.datasets:
            files = LakeFiles(env, dataset, where.columns(dataset), listed, work)
            for file in sorted(Ledger(env.state / "ledger.db").files(dataset.id), key=lambda f: f.path):
                if file.state == "deleted":
                    continue
                rows, reasons = brought[file.path], []
                if _is_to_be_read(file, rows) and (held := files.look(file.path)) is not None:
                    rows, reasons = held.count, held.unreadable
                if rows:
                    action, is_left = _of_readable(files, file.path) if rewrite_lake else (_unwritten(files), True)
                    yield Place("lake file", file.path, rows, action, {}, is_left)
                elif reasons and (action := _of_unreadable(files, file.path, value)):
                    yield Place("unread file", file.path, None, action, {}, is_left=True)


def _is_to_be_read(file: LedgerFile, rows: int) -> bool:
    return bool(file.note) or (not rows and (file.state != "loaded" or file.rows_erased > 0))


def _unwritten(files: LakeFiles) -> str:
    return _WORKBOOK_STAYS if files.dataset.format == "excel" else _STAYS


def _of_readable(files: LakeFiles, path: str) -> tuple[str, bool]:
    try:
        rewritten = files.rewrite(path, only_try=True)
    except CannotRewrite as stays:
        return str(stays), True
    return rewritten.told, bool(rewritten.unread)


def _of_unreadable(files: LakeFiles, path: str, value: str) -> str | None:
    """What to do about a file that no load could read; None if it is text in which the person does not stand."""
    with files.fetched(path) as (_, held):
        stands = held is not None and _stands_in(held, value, is_text=files.dataset.format in _TEXT)
    if stands is None:
        return "NOT LOOKED INTO: no load can read it, nor can it be searched as text. Look yourself, and delete it if in doubt"
    if stands:
        return "LEFT AS IT IS: no load can read it, and the value stands in it. Take that out yourself, or delete the file"
    return None


def _stands_in(file: Path, value: str, *, is_text: bool) -> bool | None:
    """Whether what may be compressed holds the value; None if that cannot be told."""
    with file.open("rb") as opened:
        head = opened.read(1024)
        kind = compression_of(head)
        if kind == "zip" or (kind is None and recognised(head) not in (None, "an HTML page", "an XML document")):
            return None
        opened.seek(0)
        packed = Packed(opened)
        try:
            found = _is_among(decompressed(packed, kind, "") if kind else packed, value)
        except Unreadable:
            return None
    return found if found or is_text else None


def _is_among(pieces: Iterable[bytes], value: str) -> bool:
    sought = {json.dumps(value)[1:-1].encode()}
    for encoding in _ENCODINGS:
        with suppress(UnicodeEncodeError):
            sought.add(value.encode(encoding))
    longest, rest = max(map(len, sought)) + 1, b""
    word = re.compile(b"(?<![0-9A-Za-z])(?:" + b"|".join(map(re.escape, sought)) + b")(?![0-9A-Za-z])")
    for piece in pieces:
        data = rest + piece
        if word.search(data):
            return True
        rest = data[-longest:]
    return False
