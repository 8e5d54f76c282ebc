"""What cells hold, in the many ways in which workbooks write it."""

import io
import re
import tracemalloc
import zipfile
from decimal import Decimal

import openpyxl
import pytest
import xlsxwriter

from caudal.lake.dataset import Dataset
from caudal.lake.excel_options import ExcelOptions
from caudal.lake.readers.excel.cells import DURATION, MOMENT, NUMBER
from caudal.lake.readers.excel.package import format_kind
from caudal.lake.readers.excel.reader import read_excel
from caudal.lake.readers.rows import LakeFile, Unreadable

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
FORMATS = ["General", "yyyy-mm-dd", "[h]:mm:ss", "hh:mm", "0.00%"]


def package(rows, *, strings="", before="", root=f'worksheet xmlns="{MAIN}"', workbook="", encoding="utf-8"):
    """An xlsx workbook of one sheet `s`: its rows, and the items of its shared strings, as XML."""
    relation = '<Relationship Id="{}" Type="{}/{}" Target="{}"/>'
    relations = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
    prefix = root.partition(":")[0] + ":" if root.startswith("x:") else ""
    codes = "".join(f'<numFmt numFmtId="{200 + i}" formatCode="{code}"/>' for i, code in enumerate(FORMATS))
    used = "".join(f'<xf numFmtId="{200 + i}"/>' for i in range(len(FORMATS)))
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'
    data = f"{prefix}sheetData"
    parts = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": relations.format(relation.format("rId1", OFFICE, "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}">{workbook}'
        '<sheets><sheet name="s" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations.format(
            relation.format("rId1", OFFICE, "worksheet", "worksheets/sheet1.xml")
            + relation.format("rId2", OFFICE, "styles", "styles.xml")
            + relation.format("rId3", OFFICE, "sharedStrings", "/xl/sharedStrings.xml")
        ),
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}"><numFmts>{codes}</numFmts><cellXfs>{used}</cellXfs></styleSheet>',
        "xl/sharedStrings.xml": f'<sst xmlns="{MAIN}"><si><t>x</t></si>{strings}</sst>',
        "xl/worksheets/sheet1.xml": f"{declared}{before}<{root}><{data}>{rows}</{data}></{root.partition(' ')[0]}>".encode(
            encoding
        ),
    }
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return written.getvalue()


HEADER = '<row r="1"><c r="A1" t="s"><v>0</v></c></row>'


def one(cell, **given):
    """A workbook with a column `x` and the cell A2."""
    return package(f'{HEADER}<row r="2">{cell}</row>', **given)


def of_type(logical_type, **more):
    return {"name": "x", "logicalType": logical_type} | more


