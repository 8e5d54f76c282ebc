"""Columns that are new, missing, renamed, reordered or of another type: what each drift policy makes of them, told exactly."""

import datetime as dt
import io
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.contracts import Column
from caudal.lake.readers.drift import column_of
from caudal.lake.readers.rows import Unreadable

POLICIES = ["freeze", "ignore", "evolve"]


def renamed(name, *older, logical_type="string"):
    return {"name": name, "logicalType": logical_type, "customProperties": [{"property": "renamedFrom", "value": list(older)}]}


def parquet(**columns):
    written = io.BytesIO()
    pq.write_table(pa.table(columns), written)
    return written.getvalue()


def refusal(take, contract, file_format, content):
    with pytest.raises(Unreadable) as refused:
        take(contract, file_format, content)
    return str(refused.value)


@pytest.mark.parametrize("drift", POLICIES)
def test_columns_in_another_order_are_the_same_columns(contract_of, take, drift):
    contract = contract_of("a", "b", drift=drift)
    assert take(contract, "csv", "b,a\n2,1\n").rows == [("1", "2")]
    assert take(contract, "jsonl", '{"b": "2", "a": "1"}\n').rows == [("1", "2")]
    assert take(contract, "parquet", parquet(b=["2"], a=["1"])).rows == [("1", "2")]


@pytest.mark.parametrize("drift", POLICIES)
@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_a_column_under_its_older_name_is_followed(contract_of, take, drift, file_format):
    contract = contract_of(renamed("revenue", "turnover", "sales"), "b", drift=drift)
    contents = {
        "csv": ["b,turnover\n2,1\n", "sales,b\n1,2\n", "revenue,b\n1,2\n"],
        "jsonl": ['{"b": "2", "turnover": "1"}\n', '{"sales": "1", "b": 2}\n', '{"revenue": 1, "b": "2"}\n'],
        "parquet": [parquet(b=["2"], turnover=["1"]), parquet(sales=["1"], b=["2"]), parquet(revenue=["1"], b=["2"])],
    }
    for content in contents[file_format]:
        taken = take(contract, file_format, content)
        assert (taken.rows, taken.result.undeclared) == ([("1", "2")], ())


def test_objects_and_formatted_numbers_under_an_older_key_are_followed_too(contract_of, take):
    number = renamed("n", "m", logical_type="number")
    number["customProperties"].append({"property": "numberFormat", "value": {"decimal": ",", "group": "."}})
    contract = contract_of(renamed("o", "p", logical_type="object"), number)
    assert take(contract, "jsonl", '{"p": {"x": 1.10}, "m": 1.234}\n').rows == [('{"x":1.10}', Decimal("1.234"))]


@pytest.mark.parametrize("drift", POLICIES)
def test_both_names_at_once_are_one_too_many(contract_of, take, drift):
    contract = contract_of(renamed("revenue", "turnover"), drift=drift)
    told = "`revenue`, `turnover` stand there, and the contract says that they are one column (`renamedFrom`)"
    assert told in refusal(take, contract, "csv", "revenue,turnover\n1,2\n")
    taken = take(contract, "jsonl", '{"revenue": "1"}\n{"revenue": "1", "turnover": "1"}\n')
    assert (taken.rows, [r[0] for r in taken.rejects]) == ([("1",)], [2])


def test_an_undeclared_rename_is_suggested(contract_of, take):
    told = refusal(take, contract_of("customer_id", "amount"), "csv", "CustomerID,total\n1,2\n")
    assert "if `customer_id` is now `CustomerID`, rename the column and declare `renamedFrom: [customer_id]` there" in told
    assert "is now `total`" not in told


@pytest.mark.parametrize("drift", POLICIES)
def test_a_name_that_differs_in_case_only_is_told_and_refused(contract_of, take, drift):
    told = refusal(take, contract_of("a", "b", drift=drift), "csv", "A,b\n1,2\n")
    assert "`A` differs from `a` only in case" in told
    assert "is now" not in told


@pytest.mark.parametrize(("drift", "refused"), [("freeze", True), ("ignore", False), ("evolve", True)])
def test_a_name_that_the_platform_adds_is_refused_unless_it_is_left_out(contract_of, take, drift, refused):
    contract = contract_of("a", drift=drift)
    if refused:
        assert "`_File`: the platform adds a column of this name" in refusal(take, contract, "csv", "a,_File\n1,2\n")
        assert [r[0] for r in take(contract, "jsonl", '{"a": "1", "_row": 2}\n').rejects] == [1]
    else:
        assert take(contract, "csv", "a,_File\n1,2\n").rows == [("1",)]


