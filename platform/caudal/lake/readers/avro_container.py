"""Avro object container files: the schema, and blocks of records, each unpacked by itself.

Source: Apache Avro 1.12 specification, "Object Container Files". Such a file does not say how many blocks it has: one that was
cut exactly between two is whole as far as can be told.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from caudal.lake.readers.compression import StreamKind, decompressed
from caudal.lake.readers.rows import Unreadable

_MAGIC = b"Obj\x01"
_SYNC_BYTES = 16
_SCHEMA_BYTES = 16 << 20

#: A block is at most so large, packed and unpacked. Writers make blocks of some KiB to some MiB.
_BLOCK_BYTES = 64 << 20

_STREAMS: dict[str, StreamKind] = {"bzip2": "bz2", "xz": "xz", "zstandard": "zstd"}
_CODECS = ("null", "deflate", "snappy", *_STREAMS)
_CHECKSUM_BYTES = 4


class _Cut(Exception):
    """The file ends where something was expected."""


@dataclass(frozen=True)
class Container:
    """An opened file, at its first block."""

    schema: Any
    codec: str
    sync: bytes
    opened: BinaryIO
    name: str

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield of each block how many records it has, and their bytes.

        Raises:
            Unreadable: the file is damaged, or was not written to its end.

        """
        number = 0
        try:
            while (count := _long(self.opened, may_end=True)) is not None:
                number += 1
                size = _whole(self.opened)
                if count < 0 or size < 0 or size > _BLOCK_BYTES:
                    raise self._damaged(number, f"it says that it has {count} records in {size} bytes")
                data = _exactly(self.opened, size)
                if _exactly(self.opened, _SYNC_BYTES) != self.sync:
                    raise self._damaged(number, "its end is not where it says")
                yield count, self._unpacked(data, number)
        except _Cut:
            raise self._damaged(number, "the file ends inside it") from None

    def _unpacked(self, data: bytes, number: int) -> bytes:
        if self.codec == "null":
            return data
        if self.codec == "snappy":
            return self._unsnapped(data, number)
        if self.codec == "deflate":
            return self._inflated(data, number)
        pieces, size = [], 0
        for piece in decompressed([data], _STREAMS[self.codec], f"{self.name}, block {number}") if data else ():
            size += len(piece)
            if size > _BLOCK_BYTES:
                raise self._damaged(number, f"it unpacks to more than {_BLOCK_BYTES >> 20} MiB")
            pieces.append(piece)
        return b"".join(pieces)

    def _inflated(self, data: bytes, number: int) -> bytes:
        """Some writers leave bytes of zlib's checksum at the end, which mean nothing here."""
        decoder = zlib.decompressobj(-15)
        try:
            unpacked = decoder.decompress(data, _BLOCK_BYTES + 1)
        except zlib.error as broken:
            raise self._damaged(number, broken) from None
        if len(unpacked) > _BLOCK_BYTES:
            raise self._damaged(number, f"it unpacks to more than {_BLOCK_BYTES >> 20} MiB")
        if not decoder.eof or len(decoder.unused_data) > _CHECKSUM_BYTES:
            raise self._damaged(number, "its packed data end elsewhere")
        return unpacked

    def _unsnapped(self, data: bytes, number: int) -> bytes:
        """What follows the length that Snappy writes first; the checksum is the last 4 bytes."""
        import pyarrow as pa

        packed, size, shift = data[:-4], 0, 0
        for byte in packed[:5]:
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if size > _BLOCK_BYTES or len(data) < 5:
            raise self._damaged(number, f"it unpacks to more than {_BLOCK_BYTES >> 20} MiB, or is cut")
        try:
            unpacked = pa.decompress(packed, decompressed_size=size, codec="snappy", asbytes=True)
        except (OSError, pa.ArrowException) as broken:
            raise self._damaged(number, broken) from None
        if zlib.crc32(unpacked) != struct.unpack(">I", data[-4:])[0]:
            raise self._damaged(number, "its checksum is another")
        return unpacked

    def _damaged(self, number: int, why: object) -> Unreadable:
        return Unreadable(f"{self.name}, block {number}: the Avro file is damaged or was not written to its end ({why})")


def open_container(opened: BinaryIO, name: str) -> Container:
    """Read what comes before the first block.

    Raises:
        Unreadable: it is no Avro file, is damaged, or is packed with what is not read.

    """
    try:
        opened.seek(0)
        if _exactly(opened, 4) != _MAGIC:
            raise Unreadable(f"{name}: it does not start as an Avro file does. Deliver an object container file")
        meta = _metadata(opened)
        sync = _exactly(opened, _SYNC_BYTES)
        schema = json.loads(meta[b"avro.schema"])
    except (_Cut, KeyError, ValueError, RecursionError) as broken:
        told = "it ends too early" if isinstance(broken, _Cut) else "its schema cannot be read"
        raise Unreadable(f"{name}: the Avro file is damaged or was not written to its end ({told}). Deliver it again") from None
    codec = meta.get(b"avro.codec", b"null").decode("utf-8", "replace")
    if codec not in _CODECS:
        raise Unreadable(f"{name}: its codec is `{codec[:40]}`; expected one of {', '.join(_CODECS)}")
    return Container(schema, codec, sync, opened, name)


def _metadata(opened: BinaryIO) -> dict[bytes, bytes]:
    meta: dict[bytes, bytes] = {}
    left = _SCHEMA_BYTES
    while count := _whole(opened):
        if count < 0:
            _whole(opened)
        for _ in range(abs(count)):
            pair = []
            for _part in range(2):
                size = _whole(opened)
                left -= size
                if size < 0 or left < 0:
                    raise ValueError(size)
                pair.append(_exactly(opened, size))
            meta[pair[0]] = pair[1]
    return meta


def _exactly(opened: BinaryIO, size: int) -> bytes:
    data = opened.read(size)
    if len(data) < size:
        raise _Cut
    return data


def _whole(opened: BinaryIO) -> int:
    found = _long(opened)
    assert found is not None
    return found


def _long(opened: BinaryIO, *, may_end: bool = False) -> int | None:
    """A zigzag number of variable length; None where the file ends and may."""
    value = shift = 0
    while True:
        byte = opened.read(1)
        if not byte:
            if may_end and not shift:
                return None
            raise _Cut
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return (value >> 1) ^ -(value & 1)
        if shift > 63:
            raise _Cut