WRITTEN = [
    ("a shared string", '<c r="A2" t="s"><v>1</v></c>', {"strings": "<si><t>a &amp; b</t></si>"}, "a & b"),
    ("a string of runs", '<c r="A2" t="s"><v>1</v></c>', {"strings": "<si><r><t>a</t></r><r><rPr/><t> b</t></r></si>"}, "a b"),
    (
        "without how it is pronounced",
        '<c r="A2" t="s"><v>1</v></c>',
        {"strings": "<si><t>東</t><rPh><t>ヒガシ</t></rPh></si>"},
        "東",
    ),
    ("an empty string before it", '<c r="A2" t="s"><v>3</v></c>', {"strings": "<si/><si><t/></si><si><t>c</t></si>"}, "c"),
    ("an inline string", '<c r="A2" t="inlineStr"><is><t xml:space="preserve"> a </t></is></c>', {}, " a "),
    ("an inline string of runs", '<c r="A2" t="inlineStr"><is><r><t>a</t></r><r><t>b</t></r></is></c>', {}, "ab"),
    ("an escaped character", '<c r="A2" t="str"><v>a_x000D_b_x005F_x000D_</v></c>', {}, "a\rb_x000D_"),
    ("half an escaped character", '<c r="A2" t="str"><v>_xD83D_</v></c>', {}, "_xD83D_"),
    ("a character by number", '<c r="A2" t="str"><v>&#233;&#x1F600;&lt;</v></c>', {}, "é😀<"),
    ("a newline of Windows", '<c r="A2" t="str"><v>a\r\nb</v></c>', {}, "a\nb"),
    ("unescaped text", '<c r="A2" t="str"><v><![CDATA[<a & b>]]></v></c>', {}, "<a & b>"),
    ("a sign that needs no escape", '<c r="A2" t="str"><v>a > b</v></c>', {}, "a > b"),
    ("a comment beside it", '<!-- 1 < 2 --><c r="A2" t="str"><v>a</v></c>', {}, "a"),
    ("attributes in another order", '<c t="str" s="0" r="A2"><v>a</v></c>', {}, "a"),
    ("single quotes", "<c r='A2' t='str'><v>a</v></c>", {}, "a"),
    ("other attributes", '<c r="A2" t="str" cm="1" vm="2"><v>a</v></c>', {}, "a"),
    ("a style after the type", '<c r="A2" t="str" s="12"><v>a</v></c>', {}, "a"),
    ("an empty style", '<c r="A2" s="" t="str"><v>a</v></c>', {}, "a"),
    ("no reference", '<c t="str"><v>a</v></c>', {}, "a"),
    ("blanks between tags", '\n  <c r="A2" t="str">\n    <v>a</v>\n  </c>\n', {}, "a"),
    ("a whole number", '<c r="A2"><v>17850.0</v></c>', {}, "17850"),
    ("an exponent", '<c r="A2"><v>1.5E-3</v></c>', {}, "0.0015"),
    ("a number above all others", '<c r="A2"><v>12345678901234567890</v></c>', {}, "1.23456789012345672e+19"),
    ("sixteen digits", '<c r="A2"><v>9319.200000000001</v></c>', {}, "9319.2"),
    ("a percentage is its value", '<c r="A2" s="4"><v>0.8</v></c>', {}, "0.8"),
    ("a date", '<c r="A2" s="1"><v>42766</v></c>', {}, "2017-01-31"),
    ("the last day", '<c r="A2" s="1"><v>2958465</v></c>', {}, "9999-12-31"),
    ("a day after the last", '<c r="A2" s="1"><v>2958466</v></c>', {}, "2958466"),
    ("a day before the first", '<c r="A2" s="1"><v>-1</v></c>', {}, "-1"),
    ("the first day", '<c r="A2" s="1"><v>1</v></c>', {}, "1900-01-01"),
    ("the day that never was", '<c r="A2" s="1"><v>60.5</v></c>', {}, "1900-02-29 12:00:00"),
    ("the day after it", '<c r="A2" s="1"><v>61</v></c>', {}, "1900-03-01"),
    ("the first day of 1904", '<c r="A2" s="1"><v>1</v></c>', {"workbook": '<workbookPr date1904="1"/>'}, "1904-01-02"),
    ("a time of day", '<c r="A2" s="3"><v>0.5</v></c>', {}, "12:00:00"),
    ("a date and time", '<c r="A2" s="3"><v>42766.437511574077</v></c>', {}, "2017-01-31 10:30:01"),
    ("thousandths of a second", '<c r="A2" s="3"><v>42766.43751158565</v></c>', {}, "2017-01-31 10:30:01.001"),
    ("a duration", '<c r="A2" s="2"><v>1.0833449074074</v></c>', {}, "26:00:01"),
    ("a negative duration", '<c r="A2" s="2"><v>-0.5</v></c>', {}, "-12:00:00"),
    ("a date as text", '<c r="A2" t="d"><v>2017-01-31T10:30:00</v></c>', {}, "2017-01-31 10:30:00"),
    ("a truth value", '<c r="A2" t="b"><v>1</v></c>', {}, "true"),
    ("a formula", '<c r="A2"><f>1+1</f><v>2</v></c>', {}, "2"),
    ("a formula of many cells", '<c r="A2"><f t="shared" si="0"/><v>2</v></c>', {}, "2"),
    ("a formula that gives text", '<c r="A2" t="str"><f>"a"&amp;B1</f><v>ab</v></c>', {}, "ab"),
]


