"""What is proposed for sample files: types that every value has, and a word where something was not sure."""

import datetime as dt
import gzip
import io
import json
import zipfile
from decimal import Decimal
from types import SimpleNamespace

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from jinja2.nativetypes import NativeTemplate
from typer.testing import CliRunner

from caudal.cli import app
from caudal.contracts import read_contract
from caudal.warehouse.propose.names import FilePath, as_name, dataset_name, file_path
from caudal.warehouse.propose.personal import suspicion
from caudal.warehouse.propose.proposal import NoProposal, propose
from caudal.warehouse.propose.render import contract_yaml, defs_yaml, scalar, templated
from caudal.warehouse.propose.writing import write


@pytest.fixture
def proposed(env, tmp_path):
    """The proposal for files of the given content, by name: its YAML, read and as text. It is checked that all rows fit."""

    def look(files, *, fits=True, **settings):
        folder = tmp_path / "samples"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        proposal = propose(env, [folder / name for name in files], "shop", "sales", **settings)
        assert proposal.fits == fits, proposal.outcome()
        contract, defs = contract_yaml(proposal), defs_yaml(proposal)
        path = tmp_path / "contract.odcs.yaml"
        path.write_text(contract)
        read_contract(path)
        properties = yaml.safe_load(contract)["schema"][0]["properties"]
        (dataset,) = yaml.safe_load(defs)["attributes"]["datasets"]
        columns = {p["name"]: {k: v for k, v in p.items() if k not in ("name", "description")} for p in properties}
        return SimpleNamespace(proposal=proposal, contract=contract, defs=defs, columns=columns, dataset=dataset)

    return look


@pytest.fixture
def column(proposed):
    """What is proposed for one column of the given texts, beside a key: its declaration and the contract."""

    def look(*values, name="value", **others):
        quoted = ['"' + v.replace('"', '""') + '"' if v else "" for v in values]
        rows = [f"k{n};{v}" + "".join(f";{o[n]}" for o in others.values()) for n, v in enumerate(quoted)]
        found = proposed({"a.csv": "\n".join([";".join(["key", name, *others]), *rows]) + "\n"})
        return {k: v for k, v in found.columns[name].items() if k != "required"}, found.contract

    return look


# Types ---------------------------------------------------------------------------------------------------------------


def test_plain_types_are_told_by_every_value(proposed):
    text = "s,i,n,b,d,t,z,c\nab,1,1.5,true,2024-01-31,2024-01-31 10:30,2024-01-31T10:30:00Z,10:30\nb,-2,22.25,false,2024-02-01,"
    found = proposed({"a.csv": text + "2024-02-01 00:00:00,2024-01-31T10:30:00+02:00,23:59:59\n"})
    assert {n: c["logicalType"] for n, c in found.columns.items()} == {
        "s": "string", "i": "integer", "n": "number", "b": "boolean", "d": "date", "t": "timestamp", "z": "timestamp", "c": "time",
    }  # fmt: skip
    assert found.columns["z"]["logicalTypeOptions"] == {"timezone": True}
    assert all(c["required"] for c in found.columns.values())


def test_decimals_get_room_and_it_is_said(column):
    declared, contract = column("1234.5", "0.125")
    assert declared == {"logicalType": "number", "physicalType": "DECIMAL(18,3)"}
    assert "seen: up to 4 digits before the point and 3 after; there is room for 15 and 3" in contract


def test_many_digits_get_a_wide_decimal_and_no_digit_is_lost(column):
    assert column("12345678901234567890.12")[0]["physicalType"] == "DECIMAL(38,2)"
    assert column("1" * 37 + ".12")[0]["physicalType"] == "DOUBLE"


def test_exponents_and_computed_numbers_are_doubles(column):
    assert column("1.5e-7", "2")[0]["physicalType"] == "DOUBLE"
    declared, contract = column("0.30000000000000004", "2.5")
    assert declared["physicalType"] == "DOUBLE"
    assert "as computed numbers have" in contract


def test_integers_written_with_a_point_are_integers(column):
    declared, contract = column("17850.0", "3")
    assert declared == {"logicalType": "integer"}
    assert "1 of 2 values are written with a point, such as 17850.0, and are whole" in contract


