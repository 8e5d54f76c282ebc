"""Structs and lists, from JSON text and from native ones: every value inside exactly, or the row rejected with the path."""

import datetime as dt
import io
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.contracts import Column
from caudal.lake.readers.json_plain import PlainParser
from caudal.lake.readers.rows import Unreadable

PRICE = {"name": "price", "logicalType": "number", "physicalType": "DECIMAL(8,2)"}
LINE = {
    "logicalType": "object",
    "properties": [
        {"name": "sku", "logicalType": "string", "required": True},
        PRICE,
        {"name": "units", "logicalType": "integer", "logicalTypeOptions": {"minimum": 1}},
    ],
}
LINES = {"name": "lines", "logicalType": "array", "items": LINE}
ADDRESS = {
    "name": "address",
    "logicalType": "object",
    "properties": [
        {"name": "city", "logicalType": "string"},
        {"name": "since", "logicalType": "date"},
        {"name": "geo", "logicalType": "object", "properties": [{"name": "lat", "logicalType": "number", "physicalType": "DOUBLE"}]},
        {"name": "more", "logicalType": "object"},
    ],
}  # fmt: skip


@pytest.fixture
def cast(contract_of, take):
    """What each JSON text becomes in the column: its value, or the reason of its rejection."""

    def become(declared, texts, drift="freeze"):
        contract = contract_of(declared, drift=drift)
        taken = take(contract, "jsonl", "".join(f'{{"{declared["name"]}": {t}}}\n' for t in texts))
        values = dict(zip(taken.places, (value for (value,) in taken.rows), strict=True))
        values |= {row: reason for row, _, _, reason in taken.rejects}
        return [values[n] for n in range(1, len(texts) + 1)]

    return become


def test_the_types_are_structs_and_lists_in_every_dialect(contract_of):
    contract = contract_of(LINES, ADDRESS, {"name": "tags", "logicalType": "array", "items": {"logicalType": "string"}})
    lines, address, tags = contract.columns
    assert lines.duckdb_type == 'STRUCT("sku" VARCHAR, "price" DECIMAL(8,2), "units" BIGINT)[]'
    assert lines.bigquery_type == "ARRAY<STRUCT<`sku` STRING, `price` NUMERIC(8, 2), `units` INT64>>"
    assert lines.bigquery_field == {
        "name": "lines",
        "type": "RECORD",
        "mode": "REPEATED",
        "fields": [
            {"name": "sku", "type": "STRING", "mode": "REQUIRED"},
            {"name": "price", "type": "NUMERIC", "mode": "NULLABLE", "precision": "8", "scale": "2"},
            {"name": "units", "type": "INT64", "mode": "NULLABLE"},
        ],
    }
    assert tags.bigquery_field == {"name": "tags", "type": "STRING", "mode": "REPEATED"}
    assert lines.arrow_type.value_type.field("price").type == pa.decimal128(8, 2)
    assert address.arrow_type.field("geo").type == pa.struct([("lat", pa.float64())])


def test_json_text_becomes_a_struct_with_numbers_as_they_are_written(cast):
    found = cast(
        ADDRESS,
        [
            '{"city": "Ulm", "since": "2017-01-31", "geo": {"lat": 48.4}, "more": {"a": 1.10, "b": [true, null]}}',
            '{"city": 5, "since": null, "geo": null}',
            "{}",
            "null",
        ],
    )
    assert found == [
        {"city": "Ulm", "since": dt.date(2017, 1, 31), "geo": {"lat": 48.4}, "more": '{"a":1.10,"b":[true,null]}'},
        {"city": "5", "since": None, "geo": None, "more": None},
        {"city": None, "since": None, "geo": None, "more": None},
        None,
    ]


def test_json_text_becomes_a_list_of_structs(cast):
    found = cast(
        LINES, ['[{"sku": "a", "price": 0.10, "units": 2}, {"sku": "b"}, null]', "[]", '[{"sku": "c", "price": "1.5"}]']
    )
    assert found == [
        [{"sku": "a", "price": Decimal("0.10"), "units": 2}, {"sku": "b", "price": None, "units": None}, None],
        [],
        [{"sku": "c", "price": Decimal("1.50"), "units": None}],
    ]