@pytest.mark.parametrize(("cell", "given", "expected"), [w[1:] for w in WRITTEN], ids=[w[0] for w in WRITTEN])
def test_a_cell_is_read_however_it_is_written(contract_of, take, cell, given, expected):
    taken = take(contract_of("x"), "excel", one(cell, **given))
    assert taken.rejects == []
    assert taken.rows == [(expected,)]
    assert taken.places == [2]


EMPTY = [
    '<c r="A2"/>',
    '<c r="A2" s="1"/>',
    '<c r="A2" s="1"></c>',
    '<c r="A2"><v></v></c>',
    '<c r="A2" t="s"><v>1</v></c>',
    '<c r="A2" t="inlineStr"><is><t></t></is></c>',
    '<c r="A2" t="inlineStr"><is/></c>',
    '<c r="A2" t="str"><f>IF(B1,1,"")</f><v></v></c>',
]


@pytest.mark.parametrize("cell", EMPTY)
def test_a_row_of_empty_cells_is_no_row(contract_of, take, cell):
    assert take(contract_of("x"), "excel", one(cell, strings="<si><t/></si>")).result.files[0].rows_read == 0


NEVER = "the cell A2 holds a formula that was never computed: open the workbook in Excel, save it, and deliver it"
STALE = '<calcPr fullCalcOnLoad="1"/>'
FAULTY = [
    ('<c r="A2"><f>B1&amp;"x"</f></c>', "", '=B1&"x"', NEVER),
    ('<c r="A2"><f>SUM(B1:B9)</f><v></v></c>', "", "=SUM(B1:B9)", NEVER),
    ('<c r="A2"><f>SUM(B1:B9)</f><v/></c>', "", "=SUM(B1:B9)", NEVER),
    ('<c r="A2" cm="1"><f>SUM(B1:B9)</f><v/></c>', "", "=SUM(B1:B9)", NEVER),
    ('<c r="A2"><f t="shared" si="1"/></c>', "", "=", NEVER),
    ('<c r="A2"><f>B1*2</f><v>0</v></c>', STALE, "=B1*2", NEVER),
    ('<c r="A2" t="e"><v>#N/A</v></c>', "", "#N/A", "the cell A2 holds an error"),
    ('<c r="A2" t="e"><f>1/0</f><v>#DIV/0!</v></c>', "", "#DIV/0!", "the cell A2 holds an error"),
    ('<c r="A2" t="e" vm="1"><v>#VALUE!</v></c>', "", "#VALUE!", "the cell A2 holds an error"),
]


@pytest.mark.parametrize(("cell", "workbook", "shown", "reason"), FAULTY)
@pytest.mark.parametrize("logical_type", ["string", "integer"])
def test_a_cell_without_a_value_that_can_be_trusted_is_told(contract_of, take, cell, workbook, shown, reason, logical_type):
    taken = take(contract_of(of_type(logical_type)), "excel", one(cell, workbook=workbook))
    assert (taken.rows, taken.rejects) == ([], [(2, "x", shown, reason)])


def test_a_formula_of_zero_is_believed_where_the_workbook_is_computed(contract_of, take):
    assert take(contract_of("x"), "excel", one('<c r="A2"><f>1-1</f><v>0</v></c>')).rows == [("0",)]


