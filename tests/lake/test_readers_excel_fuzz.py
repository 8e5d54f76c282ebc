"""Random workbooks are read back exactly, and broken ones are read or refused, never anything else.

`CAUDAL_FUZZ=5000` tries so many of each instead of a few.
"""
# ruff: noqa: DTZ001 - a cell has no time zone

import datetime as dt
import io
import os
import random
import re
import zipfile
from pathlib import Path

import openpyxl
import pytest
import xlsxwriter
import xlwt
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from caudal.lake.dataset import Dataset
from caudal.lake.excel_options import ExcelOptions
from caudal.lake.options import Limits
from caudal.lake.readers.excel import package as excel_package
from caudal.lake.readers.excel import sheet_xml as excel_sheet_xml
from caudal.lake.readers.excel.open import open_workbook
from caudal.lake.readers.excel.reader import read_excel
from caudal.lake.readers.rows import LakeFile, Unreadable

TRIED = int(os.environ.get("CAUDAL_FUZZ", "12"))
PROFILE = settings(
    max_examples=TRIED, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\r\ufffe\uffff")
PRINTED = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
MARKUP = st.sampled_from(
    ["&", "<", ">", "\"'", "]]>", "&amp;", "<v>1</v>", "</c>", "<!--", "007", "1e5", " ", "\n", "\t", "x" * 400]
)
TEXTS = st.lists(st.one_of(st.text(PRINTED, min_size=1, max_size=6), MARKUP), min_size=1, max_size=4).map("".join)
DAYS = st.dates(dt.date(1900, 3, 1), dt.date(9999, 12, 31))
CLOCKS = st.integers(0, 86_399_999).map(lambda ms: (dt.datetime(2000, 1, 1) + dt.timedelta(milliseconds=ms)).time())
CELLS = st.one_of(
    st.none(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(-1e300, 1e300, allow_subnormal=False).filter(lambda f: f == 0 or abs(f) > 1e-290),
    st.decimals(-10_000, 10_000, places=2).map(float),
    TEXTS,
    st.booleans(),
    DAYS,
    st.builds(dt.datetime.combine, DAYS, CLOCKS.map(lambda t: t.replace(microsecond=0))),
    CLOCKS,
    st.integers(0, 10**10).map(lambda ms: dt.timedelta(milliseconds=ms)),
)
TABLES = st.integers(1, 6).flatmap(lambda wide: st.lists(st.lists(CELLS, min_size=wide, max_size=wide), max_size=8))


def shown(value, written=float):
    """What the cell of a column of strings must be read as; for a number, as the writer writes it."""
    match value:
        case None | bool():
            return value if value is None else str(value).lower()
        case dt.datetime():
            at_midnight = value.time() == dt.time()
            return value.date().isoformat() if at_midnight else value.isoformat(" ", "milliseconds").removesuffix(".000")
        case dt.date():
            return value.isoformat()
        case dt.time():
            return value.isoformat("milliseconds").removesuffix(".000")
        case dt.timedelta():
            ms = value // dt.timedelta(milliseconds=1)
            fraction = f".{ms % 1000:03}" if ms % 1000 else ""
            return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02}{fraction}"
        case int() | float():
            number = written(value)
            if number == int(number):
                return str(int(number)) if abs(number) < 2**53 else f"{number:.17e}"
            return number
        case _:
            return value


def same(found, expected):
    """A fraction is read to 15 digits, written in any way; all else must be the very text."""
    if not isinstance(expected, float) or found is None:
        return found == expected
    return float(found) in (expected, float(f"{expected:.15g}"))


def with_openpyxl(rows, *, first_row, left, is_1904):
    book = openpyxl.Workbook()
    if is_1904:
        book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    sheet = book.active
    for y, row in enumerate(rows, first_row):
        for x, value in enumerate(row, left + 1):
            if value is not None:
                cell = sheet.cell(y, x)
                cell.value = value
                if isinstance(value, str):
                    cell.data_type = "s"
                if isinstance(value, dt.timedelta):
                    cell.number_format = "[h]:mm:ss.000"
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def with_xlsxwriter(rows, *, first_row, left, is_1904, inline=False):
    written = io.BytesIO()
    options = {
        "constant_memory": inline,
        "default_date_format": "yyyy-mm-dd hh:mm:ss.000",
        "date_1904": is_1904,
        "in_memory": True,
    }
    with xlsxwriter.Workbook(written, options) as book:
        sheet = book.add_worksheet()
        duration = book.add_format({"num_format": "[hh]:mm:ss.000"})
        percent = book.add_format({"num_format": '0.0%;[Red]"days"0'})
        clock = book.add_format({"num_format": "hh:mm:ss.000"})
        for y, row in enumerate(rows, first_row - 1):
            for x, value in enumerate(row, left):
                match value:
                    case None:
                        sheet.write_blank(y, x, None, percent)
                    case str():
                        sheet.write_string(y, x, value)
                    case bool():
                        sheet.write_boolean(y, x, value)
                    case int() | float():
                        sheet.write_number(y, x, value, percent if y % 2 else None)
                    case dt.timedelta():
                        sheet.write_datetime(y, x, value, duration)
                    case dt.time():
                        sheet.write_datetime(y, x, value, clock)
                    case _:
                        sheet.write_datetime(y, x, value)
    return written.getvalue()


def with_xlwt(rows, *, first_row, left, is_1904):
    book = xlwt.Workbook(encoding="utf-8")
    book.dates_1904 = is_1904
    sheet = book.add_sheet("s")
    formats = {dt.datetime: "yyyy-mm-dd hh:mm:ss", dt.date: "yyyy-mm-dd", dt.time: "hh:mm:ss", dt.timedelta: "[h]:mm:ss"}
    styles = {kind: xlwt.easyxf(num_format_str=code) for kind, code in formats.items()}
    for y, row in enumerate(rows, first_row - 1):
        for x, value in enumerate(row, left):
            if value is not None:
                held = value / dt.timedelta(days=1) if isinstance(value, dt.timedelta) else value
                sheet.write(y, x, held, styles.get(type(value), xlwt.Style.default_style))
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def sixteen_digits(value):
    return float(f"{value:.16g}")


def read(file, contract, **options):
    rows = read_excel(Dataset("t", "t", "excel", contract, excel=ExcelOptions(**options)), LakeFile("t.xlsx", "1", file))
    found = {}
    for batch in rows.batches():
        assert batch.column("_problem").null_count == batch.num_rows
        columns = [batch.column(name).to_pylist() for name in contract.column_names]
        found |= dict(zip(batch.column("_row").to_pylist(), zip(*columns, strict=True), strict=True))
    return found


def expected_rows(table, first_row, written):
    told = {first_row + 1 + i: tuple(shown(v, written) for v in row) for i, row in enumerate(table)}
    return {place: row for place, row in told.items() if any(v is not None for v in row)}


def assert_read_back(file, content, table, contract_of, first_row, written):
    file.write_bytes(content)
    contract = contract_of(*(f"c{i}" for i in range(len(table[0]) if table else 1)))
    found, expected = read(file, contract, header_row=first_row), expected_rows(table, first_row, written)
    assert list(found) == list(expected)
    for place, row in expected.items():
        for value, wanted in zip(found[place], row, strict=True):
            assert same(value, wanted), (place, value, wanted)


def with_header(table):
    return [[f"c{i}" for i in range(len(table[0]) if table else 1)], *table]


@PROFILE
@given(TABLES, st.integers(1, 5), st.integers(0, 30), st.booleans())
def test_what_openpyxl_writes_is_read_back(tmp_path, contract_of, table, first_row, left, is_1904):
    table = [[None if _no_openpyxl(v, is_1904) else v for v in row] for row in table]
    content = with_openpyxl(with_header(table), first_row=first_row, left=left, is_1904=is_1904)
    assert_read_back(tmp_path / "t.xlsx", content, table, contract_of, first_row, sixteen_digits)


def _no_openpyxl(value, is_1904):
    """It does not escape what looks escaped, nor write days before 1904 there."""
    early = is_1904 and isinstance(value, dt.date) and value < type(value)(1904, 1, 2)
    return early or (isinstance(value, str) and (re.search("_x[0-9a-fA-F]{4}_", value) is not None))


@PROFILE
@given(TABLES, st.integers(1, 5), st.integers(0, 800), st.booleans(), st.booleans())
def test_what_xlsxwriter_writes_is_read_back(tmp_path, contract_of, table, first_row, left, is_1904, inline):
    early = dt.date(1904, 1, 2)
    table = [
        [None if is_1904 and isinstance(v, dt.date) and v < type(v)(*early.timetuple()[:3]) else v for v in row]
        for row in table
    ]
    content = with_xlsxwriter(with_header(table), first_row=first_row, left=left, is_1904=is_1904, inline=inline)
    assert_read_back(tmp_path / "t.xlsx", content, table, contract_of, first_row, sixteen_digits)


@PROFILE
@given(TABLES, st.integers(1, 5), st.integers(0, 20))
def test_what_xlwt_writes_is_read_back(tmp_path, contract_of, table, first_row, left):
    table = [[v.replace(microsecond=0) if isinstance(v, dt.time) else v for v in row] for row in table]
    content = with_xlwt(with_header(table), first_row=first_row, left=left, is_1904=False)
    assert_read_back(tmp_path / "t.xls", content, table, contract_of, first_row, float)


@PROFILE
@given(TABLES, st.integers(0, 30), st.booleans())
@example([["a", 1.5, None]], 0, True)
def test_cells_found_by_array_operations_are_those_found_tag_by_tag(tmp_path, table, left, inline):
    content = with_xlsxwriter(with_header(table), first_row=2, left=left, is_1904=False, inline=inline)
    (tmp_path / "t.xlsx").write_bytes(content)
    assert cells_of(tmp_path / "t.xlsx") == slowly(cells_of, tmp_path / "t.xlsx")


def cells_of(file):
    book = excel_package.XmlWorkbook(file, Limits())
    return [
        cell
        for found in book.cells(book.sheets[0].name)
        for cell in zip(*(a.tolist() for a in (found.rows, found.columns, found.kinds)), found.texts().to_pylist(), strict=True)
    ]


def slowly(function, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        for module in (excel_sheet_xml, excel_package):
            patch.setattr(module, "tags_of", lambda piece: None)
        return function(*arguments)


SAMPLE = [["c0", "c1", "c2"], ["a & b", 1.5, dt.date(2020, 1, 31)], [" rich ", True, dt.timedelta(hours=30)], ["ü", -7, None]]
BROKEN = {
    "t.xlsx": with_xlsxwriter(SAMPLE, first_row=1, left=0, is_1904=False),
    "inline.xlsx": with_openpyxl(SAMPLE, first_row=1, left=0, is_1904=False),
    "t.xls": with_xlwt(SAMPLE, first_row=1, left=0, is_1904=False),
}


def mutated(content, seed):
    """The file with a few bytes changed, cut off, or doubled."""
    chance = random.Random(seed)
    data = bytearray(content)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                del data[at : at + chance.randrange(1, 40)]
            case 2:
                data[at:at] = data[at : at + chance.randrange(1, 40)]
            case 3:
                data[at] ^= 1 << chance.randrange(8)
        if len(data) < 10:
            break
    return bytes(data)


def with_mutated_part(content, seed):
    """The workbook with one part changed, and the archive whole."""
    chance = random.Random(seed)
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(written, "w") as target:
        names = [n for n in source.namelist() if n.endswith((".xml", ".rels"))]
        chosen = chance.choice([n for n in names if "sheet1" in n or "shared" in n or "styles" in n or "workbook" in n])
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, mutated(data, seed) if name == chosen else data)
    return written.getvalue()


@PROFILE
@given(st.sampled_from(sorted(BROKEN)), st.integers(0, 2**40), st.booleans())
def test_a_broken_workbook_is_read_or_refused(tmp_path, contract_of, name, seed, whole):
    content = mutated(BROKEN[name], seed) if whole or name.endswith(".xls") else with_mutated_part(BROKEN[name], seed)
    file = Path(tmp_path / name)
    file.write_bytes(content)
    contract = contract_of("c0", "c1", "c2", drift="ignore")
    try:
        rows = read_excel(Dataset("t", "t", "excel", contract), LakeFile(f"t/{name}", "1", file))
        for batch in rows.batches():
            batch.validate(full=True)
    except Unreadable as refused:
        assert str(refused).startswith(f"t/{name}")
        assert str(tmp_path) not in str(refused)
    assert open_workbook is not None
