"""Telling by its first bytes what a file really is, so that a wrong one is named for what it is."""

from __future__ import annotations

from pathlib import Path

from caudal.lake.readers.rows import Unreadable

#: Read from the start of a file to tell what it is.
_HEAD_BYTES = 1024

_SIGNATURES = (
    (b"PAR1", "a Parquet file"),
    (b"PARE", "an encrypted Parquet file"),
    (b"PK\x03\x04", "a zip archive (an Excel workbook is one)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE document (an old Excel workbook, or one with a password, is one)"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"BZh", "bzip2-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"\xfd7zXZ\x00", "xz-compressed data"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"ARROW1", "an Arrow file"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x04\x22\x4d\x18", "lz4-compressed data"),
    (b"\x1f\x9d", "compress-compressed data (.Z)"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy-compressed data"),
    (b"{\\rtf", "an RTF document"),
    (b"\x00\x01\x00\x00Standard ", "an Access database"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"FEA1", "a Feather file"),
    (b"SEQ\x06", "a Hadoop sequence file"),
    (b"-----BEGIN PGP", "a PGP-encrypted message"),
    (b"\x7fELF", "a program"),
)

#: Where a tar archive has its mark.
_TAR_MARK = 257

_MARKUP = ((b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<?xml", "an XML document"))


def head_of(file: Path, path: str, wanted: str) -> bytes:
    """The first bytes of `file`.

    Raises:
        Unreadable: it cannot be opened, or is empty.

    """
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD_BYTES)
    except OSError as failed:
        raise Unreadable(f"{path}: cannot be opened: {failed.strerror or type(failed).__name__}") from None
    if not head:
        raise Unreadable(
            f"{path}: the file is empty (0 bytes); expected {wanted}. It was probably not written to its end: deliver it again"
        )
    return head


def recognised(head: bytes) -> str | None:
    """What a file that starts with `head` is, if it is not text: such as `a Parquet file`. None if nothing tells."""
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[_TAR_MARK : _TAR_MARK + 5] == b"ustar":
        return "a tar archive"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((name for signature, name in _MARKUP if start.startswith(signature)), None)


def refuse_other_content(head: bytes, path: str, wanted: str) -> None:
    """Refuse what is recognisably no text.

    Raises:
        Unreadable: it says what the file is.

    """
    found = recognised(head)
    if found:
        raise Unreadable(f"{path}: this is {found}, not {wanted}. Deliver {wanted}, or declare the dataset's format otherwise")