REFUSED = [
    (LINES, '[{"sku": "a"}, {"sku": "b", "price": "dear"}]', "lines[1].price: not a number"),
    (LINES, '[{"sku": "a", "price": 1.005}]', "lines[0].price: more than 2 decimals; expected DECIMAL(8,2)"),
    (LINES, '[{"sku": "a", "units": 0}]', "lines[0].units: below the minimum of 1"),
    (LINES, '[{"price": 1}]', "lines[0].sku: no value, and one is required"),
    (LINES, '[{"sku": "a", "colour": "red"}]', "lines[0].colour: the key is not in the contract"),
    (LINES, '[{"SKU": "a"}]', "lines[0].SKU: the key differs from `sku` only in case"),
    (LINES, '[{"sku": "a", "units": [1]}]', "lines[0].units: an array; expected a single value"),
    (LINES, "[5]", "lines[0]: a number; expected an object"),
    (LINES, '{"sku": "a"}', "an object; expected an array"),
    (LINES, '"[{]"', "not JSON: "),
    (LINES, '"null"', "JSON, but not an array"),
    (ADDRESS, '{"geo": {"lat": "north"}}', "address.geo.lat: not a number"),
    (ADDRESS, '{"since": "2017-02-30"}', "address.since: no such day"),
    (ADDRESS, '{"more": [1]}', "address.more: JSON, but not an object"),
    (ADDRESS, '"{\\"city\\": \\"a\\", \\"city\\": \\"b\\"}"', "not JSON: a key is given more than once"),
    (ADDRESS, '"{\\"city\\": \\"\\\\ud800\\"}"', "half of a surrogate pair"),
    (ADDRESS, "true", "JSON, but not an object"),
]


@pytest.mark.parametrize(("declared", "text", "reason"), REFUSED, ids=[case[2] for case in REFUSED])
def test_a_value_inside_that_does_not_fit_rejects_the_row_with_its_path(cast, declared, text, reason):
    good = '{"city": "Ulm"}' if declared is ADDRESS else "[]"
    found = cast(declared, [good, text, good])
    assert found[1].startswith(reason) or found[1] == reason.replace(
        "JSON, but not an object", "true or false; expected an object"
    )
    assert found[0] == found[2]
    assert not isinstance(found[0], str)


def test_the_whole_json_text_is_kept_with_the_reason(contract_of, take):
    taken = take(contract_of(LINES, "id"), "jsonl", '{"id": "7", "lines": [{"sku": "a", "price": 1.005}]}\n')
    assert taken.rejects == [
        (1, "lines", '[{"sku":"a","price":1.005}]', "lines[0].price: more than 2 decimals; expected DECIMAL(8,2)")
    ]


@pytest.mark.parametrize("drift", ["ignore", "evolve"])
def test_an_unknown_key_is_left_out_where_the_drift_policy_allows_it(cast, drift):
    assert cast(LINES, ['[{"sku": "a", "colour": "red"}]'], drift) == [[{"sku": "a", "price": None, "units": None}]]
    assert cast(LINES, ['[{"SKU": "a"}]'], drift) == ["lines[0].SKU: the key differs from `sku` only in case"]


def test_the_keys_that_are_left_out_are_told(contract_of, take):
    rows = ['{"lines": [{"sku": "a", "colour": "red"}]}', '{"lines": [{"sku": "a", "size": {"x": 1}}]}', '{"lines": []}']
    taken = take(contract_of(LINES, drift="ignore"), "jsonl", "\n".join(rows) + "\n")
    assert taken.result.left_out == ("lines[].colour", "lines[].size")


def test_plain_texts_are_split_all_at_once():
    declared = Column("a", "object", fields=(Column("n", "number", precision=8, scale=2), Column("s", "string")))
    parser = PlainParser(declared, pa.struct([("n", pa.string()), ("s", pa.string())]))
    assert parser.split(['{"n": 1.5, "s": "x"}', "{}"]).to_pylist() == [{"n": "1.50", "s": "x"}, {"n": None, "s": None}]
    doubtful = ['{"n": "1.5"}', '{"n": 1e-1}', '{"\\u006e": "007"}', '{"n": 1}{"n": 2}', '{"n": 1, "x": 2}', '{"n": 1', "[]"]
    assert [parser.split([text]) for text in doubtful] == [None] * len(doubtful)


def test_keys_that_must_be_there_are_required_of_each_object(cast):
    declared = {**ADDRESS, "logicalTypeOptions": {"required": ["city"]}}
    assert cast(declared, ['{"since": null}', '{"city": null}']) == [
        "address.city: the key is missing",
        {"city": None, "since": None, "geo": None, "more": None},
    ]