@pytest.mark.parametrize("library", ["openpyxl", "xlsxwriter"])
def test_formulas_of_libraries_that_compute_nothing_are_never_silent_nulls_or_zeros(contract_of, take, library):
    written = io.BytesIO()
    if library == "openpyxl":
        book = openpyxl.Workbook()
        for row in (["a", "x"], [1, "=A2*2"], [3, 4]):
            book.active.append(row)
        book.save(written)
    else:
        with xlsxwriter.Workbook(written) as book:
            sheet = book.add_worksheet()
            for y, row in enumerate((["a", "x"], [1, "=A2*2"], [3, 4])):
                sheet.write_row(y, 0, row)
    taken = take(contract_of("a", of_type("integer")), "excel", written.getvalue())
    assert taken.rows == [("3", 4)]
    assert taken.rejects == [(2, "x", "=A2*2", NEVER.replace("A2", "B2", 1))]


@pytest.mark.parametrize("text", ["NaN", "INF", "1,5", "one"])
def test_a_number_that_is_none_is_rejected_alone(contract_of, take, text):
    rows = f'{HEADER}<row r="2"><c r="A2"><v>{text}</v></c></row><row r="3"><c r="A3"><v>1</v></c></row>'
    taken = take(contract_of(of_type("integer")), "excel", package(rows))
    assert taken.rows == [(1,)]
    assert [r[:3] for r in taken.rejects] == [(2, "x", text)]


FORMS = [
    ("General", NUMBER), ("0.00E+00", NUMBER), ("#,##0.00;[Red]-#,##0.00", NUMBER), ('0 "days"', NUMBER), ("0.0%", NUMBER),
    ('"h:mm" 0', NUMBER), (r"0\d", NUMBER), ("@", NUMBER), ('_-* #,##0.00 "€"_-', NUMBER), ("[>=100]0;0.0", NUMBER),
    ("yyyy-mm-dd", MOMENT), ("d/m/yy h:mm", MOMENT), ("[$-409]d-mmm-yy;@", MOMENT), ("[$-F400]h:mm:ss AM/PM", MOMENT),
    ("mm:ss.0", MOMENT), ("[Blue]dd.mm.yyyy", MOMENT), ("[h]:mm", DURATION), ("[mm]:ss", DURATION), ("[SS].00", DURATION),
]  # fmt: skip


@pytest.mark.parametrize(("code", "kind"), FORMS)
def test_a_format_says_whether_a_number_is_a_date(code, kind):
    assert format_kind(code) == kind


def test_a_namespace_with_a_prefix_and_another_encoding_are_read(contract_of, take):
    rows = re.sub(r"<(/?)(?=\w)", r"<\1x:", f'{HEADER}<row r="2"><c r="A2" t="str"><v>é &amp; x</v></c></row>')
    root = f'x:worksheet xmlns:x="{MAIN}"'
    assert take(contract_of("x"), "excel", package(rows, root=root)).rows == [("é & x",)]
    plain = f'{HEADER}<row r="2"><c r="A2" t="str"><v>é</v></c></row>'
    assert take(contract_of("x"), "excel", package(plain, encoding="utf-16")).rows == [("é",)]
    with pytest.raises(Unreadable, match="it is written in iso-8859-1; expected UTF-8"):
        take(contract_of("x"), "excel", package(plain, encoding="iso-8859-1"))


def test_rows_and_cells_without_references_are_counted(contract_of, take):
    rows = '<row><c t="s"><v>0</v></c></row><row/><row><c/><c/></row><row><c t="str"><v>a</v></c></row>'
    taken = take(contract_of("x"), "excel", package(rows))
    assert (taken.rows, taken.places) == ([("a",)], [4])


def test_hidden_rows_are_rows_and_other_attributes_of_a_row_do_not_matter(contract_of, take):
    rows = f'{HEADER}<row spans="1:1" ht="12" hidden="1" r="5"><c r="A5" t="str"><v>a</v></c></row>'
    taken = take(contract_of("x"), "excel", package(rows))
    assert (taken.rows, taken.places) == ([("a",)], [5])


