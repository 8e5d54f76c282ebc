"""Large XML parts of a workbook in pieces, and where the tags of a piece stand, found by array operations.

The parts that can be large, sheets and shared strings, are lists of small items that machines write: millions of tags of a
dozen forms. What has a form of its own is left to `caudal.lake.readers.excel.slow_xml`, which reads all XML.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from caudal.lake.readers.excel.workbook import arrow_compute

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: Read first, which is enough for a header, and then at a time.
_FIRST_BYTES, _PIECE_BYTES = 128 << 10, 4 << 20

#: An item, such as a row, is no larger.
_ITEM_BYTES = 256 << 20

#: Tags that do not exist after the last one, so that looking ahead needs no care.
_AFTER = 8

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*encoding\s*=\s*["']([^"']+)""")
_ENTITY = re.compile(r"&(?:#(\d+)|#x([0-9a-fA-F]+)|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


def pieces(opened: IO[bytes], container: str, item: str) -> Iterator[bytes]:
    """The content of the element `container`, in pieces of whole elements `item`, in UTF-8 and without a namespace's prefix.

    Raises:
        ValueError: it is cut off, or no such part.

    """
    chunks = _in_utf8(_chunks(opened))
    opening = re.compile(rb"<(?:([\w.-]+):)?" + container.encode() + rb"(?:\s[^>]*?)?(/?)>")
    held = b""
    for chunk in chunks:
        held += chunk
        if found := opening.search(held):
            break
        if len(held) > _ITEM_BYTES:
            raise ValueError(f"no {container} in the first {len(held)} bytes")
    else:
        raise ValueError(f"no {container} in it")
    if b"<!DOCTYPE" in held[: found.start()]:
        raise ValueError("it declares a document type, which no workbook does")
    prefix = found[1] + b":" if found[1] else b""
    closing, finish = f"{item}>".encode(), container.encode()
    closing, finish = b"</" + prefix + closing, b"</" + prefix + finish
    held = held[found.end() :]
    while not found[2]:
        cut = held.rfind(closing)
        if cut >= 0:
            cut += len(closing)
            yield _without(prefix, held[:cut])
            held = held[cut:]
        if (end := held.find(finish)) >= 0:
            if held[:end].strip():
                yield _without(prefix, held[:end])
            break
        if len(held) > _ITEM_BYTES:
            raise ValueError(f"a {item} of more than {_ITEM_BYTES >> 20} MiB")
        chunk = next(chunks, None)
        if chunk is None:
            raise ValueError(f"{container} is cut off")
        held += chunk
    for _ in chunks:
        pass  # to its end, where the check sum is checked


def _without(prefix: bytes, piece: bytes) -> bytes:
    return piece.replace(b"<" + prefix, b"<").replace(b"</" + prefix, b"</") if prefix else piece


def _chunks(opened: IO[bytes]) -> Iterator[bytes]:
    size = _FIRST_BYTES
    while chunk := opened.read(size):
        yield chunk
        size = _PIECE_BYTES


def _in_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    first = next(chunks, b"")
    if first[:2] in (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<"):
        name = "utf-16" if first[0] in b"\xff\xfe" else "utf-16-le" if first[:1] == b"<" else "utf-16-be"
        decoder = codecs.getincrementaldecoder(name)()
        yield decoder.decode(first).encode()
        for chunk in chunks:
            yield decoder.decode(chunk).encode()
        return
    declared = _DECLARED.match(first.removeprefix(codecs.BOM_UTF8))
    if declared and declared[1].lower() not in (b"utf-8", b"utf8", b"us-ascii", b"ascii"):
        raise ValueError(f"it is written in {declared[1].decode(errors='replace')}; expected UTF-8")
    yield first
    yield from chunks


@dataclass(frozen=True)
class Tags:
    """Where the tags of a piece of XML stand, in order.

    Attributes:
        piece: of well-formed tags.
        data: its bytes.
        words: at each place, the four bytes from there on as one number; see `word`.
        starts, ends: of each tag, where `<` and `>` stand; after the last tag, a few zeros.
        first: of each, its first four bytes as one number; likewise.

    """

    piece: bytes
    data: np.ndarray
    words: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    first: np.ndarray

    @property
    def names(self) -> np.ndarray:
        """Of each tag, the first three bytes as one number."""
        return self.first & 0xFFFFFF

    def closes_itself(self, tags: np.ndarray) -> np.ndarray:
        return self.data[self.ends[tags] - 1] == ord("/")


def word(letters: bytes) -> int:
    """Up to four bytes as one number."""
    return int.from_bytes(letters, "little")


def tags_of(piece: bytes) -> Tags | None:
    """The tags of a piece of XML; None if it has anything but tags and text.

    Raises:
        UnicodeDecodeError: it is not UTF-8.

    """
    import numpy as np

    if not piece.isascii():
        piece.decode()
    padded = piece + bytes(32)
    data = np.frombuffer(padded, np.uint8)
    starts, ends = np.flatnonzero(data == ord("<")), np.flatnonzero(data == ord(">"))
    if len(starts) != len(ends) or (ends < starts).any() or (starts[1:] < ends[:-1]).any():
        return None
    words = np.ndarray(len(padded) - 3, "<u4", padded, 0, (1,))
    first = words[starts]
    second = (first >> 8) & 0xFF
    if ((second == ord("!")) | (second == ord("?"))).any():
        return None
    starts, ends, first = (np.concatenate([found, np.zeros(_AFTER, found.dtype)]) for found in (starts, ends, first))
    return Tags(piece, data, words, starts, ends, first)


def slices(piece: bytes, starts: np.ndarray, ends: np.ndarray) -> pa.StringArray:
    """The texts of `piece` between each start and end, which are in order."""
    import numpy as np
    import pyarrow as pa

    if not len(starts):
        return pa.array([], pa.string())
    offsets = np.empty(2 * len(starts), np.int32)
    offsets[0::2], offsets[1::2] = starts, ends
    with_gaps = pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(piece))
    return with_gaps.take(pa.array(np.arange(0, len(offsets) - 1, 2)))


def unescaped(texts: pa.StringArray) -> pa.StringArray:
    """Texts of XML, with what stands for other characters replaced by those.

    Raises:
        ValueError: a reference to no character.

    """
    import pyarrow as pa

    pc = arrow_compute()
    escaped = pc.match_substring_regex(texts, "[&\r]|_x[0-9A-Fa-f]{4}_")
    if not pc.any(escaped).as_py():
        return texts
    told = [unescaped_text(_resolved(text)) for text in texts.filter(escaped).to_pylist()]
    return pc.replace_with_mask(texts, escaped, pa.array(told, pa.string()))


def unescaped_text(text: str) -> str:
    """Text with characters that XML cannot hold, which Office writes as `_x000D_` ([ECMA-376] 22.9.2.19)."""
    if "_x" not in text:
        return text
    told = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    try:
        return told.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:  # half a character: it stays as it is written
        return text


def _resolved(text: str) -> str:
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    if plain.count("&") != len(_ENTITY.findall(plain)):
        raise ValueError("a reference to an entity that is not declared")
    return _ENTITY.sub(_character, plain)


def _character(found: re.Match[str]) -> str:
    if found[3]:
        return _NAMED[found[3]]
    return chr(int(found[1]) if found[1] else int(found[2], 16))
