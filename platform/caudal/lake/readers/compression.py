"""Compressed streams, told by their first bytes and unpacked piece by piece: whole, or refused."""

from __future__ import annotations

import bz2
import lzma
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from caudal.lake.options import Limits
from caudal.lake.readers.rows import Unreadable

StreamKind = Literal["gzip", "bz2", "zstd", "xz", "deflate"]

#: Read from a packed file, and given of an unpacked one, at most at a time.
_PACKED_PIECE, _PIECE = 64 << 10, 1 << 20

#: Free disk is looked at again after so many bytes.
_DISK_STEP = 16 << 20

#: What xz may hold in memory; its highest preset needs 65 MiB.
_XZ_MEMORY = 256 << 20


def compression_of(head: bytes) -> Literal["gzip", "bz2", "zstd", "xz", "zip"] | None:
    """What a file that starts with `head` is packed with; None if it is not."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if head[:3] == b"BZh" and head[3:4].isdigit() and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bz2"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    return "zip" if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) else None


class Budget:
    """What a lake file, or the members of one, may still cost.

    Args:
        into: where it is unpacked.

    """

    def __init__(self, limits: Limits, into: Path) -> None:
        self.limits = limits
        self.into = into
        self.unpacked_bytes = 0
        self._disk_seen_at = -_DISK_STEP

    def expect(self, unpacked_bytes: int, name: str) -> None:
        """Refuse at once what says itself that it is too large.

        Raises:
            Unreadable: a limit would be reached.

        """
        if unpacked_bytes > self.limits.unpacked_bytes:
            raise self._too_large(name)
        self._look_at_disk(unpacked_bytes, name)

    def write(self, pieces: Iterable[bytes], packed: Packed, name: str) -> Path:
        """Write `pieces`, unpacked from `packed`, to a file of its own, and return it. Nothing is left if that fails.

        Raises:
            Unreadable: a limit is reached, or `pieces` raises it.

        """
        target = self.into / f"{uuid.uuid4().hex}.unpacked"
        written = 0
        try:
            with target.open("wb") as opened:
                for piece in pieces:
                    written += len(piece)
                    self._spend(len(piece), written, packed.read_bytes, name)
                    opened.write(piece)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return target

    def _spend(self, spent: int, written: int, packed: int, name: str) -> None:
        limits = self.limits
        self.unpacked_bytes += spent
        if self.unpacked_bytes > limits.unpacked_bytes:
            raise self._too_large(name)
        if written > limits.ratio_from_bytes and written > limits.ratio * packed:
            raise Unreadable(
                f"{name}: {_size(packed)} of it unpack to more than {_size(int(limits.ratio * packed))}, {limits.ratio:g} "
                "times as much, as those of a decompression bomb do. If that is right, raise `limits.ratio`"
            )
        if self.unpacked_bytes - self._disk_seen_at >= _DISK_STEP:
            self._disk_seen_at = self.unpacked_bytes
            self._look_at_disk(_DISK_STEP, name)

    def _too_large(self, name: str) -> Unreadable:
        limit = _size(self.limits.unpacked_bytes)
        return Unreadable(f"{name}: unpacked it is larger than {limit}. If it is to be, raise `limits.unpacked_bytes`")

    def _look_at_disk(self, needed: int, name: str) -> None:
        kept = self.limits.free_disk_bytes
        if shutil.disk_usage(self.into).free - needed < kept:
            raise Unreadable(
                f"{name}: there is not enough free disk to unpack it: {_size(kept)} must stay free (`limits.free_disk_bytes`). "
                "Free some, and load it again"
            )


class Packed:
    """Bytes of a file, piece by piece, counted."""

    def __init__(self, opened: BinaryIO, size: int | None = None) -> None:
        self._opened, self._left = opened, size
        self.read_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._opened.read(_PACKED_PIECE if self._left is None else min(_PACKED_PIECE, self._left)):
            self.read_bytes += len(piece)
            if self._left is not None:
                self._left -= len(piece)
            yield piece


def peeked(pieces: Iterable[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """The first `size` bytes, and all pieces."""
    iterator = iter(pieces)
    head, taken = b"", []
    for piece in iterator:
        taken.append(piece)
        head += piece[: size - len(head)]
        if len(head) >= size:
            break
    return head, chain(taken, iterator)


def decompressed(pieces: Iterable[bytes], kind: StreamKind, name: str) -> Iterator[bytes]:
    """Yield what `pieces` unpack to. Several streams one after the other are one; zeros between and after them are none.

    Raises:
        Unreadable: the stream is damaged, does not end, or something else follows its end.

    """
    if kind == "zstd":
        return _zstd(pieces, name)
    new: dict[str, Callable[[], _Decoder]] = {
        "gzip": lambda: _Inflate(31),
        "deflate": lambda: _Inflate(-15),
        "bz2": bz2.BZ2Decompressor,
        "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
    }
    return _streams(pieces, new[kind], kind, name)


class _Decoder(Protocol):
    def decompress(self, data: bytes, max_length: int) -> bytes: ...

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...


class _Inflate:
    """zlib's decoder with the interface of the others."""

    def __init__(self, window_bits: int) -> None:
        self._zlib = zlib.decompressobj(window_bits)
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int) -> bytes:
        given = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = not self._zlib.unconsumed_tail and len(given) < max_length
        return given

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data


def _streams(pieces: Iterable[bytes], new: Callable[[], _Decoder], kind: StreamKind, name: str) -> Iterator[bytes]:
    decoder: _Decoder | None = None
    ended = 0
    for packed in pieces:
        piece = packed
        while piece or not (decoder is None or decoder.needs_input):
            if decoder is None:
                piece = piece.lstrip(b"\0") if ended else piece
                if not piece:
                    break
                if ended and kind == "deflate":
                    raise _followed(name, kind)
                decoder = new()
            try:
                given = decoder.decompress(piece, _PIECE)
            except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as damaged:
                raise (_followed(name, kind) if ended else _damaged(name, kind, damaged)) from None
            piece = b""
            if given:
                yield given
            if decoder.eof:
                piece, decoder, ended = decoder.unused_data, None, ended + 1
    if decoder is not None or not ended:
        raise _damaged(name, kind, "it does not end")


class _Readable:
    """Pieces as a file that pyarrow reads."""

    closed = False

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        given, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return given

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def _zstd(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    import pyarrow as pa

    stream = pa.CompressedInputStream(pa.PythonFile(_Readable(pieces), mode="r"), "zstd")
    while True:
        try:
            given = stream.read(_PIECE)
        except (OSError, pa.ArrowException) as damaged:
            raise _damaged(name, "zstd", damaged) from None
        if not given:
            return
        yield given


def _damaged(name: str, kind: str, why: object) -> Unreadable:
    told = " ".join(str(why).split())[:200]
    return Unreadable(f"{name}: the {kind} data are damaged or were not written to their end ({told}). Deliver the file again")


def _followed(name: str, kind: str) -> Unreadable:
    return Unreadable(
        f"{name}: something that is no {kind} data follows the end of the compressed data. Deliver the file again"
    )


def _size(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} bytes"
