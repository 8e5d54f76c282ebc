"""What is no workbook, or would cost too much, is refused, and named for what it is."""

import io
import struct
import zipfile

import openpyxl
import pytest
import xlsxwriter

from caudal.lake.dataset import Dataset
from caudal.lake.options import Limits
from caudal.lake.readers.excel.biff import COMPOUND_FILE
from caudal.lake.readers.excel.reader import read_excel
from caudal.lake.readers.rows import LakeFile, Unreadable

OTHERS = [
    (b"<html><table><tr><td>x</td></tr></table></html>", "an HTML page, as some applications export"),
    (b"\xef\xbb\xbf  <!DOCTYPE HTML PUBLIC><html>", "an HTML page"),
    (b"<table border=1><tr><td>1", "an HTML page"),
    (b'<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n<Workbook/>', "an XML Spreadsheet 2003"),
    (b'<?xml version="1.0"?><ss:Workbook xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet">', "an XML Spreadsheet 2003"),
    (b"MIME-Version: 1.0\r\nX-Document-Type: Workbook\r\n", "a web archive (MHTML)"),
    (b"ID;PWXL;N;E\r\nP;PGeneral\r\n", "a SYLK file"),
    (b"x,y\n1,2\n", "something else, perhaps text such as CSV"),
    ("x\ty\n".encode("utf-16"), "something else, perhaps text such as CSV"),
    (b"\x09\x00\x04\x00\x02\x00\x10\x00", "a worksheet of Excel 2, 3 or 4"),
    (b"\x09\x04\x06\x00\x00\x04\x10\x00", "a worksheet of Excel 2, 3 or 4"),
    (b"\x09\x08\x10\x00\x00\x06\x05\x00", "the bare stream of an Excel workbook"),
    (b"%PDF-1.7", "a PDF document"),
    (b"\x00\x01\x02", "something else"),
]


@pytest.mark.parametrize(("content", "told"), OTHERS)
def test_what_is_written_under_the_name_xls_is_told_for_what_it_is(contract_of, take, content, told):
    with pytest.raises(Unreadable, match="Open it in Excel and save it as a workbook") as refused:
        take(contract_of("x"), "excel", content)
    assert f"lake-file.excel: this is {told}" in str(refused.value)


def archive(**parts):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in parts.items():
            opened.writestr(name.replace("__", "/"), content)
    return written.getvalue()


TYPES = {"[Content_Types].xml": "<Types/>"}
ZIPPED = [
    (archive(**TYPES, **{"word/document.xml": "<x/>"}), "this is a Word document, not an Excel workbook"),
    (archive(**TYPES, **{"ppt/presentation.xml": "<x/>"}), "this is a PowerPoint presentation"),
    (archive(**{"Index/Document.iwa": "x"}), "this is an Apple Numbers, Pages or Keynote document"),
    (
        archive(**{"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": "<x/>"}),
        "an OpenDocument file of another kind",
    ),
    (archive(**{"a.csv": "x", "b.csv": "x"}), "this is a zip archive of 2 files, such as `a.csv`, `b.csv`"),
]


@pytest.mark.parametrize(("content", "told"), ZIPPED)
def test_other_zip_archives_are_told_for_what_they_are(contract_of, read, content, told):
    with pytest.raises(Unreadable) as refused:
        read(contract_of("x"), content)
    assert told in str(refused.value)


@pytest.fixture
def read(tmp_path):
    def all_rows(contract, content, **limits):
        (tmp_path / "t.xlsx").write_bytes(content)
        dataset = Dataset("t", "t", "excel", contract, limits=Limits(**limits))
        rows = read_excel(dataset, LakeFile("t/t.xlsx", "1", tmp_path / "t.xlsx"))
        return sum(batch.num_rows for batch in rows.batches())

    return all_rows


def compound_file(*names):
    """A compound file with empty streams of these names."""
    end, free, fat_sector = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
    directory = b"".join(
        name.encode("utf-16-le").ljust(64, b"\0") + struct.pack("<HBB", len(name) * 2 + 2, 5 if i == 0 else 2, 1) + bytes(48)
        + struct.pack("<III", end, 0, 0)
        for i, name in enumerate(("Root Entry", *names))
    )  # fmt: skip
    header = COMPOUND_FILE + bytes(16) + struct.pack("<HHHHH", 62, 3, 0xFFFE, 9, 6) + bytes(10)
    header += struct.pack("<IIIIIIIII", 1, 1, 0, 4096, end, 0, end, 0, 0) + struct.pack("<108I", *[free] * 108)
    return header + struct.pack("<128I", fat_sector, end, *[free] * 126) + directory.ljust(512, b"\0")


COMPOUND = [
    (("EncryptionInfo", "EncryptedPackage"), "the workbook has a password. Save it without one"),
    (("WordDocument",), "this is an old Word document"),
    (("PowerPoint Document",), "this is an old PowerPoint presentation"),
    (("__properties_version1.0",), "this is an Outlook message"),
    (("Something",), "no workbook inside"),
]