def test_new_columns_of_a_typed_file_are_told_with_their_types(contract_of, take):
    content = parquet(
        a=["1"], units=pa.array([1], pa.int16()), price=pa.array([Decimal("1.5")]), tags=[["x"]],
        address=[{"city": "Ulm", "since": dt.date(2017, 1, 1)}],
    )  # fmt: skip
    taken = take(contract_of("a", drift="evolve"), "parquet", content)
    assert taken.rows == [("1",)]
    assert taken.result.undeclared == (
        Column("units", "integer"),
        Column("price", "number", precision=2, scale=1),
        Column("tags", "array", items=Column("items", "string")),
        Column("address", "object", fields=(Column("city", "string"), Column("since", "date"))),
    )


def test_the_evolved_contract_reads_the_new_columns(contract_of, take):
    content = parquet(a=["1"], units=pa.array([7], pa.int16()), address=[{"city": "Ulm"}])
    contract = contract_of("a", drift="evolve")
    evolved = contract.with_columns(take(contract, "parquet", content).result.undeclared)
    assert take(evolved, "parquet", content).rows == [("1", 7, {"city": "Ulm"})]
    assert take(evolved, "parquet", parquet(a=["2"])).rows == [("2", None, None)]


KINDS = [
    (pa.string(), ("string",)), (pa.large_binary(), ("string",)), (pa.null(), ("string",)), (pa.bool_(), ("boolean",)),
    (pa.uint32(), ("integer",)), (pa.float32(), ("number",)), (pa.date64(), ("date",)), (pa.time64("ns"), ("time",)),
    (pa.timestamp("ms"), ("timestamp",)), (pa.dictionary(pa.int8(), pa.string()), ("string",)),
    (pa.map_(pa.string(), pa.int64()), ("object",)), (pa.decimal256(60, 2), ("string",)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "expected"), KINDS, ids=[str(k[0]) for k in KINDS])
def test_the_column_of_a_type(kind, expected):
    assert column_of(pa.field("x", kind)) == Column("x", *expected)


def test_the_column_of_a_type_keeps_what_it_holds():
    assert column_of(pa.field("x", pa.uint64())) == Column("x", "number", precision=20, scale=0)
    assert column_of(pa.field("x", pa.timestamp("us", "Europe/Berlin"))) == Column("x", "timestamp", timezone=True)
    nested = pa.large_list(pa.struct([("a", pa.list_(pa.int8(), 2)), ("b", pa.decimal128(5, 2))]))
    inner = (Column("a", "array", items=Column("items", "integer")), Column("b", "number", precision=5, scale=2))
    assert column_of(pa.field("x", nested)) == Column("x", "array", items=Column("items", "object", fields=inner))
    assert column_of(pa.field("x", pa.struct([("a", pa.int8()), ("A", pa.int8())]))) == Column("x", "object")
    assert column_of(pa.field("x", pa.duration("s"))) is None


@pytest.mark.parametrize(
    ("declared", "values", "expected"),
    [
        ("integer", pa.array([5], pa.int8()), [(5,)]),
        ("integer", pa.array([5.0]), [(5,)]),
        ("number", pa.array([5], pa.int32()), [(Decimal(5),)]),
        ("string", pa.array([5]), [("5",)]),
        ("integer", pa.array(["5"]), [(5,)]),
    ],
)
def test_a_type_that_was_widened_or_narrowed_is_read_exactly(contract_of, take, declared, values, expected):
    contract = contract_of({"name": "x", "logicalType": declared})
    assert take(contract, "parquet", parquet(x=values)).rows == expected


def test_a_null_marker_is_the_same_number_in_a_typed_file(contract_of, take):
    declared = {"logicalType": "number", "physicalType": "DECIMAL(9,2)"}
    declared["customProperties"] = [{"property": "nullMarkers", "value": ["-999", "n/a"]}]
    contract = contract_of({"name": "x", **declared})
    assert take(contract, "parquet", parquet(x=[-999.0, 1.5])).rows == [(None,), (Decimal("1.50"),)]
    assert take(contract, "parquet", parquet(x=pa.array([-999, 2], pa.int64()))).rows == [(None,), (Decimal(2),)]