def test_a_leading_zero_keeps_a_column_text(column):
    declared, contract = column(*(str(n) for n in range(10, 90)), "007", "01", "02", "03")
    assert declared == {"logicalType": "string"}
    assert "4 of 84 values have a leading zero: kept as string" in contract
    assert column("010041", "010042")[0] == {"logicalType": "string"}
    assert column("01.5", "02.5")[0] == {"logicalType": "string"}


def test_digits_that_are_no_number_by_their_name_are_text(column):
    declared, contract = column("80331", "89073", name="zip_code")
    assert declared == {"logicalType": "string", "classification": "personal"}
    assert "digits only, but no number by its name" in contract


def test_a_few_misfits_are_named_and_keep_the_column_text(column):
    declared, contract = column(*(str(n) for n in range(100)), "about 7")
    assert declared == {"logicalType": "string"}
    assert 'unsure: 1 of 101 values are no integer ("about 7"): kept as string' in contract


@pytest.mark.parametrize(
    ("values", "number_format", "told"),
    [
        (["1.234,50", "7,00"], {"decimal": ",", "group": "."}, "up to 4 digits before the point and 1 after"),
        (["1,234.50", "7.00"], {"decimal": ".", "group": ","}, ""),
        (["1 234,5", "12"], {"decimal": ",", "group": " "}, ""),
        (["1'234.50", "7.00"], {"decimal": ".", "group": "'"}, ""),
        (["3,5", "12,25"], {"decimal": ","}, ""),
        (["80.00%", "2.5%"], {"decimal": ".", "percent": "fraction"}, "80 % is kept as 0.8"),
        (["$1,234.50", "$7.00"], {"decimal": ".", "group": ",", "currency": ["$"]}, ""),
        (["1.234,50 €", "7,00 €"], {"decimal": ",", "group": ".", "currency": ["€"]}, ""),
        (["(1,234.50)", "7.00"], {"decimal": ".", "group": ",", "negative": ["parentheses"]}, ""),
        (["12,5-", "7,00"], {"decimal": ",", "negative": ["trailing"]}, ""),
    ],
)
def test_numbers_in_the_formats_that_people_write(column, values, number_format, told):
    declared, contract = column(*values)
    assert declared["logicalType"] == "number"
    assert declared["customProperties"] == [{"property": "numberFormat", "value": number_format}]
    assert told in contract


def test_whole_numbers_with_groups_are_integers_where_nothing_else_could_be_meant(column):
    declared, _ = column("1,234,567", "12")
    assert declared["logicalType"] == "integer"


def test_a_separator_that_could_be_either_is_text_unless_a_neighbour_decides(column):
    declared, contract = column("1,234", "5,678")
    assert declared == {"logicalType": "string"}
    assert "does the separator stand before decimals or between thousands? No value decides it" in contract
    declared, contract = column("1,234", "5,678", price=["1,5", "2.000,25"])
    assert declared["customProperties"] == [{"property": "numberFormat", "value": {"decimal": ","}}]
    assert "unsure: could be read otherwise; read as in column `price`" in contract


@pytest.mark.parametrize(
    ("values", "kind", "pattern"),
    [
        (["31.12.2024", "01.02.2025"], "date", "dd.MM.yyyy"),
        (["31.12.2024", "1.2.2025"], "date", "d.M.yyyy"),
        (["12/31/24", "1/2/25"], "date", "M/d/yy"),
        (["31/12/2024", "01/02/2025"], "date", "dd/MM/yyyy"),
        (["2024/12/31", "2025/01/02"], "date", "yyyy/MM/dd"),
        (["31-Dec-2024", "02-Jan-2025"], "date", "dd-MMM-yyyy"),
        (["December 31, 2024", "January 2, 2025"], "date", "MMMM d, yyyy"),
        (["31.12.2024 10:30", "01.02.2025 09:05"], "timestamp", "dd.MM.yyyy HH:mm"),
        (["12/31/2024 9:30 PM", "12/30/2024 12:05 AM"], "timestamp", "MM/dd/yyyy h:mm a"),
        (["20241231 103000", "20250102 000000"], "timestamp", "yyyyMMdd HHmmss"),
        (["9:30", "10:15"], "time", "H:mm"),
    ],
)
def test_dates_and_times_in_the_formats_that_people_write(column, values, kind, pattern):
    declared, _ = column(*values)
    assert declared == {"logicalType": kind, "logicalTypeOptions": {"format": pattern}}