def test_how_many_items_a_list_has_is_a_rule_and_so_is_that_each_is_there_once(cast):
    declared = {"name": "tags", "logicalType": "array", "items": {"logicalType": "string"}}
    limited = {**declared, "logicalTypeOptions": {"minItems": 1, "maxItems": 2, "uniqueItems": True}}
    texts = ["[]", '["a"]', '["a", null]', '["a", "b", "c"]', '["a", "a"]', "[null, null]"]
    assert cast(limited, texts) == [
        "fewer than 1 items", ["a"], ["a", None], "more than 2 items", "an item is there more than once",
        "an item is there more than once",
    ]  # fmt: skip
    inside = {"name": "all", "logicalType": "array", "items": {**limited, "required": True}}
    del inside["items"]["name"]
    assert cast(inside, ['[["a"], []]', "[null]"]) == ["all[1]: fewer than 1 items", "all[0]: no value, and one is required"]
    as_text = {"name": "any", "logicalType": "array", "logicalTypeOptions": {"maxItems": 1}}
    assert cast(as_text, ["[1]", "[1, 2]"]) == ["[1]", "more than 1 items"]


def test_formats_and_null_markers_are_for_values_inside_too(cast):
    declared = {
        "name": "r",
        "logicalType": "object",
        "properties": [
            {"name": "n", "logicalType": "number", "customProperties": [{"property": "numberFormat", "value": {"decimal": ",", "group": "."}}]},
            {"name": "d", "logicalType": "date", "logicalTypeOptions": {"format": "d/M/yyyy"}},
            {"name": "s", "logicalType": "string", "customProperties": [{"property": "nullMarkers", "value": ["-"]}]},
        ],
    }  # fmt: skip
    assert cast(declared, ['{"n": "1.234,5", "d": "1/2/2017", "s": "-"}', '{"n": 1.234}', '{"n": "1,234.5"}']) == [
        {"n": Decimal("1234.5"), "d": dt.date(2017, 2, 1), "s": None},
        {"n": Decimal("1.234"), "d": None, "s": None},
        "r.n: not a number as declared; expected such as 1.234,50",
    ]


def test_a_csv_file_may_hold_json_text(contract_of, take):
    taken = take(contract_of("id", LINES), "csv", 'id,lines\n1,"[{""sku"": ""a""}]"\n2,\n3,[\n')
    assert taken.rows == [("1", [{"sku": "a", "price": None, "units": None}]), ("2", None)]
    assert [(row, column) for row, column, *_ in taken.rejects] == [(4, "lines")]


def parquet(rows, kind):
    written = io.BytesIO()
    table = pa.table({"lines": pa.array(rows, kind)})
    pq.write_table(table, written)
    return written.getvalue()


def line_type(sku=None, price=None, units=None, **others):
    given = {"sku": sku or pa.string(), "price": price or pa.float64(), "units": units or pa.int16(), **others}
    return pa.list_(pa.struct(list(given.items())))


def test_native_structs_and_lists_are_cast_value_by_value(contract_of, take):
    rows = [[{"sku": "a", "price": 0.1, "units": 2}, {"sku": "b", "price": None, "units": None}, None], [], None]
    taken = take(contract_of(LINES), "parquet", parquet(rows, line_type()))
    assert taken.rows == [
        ([{"sku": "a", "price": Decimal("0.10"), "units": 2}, {"sku": "b", "price": None, "units": None}, None],),
        ([],),
        (None,),
    ]


def test_native_text_inside_is_read_by_the_rules_of_text(contract_of, take):
    rows = [[{"sku": "a", "price": "0.10", "units": "2"}], [{"sku": "a", "price": "1,5", "units": " "}]]
    taken = take(contract_of(LINES), "parquet", parquet(rows, line_type(price=pa.string(), units=pa.large_string())))
    assert taken.rows == [([{"sku": "a", "price": Decimal("0.10"), "units": 2}],)]
    ((row, column, _, reason),) = taken.rejects
    assert (row, column) == (2, "lines")
    assert reason.startswith("lines[0].price: a comma")


@pytest.mark.parametrize(
    ("row", "kind", "reason"),
    [
        ([{"sku": "a", "price": 1.005}], line_type(), "lines[0].price: more than 2 decimals"),
        ([{"sku": "a"}, {"sku": "b", "price": float("nan")}], line_type(), "lines[1].price: not a finite number"),
        ([{"sku": "a", "units": 0}], line_type(), "lines[0].units: below the minimum of 1"),
        ([{"units": 1}], line_type(), "lines[0].sku: no value, and one is required"),
        ([{"sku": "a", "units": 1.5}], line_type(units=pa.float64()), "lines[0].units: a fraction"),
    ],
)
def test_a_native_value_inside_that_does_not_fit_rejects_the_row_with_its_path(contract_of, take, row, kind, reason):
    taken = take(contract_of(LINES), "parquet", parquet([[], row], kind))
    assert (taken.places, [r[:2] for r in taken.rejects]) == ([1], [(2, "lines")])
    assert taken.rejects[0][3].startswith(reason)