def test_text_in_a_column_of_numbers_is_cast_as_text_and_markers_are_no_value(contract_of, take):
    book = openpyxl.Workbook()
    for row in (["s", "x"], ["007", "1.50"], ["(NA)", "(NA)"], ["(S)", " (S) "], [" - ", "-"], ["-5", "-5"], ["n", "1,5"]):
        book.active.append(row)
    written = io.BytesIO()
    book.save(written)
    contract = contract_of("s", {"name": "x", "logicalType": "number", "physicalType": "DECIMAL(5,1)"})
    taken = take(contract, "excel", written.getvalue(), excel=ExcelOptions(null_markers=("(NA)", "(S)", "-")))
    assert taken.rows == [("007", Decimal("1.5")), (None, None), (None, None), (" - ", None), ("-5", Decimal("-5.0"))]
    assert [reject[:3] for reject in taken.rejects] == [(7, "x", "1,5")]


def test_merged_cells_below_the_header_have_their_value_in_the_first(contract_of, take):
    book = openpyxl.Workbook()
    for row in (["a", "b"], ["x", 1], [None, 2]):
        book.active.append(row)
    book.active.merge_cells("A2:A3")
    written = io.BytesIO()
    book.save(written)
    assert take(contract_of("a", "b"), "excel", written.getvalue()).rows == [("x", "1"), (None, "2")]


def test_the_longest_text_and_all_columns_are_read(contract_of, tmp_path):
    wide, long = 16_384, "é" * 32_767
    with xlsxwriter.Workbook(tmp_path / "t.xlsx", {"constant_memory": True}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, [f"c{i}" for i in range(wide)])
        for row in range(1, 4):
            sheet.write_number(row, 0, row)
            sheet.write_number(row, wide - 1, row)
        sheet.write_string(4, wide - 1, long)
    contract = contract_of("c0", "c16383", "c8000", drift="ignore")
    rows = read_excel(Dataset("t", "t", "excel", contract), LakeFile("t", "1", tmp_path / "t.xlsx"))
    found = [row for batch in rows.batches() for row in zip(*(c.to_pylist() for c in batch.columns[:3]), strict=True)]
    assert found == [(str(i), str(i), None) for i in (1, 2, 3)] + [(None, long, None)]
    assert len(rows.undeclared) == wide - 3


def test_a_cell_far_away_costs_nothing(contract_of, tmp_path):
    rows = f'{HEADER}<row r="1048576"><c r="A1048576" t="str"><v>a</v></c><c r="XFD1048576"><v>5</v></c></row>'
    (tmp_path / "t.xlsx").write_bytes(package(rows))
    tracemalloc.start()
    read = read_excel(Dataset("t", "t", "excel", contract_of("x", drift="ignore")), LakeFile("t", "1", tmp_path / "t.xlsx"))
    assert [batch.column("_row").to_pylist() for batch in read.batches()] == [[1_048_576]]
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


OUT_OF_ORDER = [
    '<row r="3"><c r="A3"><v>1</v></c></row><row r="2"><c r="A2"><v>1</v></c></row>',
    '<row r="2"><c r="B2"><v>1</v></c><c r="A2"><v>1</v></c></row>',
    '<row r="2"><c r="A2"><v>1</v></c><c r="A2"><v>2</v></c></row>',
    '<row r="2"><c r="A2"><v>1</v></c></row><row r="2"><c r="A2"><v>2</v></c></row>',
    '<row r="2"><c r="A3"><v>1</v></c></row>',
    '<row r="2"><c r="XFE2"><v>1</v></c></row>',
]


@pytest.mark.parametrize("rows", OUT_OF_ORDER)
def test_cells_out_of_order_are_damage_not_a_guess(contract_of, take, rows):
    with pytest.raises(Unreadable, match="the workbook is damaged"):
        take(contract_of("x"), "excel", package(HEADER + rows))


def test_a_header_that_holds_a_fault_is_told(contract_of, take):
    with pytest.raises(Unreadable, match="the cell B1 should name a column and holds an error"):
        take(
            contract_of("x"), "excel", package('<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="e"><v>#REF!</v></c></row>')
        )