def test_a_date_that_could_be_read_in_two_ways_is_text_unless_a_neighbour_decides(column):
    declared, contract = column("01/02/2024", "03/04/2024")
    assert declared == {"logicalType": "string"}
    assert "unsure: day, month, year (dd/MM/yyyy) or month, day, year (MM/dd/yyyy)? No value decides it: kept as" in contract
    declared, contract = column("01/02/2024", "03/04/2024", due=["31/01/2024", "01/02/2024"])
    assert declared["logicalTypeOptions"] == {"format": "dd/MM/yyyy"}
    assert "read as in column `due`" in contract


def test_two_digits_of_a_year_are_remarked(column):
    assert "two digits of a year are read as 1969 to 2068" in column("12/31/24", "1/2/25")[1]


def test_eight_digits_are_days_if_the_name_says_so(column):
    assert column("20241231", "20250102", name="order_date")[0] == {
        "logicalType": "date",
        "logicalTypeOptions": {"format": "yyyyMMdd"},
    }
    declared, contract = column("20241231", "20250102")
    assert declared == {"logicalType": "integer"}
    assert "unsure: they may as well be days, as yyyyMMdd" in contract
    assert column("20241231103000", name="changed_at")[0]["logicalTypeOptions"] == {"format": "yyyyMMddHHmmss"}


def test_lengths_of_time_are_durations(column):
    declared, _ = column("26:30:00", "0:15:30")
    assert declared["customProperties"] == [{"property": "duration", "value": {"format": "h:mm:ss", "unit": "seconds"}}]


def test_booleans_may_be_spelled_otherwise(column):
    declared, contract = column("Y", "N", "Y")
    assert declared["logicalType"] == "boolean"
    assert {c["property"]: c["value"] for c in declared["customProperties"]} == {"trueValues": ["Y"], "falseValues": ["N"]}
    declared, contract = column("0", "1", "1")
    assert declared == {"logicalType": "integer"}
    assert "only 0 and 1: perhaps a boolean" in contract


def test_null_markers_are_the_columns_own_and_are_counted(column):
    declared, contract = column("1", "-", "n/a", "22", "-", note=["-", "n/a", "x", "y", "z"])
    assert declared == {"logicalType": "integer", "customProperties": [{"property": "nullMarkers", "value": ["-", "n/a"]}]}
    assert 'unsure: 3 of 5 values are "-", "n/a"; taken as no value' in contract
    assert 'unsure: 1 of 5 values are "n/a": kept as text, if not declared nullMarkers' in contract


def test_a_column_of_nothing_but_markers_or_without_a_value_is_text_and_it_is_said(column):
    assert 'unsure: no value but "-": kept as text' in column("-", "-")[1]
    declared, contract = column("", "")
    assert declared == {"logicalType": "string"}
    assert "no value in the sample: the type is not known" in contract


# What else is said of columns ------------------------------------------------------------------------------------------


def test_a_column_that_lacks_a_value_is_not_required(proposed):
    found = proposed({"a.csv": "a,b\n1,x\n2,\n"})
    assert [c.get("required") for c in found.columns.values()] == [True, None]
    assert "1 of 2 rows have no value" in found.contract


def test_a_unique_column_named_as_a_key_is_the_key(proposed):
    found = proposed({"a.csv": "at,order_id,item\n2024-01-01,1,x\n2024-01-02,2,x\n2024-01-03,3,y\n"})
    assert [n for n, c in found.columns.items() if c.get("primaryKey")] == ["order_id"]
    assert "primaryKey: true  # unsure: unique over the 3 rows looked at" in found.contract
    assert "name: at  # unique over the 3 rows looked at" in found.contract


def test_columns_that_are_unique_together_are_told(proposed):
    found = proposed({"a.csv": "basket,line,item\n1,1,x\n1,2,y\n2,1,x\n2,2,x\n"})
    assert not [n for n, c in found.columns.items() if c.get("primaryKey")]
    assert "# unique together over the sample: `basket` and `line`" in found.contract