def test_a_native_field_that_is_missing_is_null_unless_it_is_required(contract_of, take):
    only = pa.list_(pa.struct([("sku", pa.string())]))
    assert take(contract_of(LINES), "parquet", parquet([[{"sku": "a"}]], only)).rows == [
        ([{"sku": "a", "price": None, "units": None}],)
    ]
    without = pa.list_(pa.struct([("units", pa.int8())]))
    taken = take(contract_of(LINES), "parquet", parquet([[{"units": 1}], []], without))
    assert (taken.rows, taken.rejects[0][3]) == ([([],)], "lines[0].sku: no value, and one is required")


def test_an_unknown_native_field_follows_the_drift_policy(contract_of, take):
    content = parquet([[{"sku": "a", "colour": "red"}]], line_type(colour=pa.string()))
    with pytest.raises(Unreadable, match=r"the field `lines\[\].colour` is not in the contract"):
        take(contract_of(LINES), "parquet", content)
    taken = take(contract_of(LINES, drift="ignore"), "parquet", content)
    assert taken.rows == [([{"sku": "a", "price": None, "units": None}],)]
    assert taken.result.left_out == ("lines[].colour",)
    alike = parquet([[{"SKU": "a"}]], pa.list_(pa.struct([("SKU", pa.string())])))
    with pytest.raises(Unreadable, match=r"`lines\[\].SKU` differs from `sku` only in case"):
        take(contract_of(LINES, drift="ignore"), "parquet", alike)


@pytest.mark.parametrize(
    ("kind", "row", "told"),
    [
        (pa.struct([("sku", pa.string())]), {"sku": "a"}, "is no form of what the contract declares"),
        (pa.list_(pa.string()), ["a"], r"at `lines\[\]`"),
        (line_type(units=pa.date32()), [{"sku": "a"}], r"at `lines\[\].units`"),
        (pa.int64(), 1, "which is another thing"),
    ],
)
def test_a_native_type_that_is_no_form_of_the_declared_one_refuses_the_file(contract_of, take, kind, row, told):
    with pytest.raises(Unreadable, match=told):
        take(contract_of(LINES), "parquet", parquet([row], kind))


def test_times_and_small_numbers_inside_a_native_struct_are_kept(contract_of, take):
    declared = {
        "name": "lines",
        "logicalType": "object",
        "properties": [
            {"name": "z", "logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}},
            {"name": "t", "logicalType": "time"},
            {"name": "m", "logicalType": "timestamp"},
            {"name": "f", "logicalType": "number", "physicalType": "DECIMAL(5,2)"},
        ],
    }
    kind = pa.struct(
        [("z", pa.timestamp("ms", "Europe/Berlin")), ("t", pa.time32("s")), ("m", pa.timestamp("ms")), ("f", pa.float32())]
    )
    at = dt.datetime(2017, 1, 31, 10, tzinfo=dt.UTC)
    row = {"z": at, "t": dt.time(10), "m": at.replace(tzinfo=None), "f": 0.1}
    assert take(contract_of(declared), "parquet", parquet([row, None], kind)).rows == [
        ({**row, "f": Decimal("0.10")},),
        (None,),
    ]


def test_a_native_map_becomes_a_declared_struct_and_an_undeclared_one_json_text(contract_of, take):
    declared = {"name": "lines", "logicalType": "object", "properties": [{"name": "a", "logicalType": "integer"}]}
    kind = pa.map_(pa.string(), pa.int32())
    assert take(contract_of(declared), "parquet", parquet([[("a", 1)]], kind)).rows == [({"a": 1},)]
    whole = {"name": "lines", "logicalType": "object"}
    assert take(contract_of(whole), "parquet", parquet([[("a", 1)]], kind)).rows == [('{"a":1}',)]


def test_delta_lake_keeps_the_types(contract_of, take, tmp_path):
    from caudal.warehouse.delta import Transaction, read_rows, replace_files

    contract = contract_of(LINES, ADDRESS)
    row = {"lines": [{"sku": "a", "price": "0.10", "units": 1}], "address": {"city": "Ulm", "geo": {"lat": 1.5}}}
    taken = take(contract, "jsonl", json.dumps(row) + "\n")
    table = tmp_path / "raw"
    replace_files(table, contract.arrow_schema(), [taken.result.part], ["x"], transaction=Transaction("t", 1))
    (found,) = read_rows(table, ["lines", "address"], 10)
    assert (found["lines"], found["address"]) == taken.rows[0]
