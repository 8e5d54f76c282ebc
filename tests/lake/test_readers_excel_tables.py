"""Tables of a workbook: several sheets, headers of several rows, footnotes, blocks, and titles that become columns."""

import csv
import datetime as dt
import io
import re
import zipfile
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
import xlsxwriter
import xlwt
import yaml
from openpyxl.utils import range_boundaries

from caudal.lake.component import ExcelSettings, _excel
from caudal.lake.dataset import Dataset
from caudal.lake.excel_options import ExcelBlock, ExcelOptions
from caudal.lake.readers.rows import LakeFile, Unreadable

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide" / "excel.md"

MONEY = {"name": "m", "logicalType": "number", "physicalType": "DECIMAL(10,2)"}
UNITS = {"name": "units", "logicalType": "integer"}


def workbook(sheets, merged=(), hidden=()):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        for cells in merged:
            left, top, right, bottom = range_boundaries(cells)
            sheet.merge_cells(start_row=top, start_column=left, end_row=bottom, end_column=right)
        if name in hidden:
            sheet.sheet_state = "hidden"
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


@pytest.fixture
def take_all(env, tmp_path):
    """Normalize a workbook: its rows by the table's name in `_file`, and what was refused."""
    import pyarrow.parquet as pq

    from caudal.warehouse.engine import connect_memory
    from caudal.warehouse.parts import Quarantined, normalize_many

    def taken(contract, content, *, name="book.xlsx", **options):
        from datetime import UTC, datetime

        file = tmp_path / name
        file.write_bytes(content)
        dataset = Dataset("t", "t", "excel", contract, excel=ExcelOptions(**options))
        rows, places, refused, counts = {}, {}, {}, {}
        with connect_memory(env) as connection:
            given = {"loaded_at": datetime(2020, 1, 1, tzinfo=UTC), "into": tmp_path / "parts"}
            for result in normalize_many(connection, dataset, [LakeFile(f"t/t/{name}", "1", file)], **given):
                if isinstance(result, Quarantined):
                    refused[result.member] = result.reason
                    continue
                counts |= {f.member: (f.rows_read, f.rows_loaded, f.rows_rejected) for f in result.files}
                table = pq.read_table(result.part).to_pylist() if result.part else []
                for row in table:
                    member = row["_file"].removeprefix(f"t/t/{name}").removeprefix("!")
                    rows.setdefault(member, []).append(tuple(row[c] for c in contract.column_names))
                    places.setdefault(member, []).append(row["_row"])
        return rows, places, refused, counts

    return taken


YEARS = {
    "Year 2009-2010": [["item", "units"], ["tea", 1], ["jam", "x"]],
    "Year 2010-2011": [["units", "item"], [2, "tea"], [1, "tea"]],
    "Notes": [["written by accounting"]],
}


def test_each_declared_sheet_is_a_member_with_its_own_header_counts_and_rejects(contract_of, take_all):
    rows, places, refused, counts = take_all(
        contract_of("item", UNITS), workbook(YEARS), sheets=("Year 2009-2010", "Year 2010-2011")
    )
    assert rows == {"Year 2009-2010": [("tea", 1)], "Year 2010-2011": [("tea", 2), ("tea", 1)]}
    assert places == {"Year 2009-2010": [2], "Year 2010-2011": [2, 3]}
    assert counts == {"Year 2009-2010": (2, 1, 1), "Year 2010-2011": (2, 2, 0)}
    assert refused == {}


def test_sheets_by_a_glob_leave_out_hidden_ones_and_others(contract_of, take_all):
    content = workbook(YEARS | {"Year 2011-2012": YEARS["Year 2009-2010"]}, hidden=["Year 2011-2012"])
    rows, _, refused, _ = take_all(contract_of("item", UNITS), content, sheets=("Year*",), sheet_name_as=None)
    assert list(rows) == ["Year 2009-2010", "Year 2010-2011"]
    assert refused == {}


