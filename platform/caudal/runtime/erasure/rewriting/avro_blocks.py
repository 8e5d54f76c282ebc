"""Records taken out of Avro files: the header and blocks without such records stay byte for byte, others are packed anew."""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from caudal.lake.readers.avro_container import open_container
from caudal.lake.readers.avro_types import without_logical_types

if TYPE_CHECKING:
    from pathlib import Path

    from caudal.lake.dataset import Dataset


def without_records(_dataset: Dataset, held: Path, gone: Collection[int], target: Path) -> None:
    """As `take_out`."""
    import fastavro

    wanted = frozenset(gone)
    with held.open("rb") as opened, held.open("rb") as copied, target.open("wb") as written:
        container = open_container(opened, held.name)
        schema = fastavro.parse_schema(without_logical_types(container.schema))
        written.write(copied.read(opened.tell()))
        first = 1
        for count, data in container.blocks():
            block = copied.read(opened.tell() - copied.tell())
            if wanted.isdisjoint(range(first, first + count)):
                written.write(block)
            else:
                kept = _kept(schema, data, [n not in wanted for n in range(first, first + count)])
                if kept:
                    packed = _packed(b"".join(kept), container.codec)
                    written.write(_long(len(kept)) + _long(len(packed)) + packed + container.sync)
            first += count


def _kept(schema: Any, data: bytes, stays: list[bool]) -> list[bytes]:
    """The bytes of the records that stay."""
    import fastavro

    stream, kept = io.BytesIO(data), []
    for each in stays:
        start = stream.tell()
        fastavro.schemaless_reader(stream, schema, None, handle_unicode_errors="surrogateescape")
        if each:
            kept.append(data[start : stream.tell()])
    return kept


def _packed(data: bytes, codec: str) -> bytes:
    import pyarrow as pa

    match codec:
        case "deflate":
            packer = zlib.compressobj(wbits=-15)
            return packer.compress(data) + packer.flush()
        case "bzip2":
            return bz2.compress(data)
        case "xz":
            return lzma.compress(data)
        case "snappy":
            return pa.compress(data, codec="snappy", asbytes=True) + struct.pack(">I", zlib.crc32(data))
        case "zstandard":
            return pa.compress(data, codec="zstd", asbytes=True)
    return data


def _long(value: int) -> bytes:
    """A number of 0 or more as Avro writes it: zigzag, of variable length."""
    rest, written = value << 1, bytearray()
    while rest > 0x7F:
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    written.append(rest)
    return bytes(written)