@pytest.mark.parametrize(("names", "told"), COMPOUND)
def test_other_compound_files_are_told_for_what_they_are(contract_of, read, names, told):
    with pytest.raises(Unreadable) as refused:
        read(contract_of("x"), compound_file(*names))
    assert told in str(refused.value)


def with_rows(count, text="x", **options):
    written = io.BytesIO()
    with xlsxwriter.Workbook(written, options) as book:
        sheet = book.add_worksheet()
        sheet.write(0, 0, "x")
        for row in range(1, count):
            sheet.write_string(row, 0, f"{text}{row}")
    return written.getvalue()


def with_part(content, part, change):
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, change(data) if name == part else data)
    return written.getvalue()


SHEET, STRINGS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"


@pytest.mark.parametrize("part", [SHEET, STRINGS])
def test_a_part_that_inflates_beyond_the_limits_is_refused_before_it_is_unpacked(contract_of, read, part):
    bomb = with_part(with_rows(3), part, lambda data: data.replace(b"><", b">" + b" " * 3_000_000 + b"<", 1))
    assert len(bomb) < 20_000
    assert read(contract_of("x"), bomb) == 2
    with pytest.raises(Unreadable, match=rf"`{part}` unpacks to \d+ times its size, and `limits.ratio` is 100"):
        read(contract_of("x"), bomb, ratio=100, ratio_from_bytes=1_000_000)
    with pytest.raises(Unreadable, match=rf"`{part}` unpacks to \d+ bytes, and `limits.unpacked_bytes` is 1000000"):
        read(contract_of("x"), bomb, unpacked_bytes=1_000_000)


def test_an_entry_that_holds_more_than_it_says_is_damage(contract_of, read):
    content = with_rows(2000)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = archive.getinfo(SHEET).file_size
    lying = content.replace(struct.pack("<I", size), struct.pack("<I", size // 2))
    with pytest.raises(Unreadable, match="the workbook is damaged"):
        read(contract_of("x"), lying)


@pytest.mark.parametrize("part", [SHEET, STRINGS, "xl/workbook.xml", "xl/styles.xml"])
def test_xml_entities_are_refused(contract_of, read, part):
    laughs = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    content = with_part(with_rows(3), part, lambda data: data.replace(b"?>", b"?>" + laughs, 1))
    with pytest.raises(Unreadable, match="declares a document type, which no workbook does"):
        read(contract_of("x"), content)


@pytest.mark.parametrize("part", [SHEET, STRINGS])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_part_that_is_cut_off_is_damage_even_in_a_whole_archive(contract_of, read, part, kept):
    content = with_part(with_rows(500), part, lambda data: data[: int(len(data) * kept)])
    with pytest.raises(Unreadable, match=r"the workbook is damaged, .* is cut off"):
        read(contract_of("x"), content)


def test_a_truncated_file_is_damage_wherever_it_ends(contract_of, read):
    content = with_rows(200)
    for end in range(1, len(content), len(content) // 40):
        with pytest.raises(Unreadable):
            read(contract_of("x"), content[:end])


def test_an_archive_with_a_password_is_told(contract_of, read):
    content = bytearray(with_rows(3))
    at = 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        content[at + 8] |= 1
        at += 4
    with pytest.raises(Unreadable, match="the workbook has a password"):
        read(contract_of("x"), bytes(content))


def test_cells_far_apart_in_a_format_that_is_held_in_memory_are_refused(contract_of, read):
    spaces = " ".join(f'xmlns:{n}="urn:oasis:names:tc:opendocument:xmlns:{n}:1.0"' for n in ("office", "table", "text"))
    cell = '<table:table-cell office:value-type="float" office:value="1"'
    rows = (
        f'<table:table-row table:number-rows-repeated="1000000">{cell} table:number-columns-repeated="90"/></table:table-row>'
    )
    content = f'<office:document-content {spaces}><office:body><office:spreadsheet><table:table table:name="s">{rows}</table:table></office:spreadsheet></office:body></office:document-content>'
    manifest = '<manifest xmlns="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    bomb = archive(
        mimetype="application/vnd.oasis.opendocument.spreadsheet",
        **{"content.xml": content, "META-INF__manifest.xml": manifest},
    )
    with pytest.raises(Unreadable, match="they take 1000000 rows of 90 columns, and at most 20000000 cells"):
        read(contract_of("x"), bomb)


def test_a_chart_sheet_is_no_table(contract_of, take):
    book = openpyxl.Workbook()
    book.active.append(["x"])
    book.active.append(["a"])
    book.create_chartsheet("chart")
    written = io.BytesIO()
    book.save(written)
    assert take(contract_of("x"), "excel", written.getvalue()).rows == [("a",)]