def test_a_hidden_sheet_is_read_where_it_is_named(contract_of, take_all):
    content = workbook(YEARS, hidden=["Year 2009-2010"])
    assert take_all(contract_of("item", UNITS), content, sheet="Year 2009-2010")[0] == {"": [("tea", 1)]}
    hidden = workbook({"a": [["item"], ["x"]], "b": [["item"]]}, hidden=["b"])
    assert take_all(contract_of("item"), hidden)[0] == {"": [("x",)]}


def test_a_declared_sheet_that_is_missing_is_told_and_the_others_are_read(contract_of, take_all):
    rows, _, refused, _ = take_all(contract_of("item", UNITS), workbook(YEARS), sheets=("Year 2010-2011", "Year 2011-2012"))
    assert list(rows) == ["Year 2010-2011"]
    assert "no sheet is called `Year 2011-2012`; there are: `Year 2009-2010`, " in refused["Year 2011-2012"]


def test_a_sheet_that_is_not_declared_is_told_where_others_are_refused(contract_of, take_all):
    _, _, refused, _ = take_all(contract_of("item", UNITS), workbook(YEARS), sheets=("Year*",), other_sheets="refuse")
    assert "the sheet `Notes` is none of those declared: `Year*`" in refused["Notes"]


def test_a_workbook_without_any_declared_sheet_is_quarantined(contract_of, take_all):
    _, _, refused, _ = take_all(contract_of("item", UNITS), workbook(YEARS), sheets=("Jahr*",))
    assert list(refused) == [None]
    assert "t/t/book.xlsx: no sheet is called `Jahr*`; there are:" in refused[None]


def test_a_sheet_of_other_columns_is_quarantined_alone(contract_of, take_all):
    rows, _, refused, _ = take_all(contract_of("item", UNITS), workbook(YEARS), sheets=("*",))
    assert sorted(rows) == ["Year 2009-2010", "Year 2010-2011"]
    assert "t/t/book.xlsx!Notes, sheet `Notes`, row 1: columns missing: `item`, `units`" in refused["Notes"]


def test_sheets_of_workbooks_in_a_zip_are_members_of_members(contract_of, take_all):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("2010/a.xlsx", workbook(YEARS))
        archive.writestr("2010/b.xlsx", workbook({"Other": [["x"]]}))
        archive.writestr("2010/c.xlsx", workbook({"Year 1": [["item", "units"], ["jam", 5]]}))
    rows, _, refused, _ = take_all(contract_of("item", UNITS), packed.getvalue(), name="a.zip", sheets=("Year*",))
    assert rows == {
        "2010/a.xlsx!Year 2009-2010": [("tea", 1)],
        "2010/a.xlsx!Year 2010-2011": [("tea", 2), ("tea", 1)],
        "2010/c.xlsx!Year 1": [("jam", 5)],
    }
    assert list(refused) == ["2010/b.xlsx"]
    assert "there are: `Other`" in refused["2010/b.xlsx"]


def test_the_name_of_the_sheet_and_a_cell_of_the_title_become_columns(contract_of, take_all):
    sheets = {y: [["Sales of region", "North"], [], ["item", "units"], ["tea", 1]] for y in ("2010", "2011")}
    contract = contract_of("item", UNITS, {"name": "year", "logicalType": "integer"}, "region")
    rows, *_ = take_all(
        contract, workbook(sheets), sheets=("20*",), header_row=3, sheet_name_as="year", title_cell_as={"region": "B1"}
    )
    assert rows == {"2010": [("tea", 1, 2010, "North")], "2011": [("tea", 1, 2011, "North")]}


def test_a_title_column_that_the_contract_does_not_have_is_drift(contract_of, take_all):
    sheets = {"2010": [["item"], ["tea"]]}
    _, _, refused, _ = take_all(contract_of("item"), workbook(sheets), sheet_name_as="year")
    assert "not in the contract: `year`" in refused[None]
    assert take_all(contract_of("item", drift="ignore"), workbook(sheets), sheet_name_as="year")[0] == {"": [("tea",)]}


