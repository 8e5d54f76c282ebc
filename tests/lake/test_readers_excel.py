"""Excel workbooks: cells are read as what they hold, errors are never silence, and what cannot be opened is quarantined."""
# ruff: noqa: DTZ001 - a cell has no time zone

import datetime as dt
import io
import struct
import zipfile
from decimal import Decimal

import openpyxl
import pytest

from caudal.lake.dataset import ExcelOptions
from caudal.lake.readers.excel.biff import COMPOUND_FILE
from caudal.lake.readers.excel.cells import ERROR
from caudal.lake.readers.excel.faults import faults_of
from caudal.lake.readers.rows import Unreadable

MONEY = {"name": "m", "logicalType": "number", "physicalType": "DECIMAL(10,2)"}
DOUBLE = {"name": "d", "logicalType": "number", "physicalType": "DOUBLE"}


def workbook(*rows, **sheets):
    """A workbook of one sheet with the rows, or of sheets by name."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, table in (sheets or {"Sheet": rows}).items():
        sheet = book.create_sheet(name)
        for row in table:
            sheet.append(row)
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def of_type(logical_type):
    return {"name": "x", "logicalType": logical_type}


CELLS = [
    ("a whole number in an integer column", of_type("integer"), 17850.0, 17850),
    ("a whole number in a string column", of_type("string"), 17850, "17850"),
    ("text in an integer column", of_type("integer"), "17850", 17850),
    ("text with a leading zero", of_type("string"), "007", "007"),
    ("a fraction", {**MONEY, "name": "x"}, 0.1, Decimal("0.10")),
    ("a sum as Excel shows it", {**MONEY, "name": "x"}, "=raw:0.30000000000000004", Decimal("0.30")),
    ("a sum in a double column", {**DOUBLE, "name": "x"}, "=raw:0.30000000000000004", 0.1 + 0.2),
    ("the largest whole number", of_type("integer"), "=raw:9007199254740991", 2**53 - 1),
    ("a truth value", of_type("boolean"), True, True),
    ("a date", of_type("date"), dt.date(2017, 1, 31), dt.date(2017, 1, 31)),
    ("a date in a string column", of_type("string"), dt.date(2017, 1, 31), "2017-01-31"),
    ("midnight in a timestamp column", of_type("timestamp"), dt.datetime(2017, 1, 31), dt.datetime(2017, 1, 31)),
    ("a timestamp", of_type("timestamp"), dt.datetime(2017, 1, 31, 10, 30, 1), dt.datetime(2017, 1, 31, 10, 30, 1)),
    ("a time", of_type("time"), dt.time(10, 30), dt.time(10, 30)),
    ("a duration in a string column", of_type("string"), dt.timedelta(hours=26, seconds=1), "26:00:01"),
    ("text of several lines", of_type("string"), "a\nb ", "a\nb "),
]


def with_number(content, number):
    """Put a number into the cell that holds 12345, as it is written: openpyxl would round it."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(written, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"<v>12345</v>", f"<v>{number}</v>".encode()))
    return written.getvalue()


@pytest.mark.parametrize(("declared", "cell", "expected"), [c[1:] for c in CELLS], ids=[c[0] for c in CELLS])
def test_a_cell_is_read_as_what_it_holds(contract_of, take, declared, cell, expected):
    raw = cell.removeprefix("=raw:") if isinstance(cell, str) and cell.startswith("=raw:") else None
    content = workbook(["x"], [12345 if raw else cell])
    taken = take(contract_of(declared), "excel", with_number(content, raw) if raw else content)
    assert taken.rejects == []
    assert taken.rows == [(expected,)]


REFUSED = [
    (of_type("integer"), 17850.5, "17850.5", "a fraction"),
    (of_type("integer"), 1e17, "1.00000000000000000e+17", "in exponent notation"),
    ({**MONEY, "name": "x"}, 0.125, "0.125", "more than 2 decimals"),
    (of_type("date"), dt.datetime(2017, 1, 31, 10), "2017-01-31 10:00:00", "a time of day"),
    (of_type("date"), 42766, "42766", "not a date"),
    (of_type("time"), dt.timedelta(hours=26), "26:00:00", "not a time of day"),
    (of_type("integer"), "n/a", "n/a", "not an integer"),
]


@pytest.mark.parametrize(("declared", "cell", "shown", "reason"), REFUSED)
def test_a_cell_that_does_not_fit_is_rejected(contract_of, take, declared, cell, shown, reason):
    ((row, column, value, told),) = take(contract_of(declared), "excel", workbook(["x"], [cell])).rejects
    assert (row, column, value) == (2, "x", shown)
    assert told.startswith(reason)


def test_rows_have_the_number_of_their_row_in_the_sheet(contract_of, take):
    rows = [["Weekly close"], [], [None, "a", "m"], [None, "x", 1.5], [], [None, None, 2], [None, "Source: tills", None], []]
    taken = take(contract_of("a", MONEY), "excel", workbook(*rows), excel=ExcelOptions(header_row=3))
    assert taken.rows == [("x", Decimal("1.50")), (None, Decimal("2.00")), ("Source: tills", None)]
    assert taken.places == [4, 6, 7]


