"""Opening a workbook, or telling what the file is instead."""

from __future__ import annotations

import errno
import re
import struct
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary
from xml.etree.ElementTree import ParseError

from caudal.lake.readers.content import head_of, recognised
from caudal.lake.readers.excel.biff import COMPOUND_FILE, Locked, stream_names
from caudal.lake.readers.excel.workbook import TooLarge
from caudal.lake.readers.rows import Unreadable

if TYPE_CHECKING:
    from caudal.lake.options import Limits
    from caudal.lake.readers.excel.workbook import Workbook

_WANTED = "an Excel workbook"
_SAVE_AS = "Open it in Excel and save it as a workbook (.xlsx), or declare the dataset's format otherwise"
_LOCKED = "the workbook has a password. Save it without one"

#: Workbooks that are in use, so that one of many sheets is opened once.
_OPEN: WeakValueDictionary[tuple[object, ...], Workbook] = WeakValueDictionary()

#: Streams of a compound file that tell what it is, in the order in which they are looked for.
_STREAMS = (
    ("encryptedpackage", None),
    ("workbook", "xls"),
    ("book", "xls"),
    ("worddocument", "an old Word document"),
    ("powerpoint document", "an old PowerPoint presentation"),
    ("__properties_version1.0", "an Outlook message"),
)

#: Parts of a zip archive that tell what it is.
_PARTS = (
    (re.compile(r"xl/workbook.*\.bin"), "xlsb"),
    (re.compile(r"xl/workbook.*\.xml"), "xlsx"),
    (re.compile(r"word/.*"), "a Word document"),
    (re.compile(r"ppt/.*"), "a PowerPoint presentation"),
    (re.compile(r"index/.*\.iwa"), "an Apple Numbers, Pages or Keynote document"),
)

#: What is written under the name .xls and is none, by how it starts.
_STARTS = (
    (rb"\x09[\x00\x02\x04](\x04|\x06)\x00", "a worksheet of Excel 2, 3 or 4, from before workbooks"),
    (rb"\x09\x08[\x04\x06\x08\x10]\x00", "the bare stream of an Excel workbook, without its container"),
    (rb"(?s)\s*(<\?xml.{0,600})?<\?mso-application[^>]*Excel\.Sheet", "an XML Spreadsheet 2003"),
    (rb"(?s)\s*<\?xml.{0,1000}urn:schemas-microsoft-com:office:spreadsheet", "an XML Spreadsheet 2003"),
    (rb"(?is)\s*(<!--.*?-->\s*)?<(!doctype html|html|head|meta|table|style)\b", "an HTML page, as some applications export"),
    (rb"(?i)\s*MIME-Version:", "a web archive (MHTML), as some applications export"),
    (rb"ID;P", "a SYLK file"),
)


#: What a damaged workbook makes the libraries raise.
_DAMAGED = (
    ValueError, LookupError, StopIteration, EOFError, OverflowError, NotImplementedError,
    zipfile.BadZipFile, zlib.error, ParseError, struct.error,
)  # fmt: skip


@contextmanager
def damage_told(path: str, file: Path) -> Generator[None]:
    """Turn what a damaged workbook raises into `Unreadable`."""
    from python_calamine import CalamineError, PasswordError

    try:
        yield
    except (PasswordError, Locked):
        raise Unreadable(f"{path}: {_LOCKED}") from None
    except TooLarge as large:
        raise Unreadable(f"{path}: {large}. Deliver it in smaller files, or raise the limit") from None
    except (CalamineError, *_DAMAGED) as broken:
        raise _damaged(path, file, broken) from broken
    except OSError as failed:
        if failed.errno == errno.EINVAL:  # a place before the start of the file
            raise _damaged(path, file, failed) from failed
        raise Unreadable(f"{path}: cannot be read: {failed.strerror or type(failed).__name__}") from None
    except BaseException as broken:
        if type(broken).__name__ != "PanicException":  # of a library in Rust: not an `Exception`
            raise
        raise Unreadable(f"{path}: the workbook is damaged: it cannot be read. Save it again and deliver it") from broken


def _damaged(path: str, file: Path, broken: Exception) -> Unreadable:
    why = " ".join(str(broken).replace(str(file), path).split())[:300]
    return Unreadable(
        f"{path}: the workbook is damaged, was not written to its end, or is none ({why}). Save it again and deliver it"
    )


def open_workbook(file: Path, limits: Limits, path: str) -> Workbook:
    """The workbook in `file`, the one that is open already if it is.

    Args:
        path: what people call it.

    Raises:
        Unreadable: it is none that can be opened. It says what it is.

    """
    head = head_of(file, path, _WANTED)
    with damage_told(path, file):
        found = file.stat()
        key = (str(file), found.st_mtime_ns, found.st_size, limits)
        workbook = _OPEN.get(key)
        if workbook is None:
            workbook = _OPEN[key] = _opened(file, limits, path, head)
        return workbook


def _opened(file: Path, limits: Limits, path: str, head: bytes) -> Workbook:
    if head.startswith(COMPOUND_FILE):
        kind = _compound_kind(file, path)
    elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        kind = _zip_kind(file, path)
    else:
        raise _is_another(path, _named(head))
    if kind == "xlsx":
        from caudal.lake.readers.excel.package import XmlWorkbook

        return XmlWorkbook(file, limits)
    from caudal.lake.readers.excel.calamine import CalamineWorkbook

    return CalamineWorkbook(file, kind, limits)


def _compound_kind(file: Path, path: str) -> str:
    names = stream_names(file)
    for name, kind in _STREAMS:
        if name in names:
            if kind is None:
                raise Unreadable(f"{path}: {_LOCKED}")
            if " " in kind:
                raise _is_another(path, kind)
            return kind
    raise ValueError("no workbook inside")


def _zip_kind(file: Path, path: str) -> str:
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        names = {i.filename.replace("\\", "/").lower() for i in infos}
        if any(i.flag_bits & 1 for i in infos):
            raise Unreadable(f"{path}: {_LOCKED}")
        if any(i.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for i in infos):
            raise ValueError("its parts are packed as those of no workbook are")
        if "content.xml" in names and "mimetype" in names:
            found = archive.read("mimetype")[:100].decode(errors="replace").strip()
            if "spreadsheet" not in found:
                raise _is_another(path, f"an OpenDocument file of another kind ({found})")
            if b"encryption-data" in archive.read("META-INF/manifest.xml"):
                raise Locked
            return "ods"
    for pattern, kind in _PARTS:
        if any(map(pattern.fullmatch, names)):
            if " " in kind:
                raise _is_another(path, kind)
            return kind
    if "_rels/.rels" in names:
        return "xlsx"
    listed = ", ".join(f"`{i.filename}`" for i in infos[:3])
    raise _is_another(
        path, f"a zip archive of {len(infos)} file{'s' * (len(infos) != 1)}" + f", such as {listed}" * bool(infos)
    )


def _named(head: bytes) -> str:
    for pattern, name in _STARTS:
        if re.match(pattern, head.removeprefix(b"\xef\xbb\xbf")):
            return name
    other = recognised(head)
    if other:
        return other
    is_text = not re.search(rb"[\x00-\x08\x0e-\x1f]", head) or head.startswith((b"\xff\xfe", b"\xfe\xff"))
    return "something else, perhaps text such as CSV" if is_text else "something else"


def _is_another(path: str, kind: str) -> Unreadable:
    return Unreadable(f"{path}: this is {kind}, not {_WANTED}. {_SAVE_AS}")