def test_a_header_of_two_rows_is_joined_and_merged_cells_carry_to_the_right(contract_of, take_all):
    rows = [
        ["Turnover by region"],
        [],
        ["Store", "2010", None, "2011", None, None],
        [None, "Units", "Sum", "Units", "Sum", "Note"],
    ]
    rows += [["A", 1, 1.5, 2, 3, None], ["B", 4, 6, None, None, "closed"]]
    content = workbook({"s": rows}, merged=["A3:A4", "B3:C3", "D3:E3"])
    wanted = ["Store", "2010 Units", "2010 Sum", "2011 Units", "2011 Sum", "Note"]
    taken = take_all(contract_of(*wanted), content, header_row=3, header_rows=2)
    assert taken[0] == {"": [("A", "1", "1.5", "2", "3", None), ("B", "4", "6", None, None, "closed")]}
    assert taken[1] == {"": [5, 6]}
    wanted = [name.replace(" ", "/") for name in wanted]
    assert take_all(contract_of(*wanted), content, header_row=3, header_rows=2, header_separator="/")[2] == {}


def test_a_blank_cell_beside_a_header_that_is_not_merged_stays_blank(contract_of, take_all):
    content = workbook({"s": [["2010", None], ["Units", "Sum"], [1, 2]]})
    assert take_all(contract_of("2010 Units", "Sum"), content, header_rows=2)[0] == {"": [("1", "2")]}


def test_merged_headers_of_an_old_workbook_carry_too(contract_of, take_all):
    book = xlwt.Workbook()
    sheet = book.add_sheet("s")
    sheet.write_merge(0, 0, 0, 1, "2010")
    for x, (name, value) in enumerate([("Units", 1), ("Sum", 2.5)]):
        sheet.write(1, x, name)
        sheet.write(2, x, value)
    written = io.BytesIO()
    book.save(written)
    taken = take_all(contract_of("2010 Units", "2010 Sum"), written.getvalue(), name="b.xls", header_rows=2)
    assert taken[0] == {"": [("1", "2.5")]}


FOOTED = [["item", "units"], [], ["tea", 1], ["jam", 2], [], ["bread", 3], ["Total", 6], ["Note: without returns"]]


@pytest.mark.parametrize(
    ("ends_at", "items", "rejected"),
    [
        ((), ["tea", "jam", "bread", "Total"], 1),
        (("blank_row",), ["tea", "jam"], 0),
        (("^Total|^Note",), ["tea", "jam", "bread"], 0),
        (("^Note", "^Total"), ["tea", "jam", "bread"], 0),
        (("^Source",), ["tea", "jam", "bread", "Total"], 1),
    ],
)
def test_what_stands_after_the_end_of_the_table_is_none_of_it(contract_of, take_all, ends_at, items, rejected):
    contract = contract_of("item", UNITS | {"required": True})
    rows, _, _, counts = take_all(contract, workbook({"s": FOOTED}), ends_at=ends_at)
    assert [item for item, _ in rows[""]] == items
    assert counts == {None: (len(items) + rejected, len(items), rejected)}


BESIDE = [
    ["North", None, None, "South"],
    ["item", "units", None, "item", "units"],
    ["tea", 1, "remark", "jam", 10],
    [None, None, None, "bread", 11],
    ["oil", 3],
]


def test_blocks_beside_each_other_are_tables_of_their_own(contract_of, take_all):
    blocks = (ExcelBlock("A2:B", {"region": "A1"}), ExcelBlock("D2:E", {"region": "D1"}))
    rows, places, refused, _ = take_all(contract_of("item", UNITS, "region"), workbook({"s": BESIDE}), blocks=blocks)
    assert rows == {"s!A2": [("tea", 1, "North"), ("oil", 3, "North")], "s!D2": [("jam", 10, "South"), ("bread", 11, "South")]}
    assert places == {"s!A2": [3, 5], "s!D2": [3, 4]}
    assert refused == {}