def test_a_small_set_of_values_is_suggested_and_not_declared(proposed):
    found = proposed({"a.csv": "n,state\n" + "".join(f"{n},{['open', 'paid'][n % 2]}\n" for n in range(40))})
    assert found.columns["state"] == {"logicalType": "string", "required": True}
    assert "# all values: [open, paid]; to refuse others, declare them as allowedValues" in found.contract


@pytest.mark.parametrize(
    ("name", "values"),
    [("contact", []), ("E-Mail", []), ("firstName", []), ("Straße", []), ("date_of_birth", []), ("customerId", []),
     ("x", ["a@b.example", "c@d.example"]), ("x", ["+49 89 123456", "0049 30 1234567"]), ("x", ["DE89 3704 0044 0532 0130 00"])],
)  # fmt: skip
def test_personal_data_is_suspected_by_name_and_by_value(name, values):
    assert suspicion(name, values)


def test_no_value_of_personal_data_is_shown(proposed):
    rows = "".join(f"{n},{['a', 'b'][n % 2]}@shop.example,{'?' if n == 7 else n}\n" for n in range(60))
    found = proposed({"a.csv": "n,mail,phone\n" + rows.replace("7,b@shop.example,?", "7,b@shop.example,call me")})
    assert found.columns["mail"]["classification"] == "personal"
    assert "@shop.example" not in found.contract
    assert "unsure: 1 of 60 values are no integer: kept as string" in found.contract


@pytest.mark.parametrize(("name", "values"), [("item", ["12.50", "2024-01-31"]), ("zipped", []), ("shipment", ["a", "b"])])
def test_other_data_is_not(name, values):
    assert suspicion(name, values) is None


# How files are read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a;b\n1;x\n2;y\n", {"delimiter": ";"}),
        ("a\tb\n1\tx\n2\ty\n", {"delimiter": "\t"}),
        ("a|b\n1|x\n2|y\n", {"delimiter": "|"}),
        ("a,b\n1,'x,y'\n2,'y,z'\n", {"quote": "'"}),
        ("sep=;\na;b\n1;x\n2;y\n", {"delimiter": ";", "skip_lines": 1}),
        ("Report\n\na,b,c\n1,x,y\n2,y,z\n", {"skip_lines": 2}),
        ("# made by hand\na,b\n1,x\n", {"comment": "#"}),
        ("a,b,c\n1,x,y\n2,y,z\n\nTotal: 2\n", {"skip_footer": 1}),
        ("a,b,c\n1,x,1\n2,y,2\nTotal,,3\n", {"skip_footer": 1}),
        ("1,x\n2,y\n", {"header": False}),
        ("a,b\n1,x\n2,y\n", {}),
        ("country,2010,2011\nA,1,2\nB,3,4\n", {}),
    ],
)
def test_dialects_of_delimited_text(proposed, text, options):
    found = proposed({"a.csv": text})
    assert found.dataset.get("csv", {}) == options
    assert found.proposal.verdict.read == {"sep=;": 2}.get(text[:5], text.count("\n1,") + text.count("\n2,") + text.startswith("1,")
        or text.count("\nA,") + text.count("\nB,") or 2)  # fmt: skip


@pytest.mark.parametrize("end", ["3\n", "3,,\n", ",,\n", "3,y"])
def test_a_last_row_that_is_cut_short_or_empty_is_no_footer(proposed, end):
    found = proposed({"a.csv": "a,b,c\n1,x,1\n2,y,2\n" + end}, fits=end.count(",") == 2)
    assert "skip_footer" not in found.defs
    assert found.proposal.verdict.read == 3