def test_a_footnote_is_rejected_as_any_row_that_does_not_fit(contract_of, take):
    contract = contract_of({"name": "week", "logicalType": "integer", "required": True}, MONEY)
    taken = take(contract, "excel", workbook(["week", "m"], [1, 1.5], ["* preliminary"], [None, 9]))
    assert taken.rows == [(1, Decimal("1.50"))]
    assert taken.rejects == [
        (3, "week", "* preliminary", "not an integer"),
        (4, "week", None, "no value, and one is required"),
    ]


def test_null_markers_are_no_value(contract_of, take):
    taken = take(
        contract_of("a", MONEY), "excel", workbook(["a", "m"], ["-", "-"], ["b", 1]), excel=ExcelOptions(null_markers=("-",))
    )
    assert taken.rows == [(None, None), ("b", 1)]


def test_the_declared_sheet_is_read(contract_of, take):
    content = workbook(notes=[["text"]], close=[["a"], ["x"]])
    assert take(contract_of("a"), "excel", content, excel=ExcelOptions(sheet="close")).rows == [("x",)]


def with_errors(content, *references):
    """Make the cells errors, as Excel writes them."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(written, "w") as target:
        for name in source.namelist():
            data = source.read(name).decode()
            for reference, error in references:
                data = data.replace(f'<c r="{reference}" t="n"><v>12345</v>', f'<c r="{reference}" t="e"><v>{error}</v>')
            target.writestr(name, data)
    return written.getvalue()


def test_a_cell_that_holds_an_error_is_rejected_and_named(contract_of, take):
    content = workbook(["a", "m", None], ["x", 1, None], ["y", 12345, None], [12345, 2, None], ["z", 3, None])
    broken = with_errors(content, ("B3", "#REF!"), ("A4", "#N/A"))
    taken = take(contract_of("a", MONEY), "excel", broken)
    assert taken.rows == [("x", 1), ("z", 3)]
    assert taken.rejects == [
        (3, "m", "#REF!", "the cell B3 holds an error"),
        (4, "a", "#N/A", "the cell A4 holds an error"),
    ]


def test_a_value_under_no_column_name_is_not_lost_in_silence(contract_of, take):
    content = workbook(["a", None], ["x", None], ["y", "note"])
    taken = take(contract_of("a"), "excel", content)
    assert taken.rows == [("x",)]
    assert taken.rejects == [(3, None, "note", "the cell B3 stands under no column name")]
    assert take(contract_of("a", drift="ignore"), "excel", content).rows == [("x",), ("y",)]


SHEETS = [
    (
        {"a": [["x"]], "b": [["x"]]},
        ExcelOptions(),
        "the workbook has 2 sheets: `a`, `b`. Declare which: `excel.sheet` or `excel.sheets`",
    ),
    ({"a": [["x"]]}, ExcelOptions(sheet="close"), "there is no sheet `close` in the workbook; there are: `a`"),
    ({"a": []}, ExcelOptions(), "sheet `a`, row 1: it should name the columns and is empty"),
    ({"a": [["x"]]}, ExcelOptions(header_row=9), "sheet `a`, row 9: it should name the columns and is empty"),
    ({"a": [["Title"], ["x"]]}, ExcelOptions(), "sheet `a`, row 1: columns missing: `x`; not in the contract: `Title`"),
    ({"a": [["x", "x"]]}, ExcelOptions(), "`x` stands there more than once"),
]


@pytest.mark.parametrize(("sheets", "options", "told"), SHEETS)
def test_a_workbook_without_the_table_is_quarantined(contract_of, take, sheets, options, told):
    with pytest.raises(Unreadable) as refused:
        take(contract_of("x"), "excel", workbook(**sheets), excel=options)
    assert told in str(refused.value)


CONTENT = [
    (b"", "empty (0 bytes)"),
    (b"x\n1\n", "something else, perhaps text"),
    (b"PAR1", "a Parquet file"),
    (b"PK\x03\x04 and then nothing", "is damaged, was not written to its end, or is none"),
    (COMPOUND_FILE + bytes(3000), "is damaged, was not written to its end, or is none"),
    (workbook(["x"], ["y"])[:-40], "is damaged, was not written to its end, or is none"),
]


@pytest.mark.parametrize(("content", "told"), CONTENT)
def test_what_is_no_whole_workbook_is_quarantined(contract_of, take, tmp_path, content, told):
    with pytest.raises(Unreadable) as refused:
        take(contract_of("x"), "excel", content)
    assert told in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def opendocument(rows):
    names = "office table text calcext"
    spaces = " ".join(f'xmlns:{n}="urn:oasis:names:tc:opendocument:xmlns:{n}:1.0"' for n in names.split())
    content = f"""<?xml version="1.0"?><office:document-content {spaces}><office:body><office:spreadsheet>
        <table:table table:name="s">{rows}</table:table></office:spreadsheet></office:body></office:document-content>"""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", '<manifest xmlns="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>')
    return written.getvalue()


def test_an_opendocument_sheet_is_read_with_its_errors(contract_of, take):
    text = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    number = '<table:table-cell office:value-type="float" office:value="{}"/>'
    error = '<table:table-cell office:value-type="string" office:string-value="" calcext:value-type="error"><text:p>#DIV/0!</text:p></table:table-cell>'
    rows = [text.format("a") + text.format("m"), text.format("x") + number.format("0.1"), text.format("y") + error]
    content = opendocument("".join(f"<table:table-row>{r}</table:table-row>" for r in rows))
    taken = take(contract_of("a", MONEY), "excel", content)
    assert taken.rows == [("x", Decimal("0.10"))]
    assert taken.rejects == [(3, "m", "#DIV/0!", "the cell B3 holds an error")]


def record(kind, data):
    """A record of an .xlsb part."""
    head = bytes([kind]) if kind < 128 else bytes([kind & 0x7F | 0x80, kind >> 7])
    return head + bytes([len(data)]) + data


def test_errors_of_a_binary_workbook_are_found(tmp_path):
    def wide(value):
        return struct.pack("<I", len(value)) + value.encode("utf-16-le")

    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    rels = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="{}" Type="{}" Target="{}"/></Relationships>'
    sheet = record(0, struct.pack("<I", 4) + bytes(13)) + record(3, struct.pack("<II", 2, 0) + b"\x17")
    sheet += (
        record(0, struct.pack("<I", 6) + bytes(13))
        + record(11, struct.pack("<II", 0, 0) + b"\x2a" + bytes(4))
        + record(5, bytes(16))
    )
    file = tmp_path / "x.xlsb"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("_rels/.rels", rels.format("rId1", f"{relation}/officeDocument", "xl/workbook.bin"))
        archive.writestr("xl/workbook.bin", record(156, bytes(8) + wide("rId7") + wide("s")))
        archive.writestr(
            "xl/_rels/workbook.bin.rels", rels.format("rId7", f"{relation}/worksheet", "/xl/worksheets/sheet1.bin")
        )
        archive.writestr("xl/worksheets/sheet1.bin", sheet)
    assert faults_of(file, "xlsb")("s", 0) == {(4, 2): (ERROR, "#REF!"), (6, 0): (ERROR, "#N/A")}


@pytest.mark.parametrize("padding", [0, 5000], ids=["in short sectors", "in regular sectors"])
def test_errors_of_an_old_workbook_are_found(tmp_path, padding):
    def biff(kind, data=b""):
        return struct.pack("<HH", kind, len(data)) + data

    names = biff(0x809, bytes(16)) + biff(0x85, struct.pack("<I", 0) + bytes(4)) + biff(0x0A)
    first = len(names)
    names = biff(0x809, bytes(16)) + biff(0x85, struct.pack("<I", first) + bytes(4)) + biff(0x0A)
    cells = (
        biff(0x809, bytes(16))
        + biff(0x205, struct.pack("<HHHBB", 1, 2, 0, 0x07, 1))
        + biff(0x205, struct.pack("<HHHBB", 2, 2, 0, 1, 0))
    )
    cells += biff(0x06, struct.pack("<HHHBBBBHH", 3, 4, 0, 2, 0, 0x2A, 0, 0, 0xFFFF) + bytes(8)) + biff(0x0A)
    stream = names + cells + bytes(padding)
    (tmp_path / "x.xls").write_bytes(compound_file(stream))
    assert faults_of(tmp_path / "x.xls", "xls")("s", 0) == {(1, 2): (ERROR, "#DIV/0!"), (3, 4): (ERROR, "#N/A")}


def compound_file(stream):
    """A compound file with the one stream `Workbook`, in short sectors if it is short."""
    end, free, fat_sector = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
    short = len(stream) < 4096
    padded = stream + bytes(-len(stream) % 512)
    sectors = len(padded) // 512
    first = 3  # after the sector table, the directory and the short-sector table
    table = [fat_sector, end, end, *range(first + 1, first + sectors), end]
    shorts = [*range(1, (len(stream) + 63) // 64), end]

    def entry(name, kind, start, size):
        return (
            name.encode("utf-16-le").ljust(64, b"\0")
            + struct.pack("<HBB", len(name) * 2 + 2, kind, 1)
            + bytes(48)
            + struct.pack("<III", start, size, 0)
        )

    directory = entry("Root Entry", 5, first if short else end, len(padded)) + entry(
        "Workbook", 2, 0 if short else first, len(stream)
    )
    header = COMPOUND_FILE + bytes(16) + struct.pack("<HHHHH", 62, 3, 0xFFFE, 9, 6) + bytes(10)
    header += struct.pack("<IIIIIIIII", 1, 1, 0, 4096, 2, 1, end, 0, 0) + struct.pack("<108I", *[free] * 108)

    def numbers(values):
        return struct.pack("<128I", *values, *[free] * (128 - len(values)))

    return header + numbers(table) + directory.ljust(512, b"\0") + numbers(shorts) + padded