def test_a_block_ends_at_its_last_row_and_at_its_own_blank_row(contract_of, take_all):
    bounded = (ExcelBlock("A2:B3"), ExcelBlock("D2:E"))
    rows, *_ = take_all(contract_of("item", UNITS), workbook({"s": BESIDE}), blocks=bounded)
    assert rows["s!A2"] == [("tea", 1)]
    ended = (ExcelBlock("A2:B"), ExcelBlock("D2:E"))
    rows, *_ = take_all(contract_of("item", UNITS), workbook({"s": BESIDE}), blocks=ended, ends_at=("blank_row",))
    assert rows == {"s!A2": [("tea", 1)], "s!D2": [("jam", 10), ("bread", 11)]}


BELOW = [
    ["Report of stores"],
    ["Store:", "Lima"],
    ["item", "units"],
    ["tea", 1],
    ["Total", 1],
    [],
    ["Store:", "Oslo"],
    ["item", "units"],
    ["jam", 2],
    ["oil", 3],
    ["Total", 5],
]


def test_blocks_below_each_other_begin_where_a_row_matches(contract_of, take_all):
    given = {"block_starts": "^Store:", "header_row": 2, "ends_at": ("^Total",), "title_cell_as": {"store": "B1"}}
    rows, places, refused, _ = take_all(contract_of("item", UNITS, "store"), workbook({"s": BELOW}), **given)
    assert rows == {"s!A2": [("tea", 1, "Lima")], "s!A7": [("jam", 2, "Oslo"), ("oil", 3, "Oslo")]}
    assert places == {"s!A2": [4], "s!A7": [9, 10]}
    assert refused == {}


def test_a_header_that_repeats_begins_a_block(contract_of, take_all):
    rows = [["item", "units"], ["tea", 1], ["item", "units"], ["jam", 2]]
    taken = take_all(contract_of("item", UNITS), workbook({"a": rows, "b": rows}), sheets=("*",), block_starts="^item$")
    assert taken[0] == {"a!A1": [("tea", 1)], "a!A3": [("jam", 2)], "b!A1": [("tea", 1)], "b!A3": [("jam", 2)]}


def test_a_sheet_without_any_block_is_told(contract_of, take_all):
    sheets = {"a": [["item"], ["x"]], "b": [["nothing"]]}
    rows, _, refused, _ = take_all(contract_of("item"), workbook(sheets), sheets=("*",), block_starts="^item$")
    assert rows == {"a!A1": [("x",)]}
    assert "sheet `b`: no row starts with a value that matches `^item$`" in refused["b"]


def test_a_workbook_of_many_sheets_is_opened_once(contract_of, take_all, monkeypatch):
    from caudal.lake.readers.excel.package import XmlWorkbook

    opened, read = [], XmlWorkbook._strings
    monkeypatch.setattr(XmlWorkbook, "_strings", lambda self, archive: opened.append(1) or read(self, archive))
    sheets = {f"s{i}": [["item"], [f"x{i}"]] for i in range(20)}
    assert len(take_all(contract_of("item"), workbook(sheets), sheets=("*",))[0]) == 20
    assert opened == [1]


def test_the_example_of_the_guide_is_read_as_it_says(contract_of, take_all):
    rows = [["Turnover of", "North"], [], ["Store", "Units", None, "Turnover"], [None, "Shop", "Online", "Shop", "Online"]]
    rows += [
        ["Lima", 12, "(NA)", 80.5, "-"],
        ["Oslo", 9, 3, 71.25, 20],
        ["Total", 21, 3, 151.75, 20],
        ["Note: without returns"],
    ]
    content = workbook({"2010": rows, "2011": rows, "Notes": [["x"]]}, merged=["B3:C3", "D3:E3"])
    (declared,) = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0])
    options = _excel(ExcelSettings.resolve_from_dict(declared["excel"]))
    units = [{"name": f"Units {name}", "logicalType": "integer"} for name in ("Shop", "Online")]
    sums = [{**MONEY, "name": f"Turnover {name}"} for name in ("Shop", "Online")]
    contract = contract_of({"name": "Store", "logicalType": "string", "required": True}, *units, *sums, "year", "region")
    found, places, refused, counts = take_all(contract, content, **{f.name: getattr(options, f.name) for f in fields(options)})
    expected = [("Lima", 12, None, Decimal("80.50"), None), ("Oslo", 9, 3, Decimal("71.25"), Decimal(20))]
    assert found == {year: [(*row, year, "North") for row in expected] for year in ("2010", "2011")}
    assert places == {"2010": [5, 6], "2011": [5, 6]}
    assert refused == {}
    assert counts == {"2010": (2, 2, 0), "2011": (2, 2, 0)}