def test_names_that_sql_cannot_say_everywhere_are_proposed_plain_and_others_kept_exactly(proposed):
    found = proposed({"a.csv": 'Kunde Nr.,"Preis (€), netto",#\n1,2,3\n'})
    assert list(found.columns) == ["Kunde Nr", "Preis_netto", "column"]
    renamed = [c["customProperties"] for c in found.columns.values()]
    assert renamed == [[{"property": "renamedFrom", "value": [n]}] for n in ("Kunde Nr.", "Preis (€), netto", "#")]
    kept = proposed({"a.csv": "Kunde Nr,@id,id,Ärger,Befund-Nr\n1,2,3,4,5\n"})
    assert list(kept.columns) == ["Kunde Nr", "id_2", "id", "Ärger", "Befund_Nr"]
    assert kept.columns["id_2"]["customProperties"] == [{"property": "renamedFrom", "value": ["@id"]}]


def test_a_header_that_may_be_a_row_is_remarked(proposed):
    found = proposed({"a.csv": "ab,cd\nef,gh\nij,kl\n"})
    assert list(found.columns) == ["ab", "cd"]
    assert "unsure: all values are text; the first line (`ab`, ...) is taken as names" in found.defs


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(proposed, encoding):
    found = proposed({"a.csv": "größe,wert\nklein,1\nöde,2\n".encode(encoding)})
    assert list(found.columns) == ["größe", "wert"]
    declared = {"utf-8-sig": None, "utf-16": "utf-16", "cp1252": "cp1252"}[encoding]
    assert found.dataset.get("csv", {}).get("encoding") == declared
    assert ("unsure: no UTF-8; read as cp1252 it says `größe,wert`" in found.defs) == (encoding == "cp1252")


def test_json_lines_keep_nested_values_that_are_alike_as_structs_and_lists(proposed):
    rows = [{"id": n, "at": {"x": 1.5, "y": n}, "tags": ["a"], "lines": [{"sku": "1", "n": 2}]} for n in range(3)]
    found = proposed({"a.jsonl": "".join(json.dumps(r) + "\n" for r in rows)})
    assert found.columns["at"]["properties"] == [
        {"name": "x", "logicalType": "number", "physicalType": "DECIMAL(18,2)"},
        {"name": "y", "logicalType": "integer"},
    ]
    assert found.columns["tags"]["items"] == {"logicalType": "string"}
    assert [p["name"] for p in found.columns["lines"]["items"]["properties"]] == ["sku", "n"]


def test_objects_with_keys_of_their_own_are_kept_as_json_text(proposed):
    found = proposed({"a.jsonl": '{"id": 1, "p": {"a": 1}}\n{"id": 2, "p": {"b": 1}}\n'})
    assert found.columns["p"] == {"logicalType": "object", "required": True}
    assert "kept as JSON text: not every object has `a`, `b`" in found.contract


def test_rows_with_keys_of_their_own_let_the_contract_evolve(proposed):
    found = proposed({"a.jsonl": '{"id": 1}\n{"id": 2, "x": 1}\n'})
    assert yaml.safe_load(found.contract)["customProperties"] == [{"property": "driftPolicy", "value": "evolve"}]
    assert found.columns["x"] == {"logicalType": "integer"}


def test_a_json_document_is_read_where_its_rows_are(proposed):
    document = {"made": "2024-01-31", "data": {"tags": ["a"], "items": [{"id": 1, "n": "1.5"}, {"id": 2, "n": "2.25"}]}}
    found = proposed({"a.json": json.dumps(document, indent=2)})
    assert (found.dataset["format"], found.dataset["json"]) == ("json", {"records": "data.items"})
    assert list(found.columns) == ["id", "n"]


def test_parquet_keeps_its_types(proposed):
    written = io.BytesIO()
    rows = {"i": [1, 2], "m": [Decimal("1.50"), None], "f": [0.5, 1.5], "d": [dt.date(2024, 1, 31)] * 2, "s": [{"a": 1}] * 2}
    pq.write_table(pa.table(rows | {"at": pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)] * 2)}), written)
    found = proposed({"a.parquet": written.getvalue()})
    assert {n: c["logicalType"] for n, c in found.columns.items()} == {
        "i": "integer", "m": "number", "f": "number", "d": "date", "s": "object", "at": "timestamp",
    }  # fmt: skip
    assert found.columns["f"]["physicalType"] == "DOUBLE"
    assert found.columns["m"].get("required") is None


