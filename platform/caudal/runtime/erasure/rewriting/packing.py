"""The same for what is compressed or in an archive: unpacked, written anew, and packed again in the same way."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import zipfile
from collections.abc import Collection, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from caudal.lake.readers import archives
from caudal.lake.readers.compression import Packed, compression_of, decompressed
from caudal.runtime.erasure.rewriting import WORKBOOK, CannotRewrite, take_out

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from typing import BinaryIO

    from caudal.lake.dataset import Dataset
    from caudal.lake.readers.compression import StreamKind

_PIECE_BYTES = 1 << 20
_HEAD_BYTES = 16

#: Methods of zip archives that can be written.
_WRITTEN = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2})


def take_out_packed(
    dataset: Dataset, held: Path, gone: Mapping[str | None, Collection[int]], target: Path, work: Path
) -> list[str]:
    """As `take_out`, of a file as it is in the lake; the names of files in an archive that are copied and never read.

    Args:
        gone: the places of rows by the member that they stand in, None for the file itself.
        work: an empty folder.

    Raises:
        CannotRewrite: as `take_out`, or it is packed with what cannot be written.

    """
    if dataset.format == "excel":
        raise CannotRewrite(WORKBOOK)
    kind = _kind(dataset, held)
    if kind == "zip":
        return _in_archive(dataset, held, gone, target, work)
    _in_stream(dataset, held, kind, gone[None], target, work)
    return []


def _kind(dataset: Dataset, held: Path) -> StreamKind | str | None:
    if dataset.compression == "none":
        return None
    with held.open("rb") as opened:
        return compression_of(opened.read(_HEAD_BYTES))


def _in_stream(
    dataset: Dataset, held: Path, kind: StreamKind | str | None, gone: Collection[int], target: Path, work: Path
) -> None:
    if kind is None:
        take_out(dataset, held, gone, target)
        return
    unpacked, taken = work / "unpacked", work / "taken"
    with held.open("rb") as opened, unpacked.open("wb") as written:
        for piece in decompressed(Packed(opened), cast("StreamKind", kind), held.name):
            written.write(piece)
    take_out(dataset, unpacked, gone, taken)
    with taken.open("rb") as source, target.open("wb") as file, _packer(kind, file) as packer:
        shutil.copyfileobj(source, packer, _PIECE_BYTES)
    unpacked.unlink()
    taken.unlink()


@contextmanager
def _packer(kind: str, file: BinaryIO) -> Generator[Any]:
    """What packs all that is written to it into `file`."""
    import pyarrow as pa

    if kind == "zstd":
        with pa.CompressedOutputStream(pa.PythonFile(file, mode="w"), "zstd") as packer:
            yield packer
        return
    packers: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    with packers[kind](file, "wb") as packer:
        yield packer


def _in_archive(
    dataset: Dataset, held: Path, gone: Mapping[str | None, Collection[int]], target: Path, work: Path
) -> list[str]:
    """Every entry keeps its name, time, rights and method; the content of those without such rows stays the same."""
    unread = []
    with held.open("rb") as opened, zipfile.ZipFile(opened) as archive, zipfile.ZipFile(target, "w") as made:
        entries = archives.entries_of(opened, held.name, dataset.limits.members)
        wanted = {entry.name for entry in archives.chosen(entries, dataset.members, held.name)}
        made.comment = archive.comment
        for info in archive.infolist():
            if info.compress_type not in _WRITTEN:
                raise CannotRewrite(f"{info.orig_filename} in it is packed with a method that is only read here")
            extracted, taken = work / "extracted", work / "member"
            with archive.open(info) as source, extracted.open("wb") as written:
                shutil.copyfileobj(source, written, _PIECE_BYTES)
            places = gone.get(info.orig_filename)
            if places:
                with extracted.open("rb") as head:
                    kind = compression_of(head.read(_HEAD_BYTES))
                _in_stream(dataset, extracted, kind, places, taken, work)
            else:
                extracted.replace(taken)
            if info.orig_filename not in wanted and not info.is_dir():
                unread.append(info.orig_filename)
            copy = zipfile.ZipInfo(info.orig_filename, info.date_time)
            copy.compress_type, copy.comment = info.compress_type, info.comment
            copy.external_attr, copy.create_system = info.external_attr, info.create_system
            copy.file_size = taken.stat().st_size
            with taken.open("rb") as source, made.open(copy, "w") as entry:
                shutil.copyfileobj(source, entry, _PIECE_BYTES)
            for each in (extracted, taken):
                each.unlink(missing_ok=True)
    return unread