RETAIL = ROOT.parent / "shared" / "data" / "online_retail"


@pytest.mark.skipif(not RETAIL.is_dir(), reason="shared/data/online_retail is not beside the checkout")
def test_a_real_shop_as_a_workbook_of_two_sheets_in_which_rows_stand_twice(contract_of, take_all):
    days = sorted(RETAIL.glob("2010-12-0[2-6].csv"))
    names, held = [], []
    for day in days:
        with day.open(newline="", encoding="utf-8") as opened:
            names, *rows = csv.reader(opened)
        held.append(rows)
    written = io.BytesIO()
    with xlsxwriter.Workbook(written) as book:
        moment = book.add_format({"num_format": "d/m/yy h:mm"})
        for sheet_name, chosen in (("Year 2009-2010", held[:3]), ("Year 2010-2011", held[2:])):
            sheet = book.add_worksheet(sheet_name)
            sheet.write_row(0, 0, names)
            for y, row in enumerate((row for rows in chosen for row in rows), 1):
                for x, (name, value) in enumerate(zip(names, row, strict=True)):
                    if name == "InvoiceDate":
                        sheet.write_datetime(y, x, dt.datetime.fromisoformat(value), moment)
                    elif name in ("Quantity", "UnitPrice", "CustomerID") and value:
                        sheet.write_number(y, x, float(value))
                    else:
                        sheet.write_string(y, x, value)
    kinds = {"Quantity": "integer", "InvoiceDate": "timestamp", "CustomerID": "integer"}
    declared = [{"name": n, "logicalType": kinds.get(n, "string")} for n in names]
    declared[names.index("UnitPrice")] = {"name": "UnitPrice", "logicalType": "number", "physicalType": "DECIMAL(12,3)"}
    found, places, refused, counts = take_all(contract_of(*declared), written.getvalue(), sheets=("Year*",))
    assert refused == {}
    for sheet_name, chosen in (("Year 2009-2010", held[:3]), ("Year 2010-2011", held[2:])):
        expected = [row for rows in chosen for row in rows]
        assert counts[sheet_name] == (len(expected), len(expected), 0)
        assert places[sheet_name] == list(range(2, len(expected) + 2))
        typed = [
            (a, b, c or None, int(d), dt.datetime.fromisoformat(e), Decimal(f), int(float(g)) if g else None, h)
            for a, b, c, d, e, f, g, h in expected
        ]
        assert found[sheet_name] == typed


WRONG = [
    ({"header_row": 0}, "counted from 1"),
    ({"sheet": "a", "sheets": ("b",)}, "both declared"),
    ({"blocks": (ExcelBlock("A1:B"),), "block_starts": "x"}, "both declared"),
    ({"blocks": (ExcelBlock("B1:A"),)}, "stands after the last"),
    ({"blocks": (ExcelBlock("A:B"),)}, "is no range of cells"),
    ({"blocks": (ExcelBlock("A1:B"), ExcelBlock("A1:C"))}, "begin in the same cell"),
    ({"title_cell_as": {"x": "1B"}}, "is no cell"),
    ({"ends_at": ("(",)}, "is no regular expression"),
    ({"other_sheets": "refuse"}, "needs `sheets`"),
]


@pytest.mark.parametrize(("given", "told"), WRONG)
def test_options_that_cannot_be_meant_are_refused(given, told):
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        ExcelOptions(**given)


def test_the_header_of_a_table_says_where_it_should_stand(contract_of, take):
    with pytest.raises(Unreadable, match="sheet `s`, row 9 to 10: it should name the columns and is empty"):
        take(contract_of("x"), "excel", workbook({"s": [["x"]]}), excel=ExcelOptions(header_row=9, header_rows=2))