def test_orc_keeps_its_types(proposed):
    from pyarrow import orc

    written = io.BytesIO()
    orc.write_table(pa.table({"i": [1, 2], "s": ["a", "b"]}), written)
    found = proposed({"a.orc": written.getvalue()})
    assert {n: c["logicalType"] for n, c in found.columns.items()} == {"i": "integer", "s": "string"}


def test_nanoseconds_of_a_typed_format_are_proposed_to_be_cut(proposed):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"n": [1, 2], "at": pa.array([10**18, 10**18 + 1], pa.timestamp("ns"))}), buffer)
    found = proposed({"a.parquet": buffer.getvalue()})
    assert found.columns["at"]["customProperties"] == [{"property": "nanoseconds", "value": "cut"}]
    assert "unsure: 1 values are finer than a microsecond, and what is beyond is cut" in found.contract


def test_text_of_a_typed_format_stays_text_and_what_it_may_be_is_said(proposed):
    written = io.BytesIO()
    pq.write_table(pa.table({"n": ["1", "2"]}), written)
    found = proposed({"a.parquet": written.getvalue()})
    assert found.columns["n"]["logicalType"] == "string"
    assert "unsure: text in the file, and every value is of the type integer: kept as string" in found.contract


def test_avro_keeps_its_types(proposed):
    import fastavro

    fields = [{"name": "i", "type": "long"}, {"name": "s", "type": ["null", "string"]}]
    written = io.BytesIO()
    schema = fastavro.parse_schema({"type": "record", "name": "r", "fields": fields})
    fastavro.writer(written, schema, [{"i": 1, "s": "a"}, {"i": 2, "s": None}])
    found = proposed({"a.avro": written.getvalue()})
    assert {n: c["logicalType"] for n, c in found.columns.items()} == {"i": "integer", "s": "string"}


def test_xml_is_read_where_its_rows_are(proposed):
    text = "<shop><made>x</made><orders>" + "".join(
        f'<order no="{n}"><day>2024-01-0{n}</day><line><sku>a</sku></line><line><sku>b</sku></line></order>' for n in (1, 2, 3)
    )
    found = proposed({"a.xml": text + "</orders></shop>"})
    assert found.dataset["xml"] == {"record": "shop/orders/order"}
    assert found.columns["day"]["logicalType"] == "date"


def test_lines_of_one_length_are_fixed_width(proposed):
    text = "no   name      amount\n0001 apple       1.50\n0002 pear tree  22.00\n0003 fig         3.25\n"
    found = proposed({"a.txt": text})
    assert found.dataset["format"] == "fixed_width"
    assert found.columns["no"]["logicalType"] == "string"
    assert found.columns["amount"]["logicalType"] == "number"


def test_packed_files_and_files_of_an_archive_are_looked_into(proposed):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x/a.csv", "a,b\n1,x\n")
        archive.writestr("x/b.csv", "a,b\n2.5,y\n")
    found = proposed({"a.zip": packed.getvalue()})
    assert (found.proposal.verdict.read, found.columns["a"]["logicalType"]) == (2, "number")
    assert proposed({"a.csv.gz": gzip.compress(b"a,b\n1,x\n")}).columns["a"]["logicalType"] == "integer"


def test_only_the_start_of_a_large_file_is_looked_at_and_it_is_said(proposed):
    text = "a,b\n" + "".join(f"{n},x\n" for n in range(5_000))
    for name, content in (("a.csv", text.encode()), ("a.csv.gz", gzip.compress(text.encode()))):
        found = proposed({name: content}, sample_bytes=2_000)
        assert 100 < found.proposal.verdict.read < 5_000 or name.endswith("gz")
        assert f"looked at the start of {name} only" in found.contract
    found = proposed({"a.csv": text}, sample_rows=10)
    assert "looked at the start of a.csv only (64 MB and 10 rows of a file at most)" in found.contract


def test_rows_that_no_contract_would_take_are_told(proposed):
    found = proposed({"a.csv": "a,b,c\n1,2,3\n4,5\n6,7,8\n9,1,2\n"}, fits=False)
    assert "1 would be rejected; row 3: 2 values; expected 3" in found.proposal.outcome()
    assert "# unsure: 4 rows of 1 file: 3 fit, 1 would be rejected" in found.contract


def test_a_file_of_another_format_among_the_samples_is_told(proposed):
    found = proposed({"a.csv": "a,b\n1,x\n", "b.csv": "a,b\n2,y\n", "c.csv": '{"a": 1}\n'}, fits=False)
    assert "c.csv: this is jsonl, and others are csv" in found.contract


def test_files_of_different_columns_let_the_contract_evolve(proposed):
    found = proposed({"a.csv": "a,b\n1,x\n", "b.csv": "a,c\n2,y\n"})
    assert list(found.columns) == ["a", "b", "c"]
    assert "value: evolve" in found.contract


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "the file is empty"), (b"<html></html>", "this is an HTML page"), (b"\x89PNG\r\n", "this is a PNG image"),
     (b"a,a\n1,2\n", "stands there more than once"), (b'{"a": 1', "JSON"),
     (b"_file,b\n1,2\n", "no contract can be written .* `_file`: the platform adds"),
     (b"Id,id\n1,2\n", "no contract can be written .* `id` is declared twice")],
)  # fmt: skip
def test_what_cannot_be_proposed_says_why(env, tmp_path, content, told):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    with pytest.raises(NoProposal, match=told):
        propose(env, [file])


# Names -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "path", "partition_by", "start"),
    [
        (["sales_2024-02-01.csv", "sales_2024-01-31.csv"], "sales_{day:%Y-%m-%d}.csv", "day", "2024-01-31"),
        (["20240131.csv.gz"], "{day:%Y%m%d}.csv.gz", "day", "2024-01-31"),
        (["a_2024-01-31-07.csv", "a_2024-01-31-08.csv"], "a_{hour:%Y-%m-%d-%H}.csv", "hour", "2024-01-31T07:00:00"),
        (["sales_1.csv", "sales_22.csv"], "sales_*.csv", "none", None),
        (["north.csv", "south.csv"], "*th.csv", "none", None),
        (["sales.csv"], "*.csv", "none", None),
        (["sales_7.csv"], "sales_*.csv", "none", None),
        (["a[1].csv", "a[2].csv"], "a*.csv", "none", None),
    ],
)
def test_the_path_is_what_names_have_in_common(names, path, partition_by, start):
    found = file_path(names)
    assert (found.path, found.partition_by, found.start) == (path, partition_by, start)


def test_a_path_takes_the_names_that_it_was_made_of():
    from caudal.lake.dataset import Dataset
    from caudal.warehouse.propose.table import text_contract

    for names in (
        ["a{1}.csv", "a{2}.csv"],
        ["x*y.csv"],
        ["%Y.csv", "%m.csv"],
        ["a.csv"],
        ["ab.csv", "abb.csv"],
        ["2024-13-41.csv"],
    ):
        found = file_path(names)
        assert isinstance(found, FilePath)
        dataset = Dataset("s", "n", "csv", text_contract([]), path=found.path)
        assert [dataset.refusal(f"s/n/{name}") for name in names] == [None] * len(names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["Sales-2024.csv"], "sales"), (["2024.csv"], ""), (["OrderLines_1.csv", "OrderLines_2.csv"], "order_lines"), (["Größe.x"], "grosse")],
)  # fmt: skip
def test_the_dataset_is_called_after_its_files(names, expected):
    assert dataset_name(names) == expected


def test_names_are_as_the_platform_writes_them():
    assert as_name("  2nd  Quarter__Sales ") == "nd_quarter_sales"


# Writing -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [",", "None", "...", "{{ x }}", "{% if", "{#x", "1", "[]", "'", '"', "\\n", "^Total", "a b"])
def test_settings_mean_themselves_after_templates_were_rendered(value):
    written = yaml.safe_load(f"x: {scalar(templated(value))}")["x"]
    assert NativeTemplate(written).render() == value


@pytest.mark.parametrize(
    "value", ["", "no", "Yes", "1", "a: b", "#x", "- a", "ä", "\x85", "\u2028", "a\nb", "null", "2024-01-31", "&x", "é€"]
)
def test_text_is_written_so_that_yaml_reads_it_back(value):
    assert yaml.safe_load(f"x: {scalar(value)}") == {"x": value}


def test_existing_files_are_kept_unless_forced(proposed, tmp_path):
    proposal = proposed({"a.csv": "a,b\n1,x\n"}).proposal
    first = write(proposal, tmp_path / "defs")
    assert [p.relative_to(tmp_path).as_posix() for p in first] == ["defs/defs.yaml", "defs/contracts/sales.odcs.yaml"]
    first[0].write_text("mine")
    first[1].unlink()
    with pytest.raises(FileExistsError, match="already there"):
        write(proposal, tmp_path / "defs")
    assert (first[0].read_text(), first[1].exists()) == ("mine", False)
    write(proposal, tmp_path / "defs", force=True)
    assert first[0].read_text() == defs_yaml(proposal)


def test_the_command_prints_both_files_and_tells_the_outcome(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUDAL_DATA", str(tmp_path / "data"))
    (tmp_path / "a.csv").write_text("a,b\n1,x\n2,y\n")
    run = CliRunner().invoke(app, ["lake", "propose", str(tmp_path / "a.csv"), "--source", "shop"])
    defs, contract = yaml.safe_load_all(run.stdout)
    assert defs["type"] == "caudal.lake.component.Datasets"
    assert contract["kind"] == "DataContract"
    assert (run.exit_code, run.stderr) == (0, "2 rows of 1 file: all fit\n")
    assert CliRunner().invoke(app, ["lake", "propose", str(tmp_path / "none.csv")]).exit_code == 2
    assert not (tmp_path / "data").exists()


# What real companies send -----------------------------------------------------------------------------------------------


def test_a_time_of_day_in_most_lines_is_no_delimiter(proposed):
    rows = "".join(f"{n};P{n};0{n}.03.2026 1{n}:30\n" for n in range(1, 9))
    found = proposed({"a.csv": f"Laborbericht; Stand: 01.03.2026\n\nBefund;Patient;Entnahme\n{rows}Summe: 8 Befunde\n"})
    assert found.dataset["csv"] == {"delimiter": ";", "skip_lines": 2, "skip_footer": 1}
    assert list(found.columns) == ["Befund", "Patient", "Entnahme"]


def test_colons_split_lines_that_nothing_else_splits(proposed):
    found = proposed({"a.csv": "name:shell:home\n" + "".join(f"u{n}:/bin/sh:/home/{n}\n" for n in range(5))})
    assert found.dataset["csv"]["delimiter"] == ":"


def test_of_an_archive_the_files_of_the_usual_kind_are_taken(proposed):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for day in range(1, 4):
            archive.writestr(f"03/day{day}.csv", f"sale,amount\n{day},1.5\n")
        archive.writestr("README.txt", "made by the pharmacy")
    found = proposed({"a.zip": packed.getvalue()})
    assert (found.dataset["members"], list(found.columns)) == ("*.csv", ["sale", "amount"])


def test_sheets_that_are_called_after_their_month_are_told_by_a_glob(proposed):
    files = {}
    for month in ("2026-03", "2026-04"):
        book, file = openpyxl.Workbook(), io.BytesIO()
        book.active.title = month
        for row in (["day", "beds"], [dt.date(2026, 3, 1), 12], [dt.date(2026, 3, 2), 13]):
            book.active.append(row)
        book.create_sheet("Legend")["A1"] = "ICU is intensive care"
        book.save(file)
        files[f"{month}.xlsx"] = file.getvalue()
    found = proposed(files)
    assert found.dataset["excel"]["sheets"] == ["????-??"]
    assert found.proposal.verdict.loaded == 4


def test_a_person_inside_an_object_is_suspected(proposed):
    line = '{"id": %d, "patient": {"contact": {"phones": ["1"], "email": "p%d@mail.example"}}}\n'
    found = proposed({"a.jsonl": "".join(line % (n, n) for n in range(3))})
    assert found.columns["patient"]["classification"] == "personal"
    assert "unsure: inside it `contact`, by its name" in found.contract


def test_of_many_files_that_cannot_be_read_three_are_named(proposed):
    files = {"a.csv": "day,amount\n2026-03-01,5\n"} | {f"b{n}.csv": "\0\0\1" for n in range(5)}
    outcome = proposed(files, fits=False).proposal.outcome()
    assert outcome.endswith("and 2 more cannot be read")
