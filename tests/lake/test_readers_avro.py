"""Avro: types are kept exactly, or refused; a damaged file is quarantined."""
# ruff: noqa: DTZ001 - some of these timestamps have no time zone, as their columns

import datetime as dt
import io
import json
import uuid
from decimal import Decimal

import fastavro
import pyarrow as pa
import pytest

from caudal.lake.readers.rows import Unreadable

UTC = dt.UTC
NUMBER = {"logicalType": "integer"}
MONEY = {"logicalType": "number", "physicalType": "DECIMAL(10,2)"}
DOUBLE = {"logicalType": "number", "physicalType": "DOUBLE"}
MOMENT = {"logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}}
STRING = {"logicalType": "string"}


def avro(schema, records, codec="null", **settings):
    sink = io.BytesIO()
    fastavro.writer(sink, fastavro.parse_schema(schema), records, codec=codec, **settings)
    return sink.getvalue()


def record(**types):
    return {"type": "record", "name": "r", "fields": [{"name": n, "type": t} for n, t in types.items()]}


def logical(base, kind, **more):
    return {"type": base, "logicalType": kind, **more}


ENUM = {"type": "enum", "name": "e", "symbols": ["A", "B"]}
FIXED = {"type": "fixed", "name": "f", "size": 2}
INNER = {
    "type": "record",
    "name": "i",
    "fields": [{"name": "n", "type": "long"}, {"name": "d", "type": logical("bytes", "decimal", precision=6, scale=2)}],
}
AT = dt.datetime(2017, 1, 1, 0, 0, 0, 123456)

KEPT = [
    ("int", NUMBER, "int", [1, -2], [1, -2]),
    ("long", NUMBER, "long", [2**63 - 1, -(2**63)], [2**63 - 1, -(2**63)]),
    ("null or long", NUMBER, ["null", "long"], [None, 5], [None, 5]),
    ("int or long", NUMBER, ["int", "long", "null"], [1, 2**40, None], [1, 2**40, None]),
    ("float or double", DOUBLE, ["float", "double"], [1.5, 0.1], None),
    ("double", DOUBLE, "double", [0.1, 1e300], [0.1, 1e300]),
    ("double as decimal", MONEY, "double", [1.39], [Decimal("1.39")]),
    ("boolean", {"logicalType": "boolean"}, "boolean", [True, False], [True, False]),
    ("string", STRING, "string", ["", "é\0"], ["", "é\0"]),
    ("bytes that are text", STRING, "bytes", ["é".encode()], ["é"]),
    ("fixed that is text", STRING, FIXED, [b"ab"], ["ab"]),
    ("enum", STRING, ENUM, ["B", "A"], ["B", "A"]),
    ("enum or null", STRING, ["null", ENUM], [None, "A"], [None, "A"]),
    ("uuid", STRING, logical("string", "uuid"), [str(uuid.UUID(int=1))], [str(uuid.UUID(int=1))]),
    ("decimal", MONEY, logical("bytes", "decimal", precision=10, scale=2), [Decimal("-1.39"), Decimal("99999999.99")], [Decimal("-1.39"), Decimal("99999999.99")]),
    ("decimal in fixed", MONEY, logical("fixed", "decimal", precision=5, scale=1, size=8, name="x"), [Decimal("0.5")], [Decimal("0.50")]),
    ("date", {"logicalType": "date"}, logical("int", "date"), [dt.date(1, 1, 1), dt.date(9999, 12, 31)], [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    ("time-millis", {"logicalType": "time"}, logical("int", "time-millis"), [dt.time(10, 30)], [dt.time(10, 30)]),
    ("time-micros", {"logicalType": "time"}, logical("long", "time-micros"), [dt.time(0, 0, 0, 1)], [dt.time(0, 0, 0, 1)]),
    ("timestamp-millis", MOMENT, logical("long", "timestamp-millis"), [dt.datetime(2017, 1, 1, tzinfo=UTC)], [dt.datetime(2017, 1, 1, tzinfo=UTC)]),
    ("timestamp-micros", MOMENT, logical("long", "timestamp-micros"), [AT.replace(tzinfo=UTC)], [AT.replace(tzinfo=UTC)]),
    ("timestamp-nanos", MOMENT, logical("long", "timestamp-nanos"), [1_483_228_800_123_456_000], [AT.replace(tzinfo=UTC)]),
    ("local-timestamp-micros", {"logicalType": "timestamp"}, logical("long", "local-timestamp-micros"), [AT], [AT]),
    ("array", {"logicalType": "array"}, {"type": "array", "items": ["null", "string"]}, [["é", None], []], ['["é",null]', "[]"]),
    ("map", {"logicalType": "object"}, {"type": "map", "values": "long"}, [{"k": 1}], ['{"k":1}']),
    ("record", {"logicalType": "object"}, INNER, [{"n": 1, "d": Decimal("1.10")}], ['{"n":1,"d":1.1}']),
    ("array of records", {"logicalType": "array"}, {"type": "array", "items": INNER}, [[{"n": 1, "d": Decimal("1.25")}]], ['[{"n":1,"d":1.25}]']),
    ("a type with a name, twice", {"logicalType": "object"}, {"type": "record", "name": "p", "fields": [{"name": "a", "type": FIXED}, {"name": "b", "type": "f"}]}, [{"a": b"ab", "b": b"cd"}], ['{"a":"ab","b":"cd"}']),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "schema", "values", "kept"), [k[1:] for k in KEPT], ids=[k[0] for k in KEPT])
def test_values_are_kept_exactly(contract_of, take, declared, schema, values, kept):
    taken = take(contract_of({"name": "x", **declared}), "avro", avro(record(x=schema), [{"x": v} for v in values]))
    assert [x for (x,) in taken.rows] == (kept or values)
    assert taken.places == list(range(1, len(values) + 1))


NOT_KEPT = [
    (["string", "long"], "a union of several types"),
    (["long", "double"], "a union of several types"),
    (["string", "bytes"], "a union of several types"),
    (logical("fixed", "duration", size=12, name="d"), "a duration of months, days and milliseconds"),
    ({"type": "array", "items": ["string", "long"]}, "a union of several types"),
]


@pytest.mark.parametrize(("schema", "told"), NOT_KEPT)
def test_a_type_that_cannot_be_kept_is_refused_and_names_its_column(contract_of, take, schema, told):
    content = avro(record(x=schema, y="string"), [])
    with pytest.raises(Unreadable, match=f"column `x`: its type is {told}"):
        take(contract_of("x", "y"), "avro", content)
    assert take(contract_of("y", drift="ignore"), "avro", content).rows == []


def test_columns_that_the_contract_does_not_have_are_told_with_their_types(contract_of, take):
    schema = record(
        a="string",
        n=["null", "long"],
        m=logical("bytes", "decimal", precision=7, scale=3),
        t=logical("long", "timestamp-micros"),
    )
    content = avro(schema, [{"a": "x", "n": 1, "m": Decimal("1.5"), "t": AT.replace(tzinfo=UTC)}])
    with pytest.raises(Unreadable, match=r"not in the contract: `n`, `m`, `t`"):
        take(contract_of("a"), "avro", content)
    taken = take(contract_of("a", drift="ignore"), "avro", content)
    assert [(c.name, c.logical_type, c.precision, c.scale, c.timezone) for c in taken.result.undeclared] == [
        ("n", "integer", None, None, False), ("m", "number", 7, 3, False), ("t", "timestamp", None, None, True),
    ]  # fmt: skip


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_blocks_are_unpacked(contract_of, take, codec):
    rows = [{"a": f"x{i}", "n": i} for i in range(3000)]
    content = avro(record(a="string", n="long"), rows, codec, sync_interval=2000)
    taken = take(contract_of("a", {"name": "n", **NUMBER}), "avro", content)
    assert taken.rows == [(r["a"], r["n"]) for r in rows]
    assert taken.places == list(range(1, 3001))


def container(schema, *blocks, codec=b"null"):
    """A file made by hand, of (count, bytes)."""

    def long(n):
        n, out = (n << 1) ^ (n >> 63), b""
        while n >= 0x80:
            out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
        return out + bytes([n])

    def text(data):
        return long(len(data)) + data

    head = (
        b"Obj\x01"
        + long(2)
        + text(b"avro.schema")
        + text(json.dumps(schema).encode())
        + text(b"avro.codec")
        + text(codec)
        + long(0)
    )
    sync = b"s" * 16
    return head + sync + b"".join(long(count) + text(data) + sync for count, data in blocks)


def test_snappy_and_zstd_need_no_other_library(contract_of, take):
    import zlib

    plain = b"\x02x" * 100
    snappy = bytes(pa.compress(plain, "snappy", asbytes=True)) + zlib.crc32(plain).to_bytes(4, "big")
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(plain)
    for codec, data in ((b"snappy", snappy), (b"zstandard", sink.getvalue().to_pybytes())):
        assert take(contract_of("a"), "avro", container(record(a="string"), (100, data), codec=codec)).rows == [("x",)] * 100
        damaged = bytearray(data)
        damaged[-3] ^= 1
        with pytest.raises(Unreadable, match=r"block 1"):
            take(
                contract_of("a"),
                "avro",
                container(record(a="string"), (100, bytes(damaged)), codec=codec)
                if codec == b"snappy"
                else container(record(a="string"), (100, data[:-3]), codec=codec),
            )


def test_text_that_is_not_utf8_and_a_decimal_of_too_many_digits_cost_their_row_alone(contract_of, take):
    schema = record(a="string", m=logical("bytes", "decimal", precision=3, scale=1))
    block = b"\x04\xff\xfe\x02\x05" + b"\x02x\x06\x7f\xff\xff" + b"\x02y\x02\x0f"
    taken = take(contract_of("a", {"name": "m", **MONEY}), "avro", container(schema, (3, block)))
    assert taken.rows == [("y", Decimal("1.50"))]
    assert [(r[0], r[1], r[3]) for r in taken.rejects] == [
        (1, "a", "not UTF-8 text"),
        (2, "m", "does not fit its type decimal128(3, 1)"),
    ]


REFUSED_SCHEMAS = [
    ({"type": "record", "name": "r", "fields": [{"name": "a", "type": ["null", "r"]}]}, "the type `r` is in itself"),
    (record(a={"type": "array", "items": "null"}), "an array of items without content"),
    (record(a="null"), "its records have no content"),
    ("string", "its schema is string; expected a record"),
    (record(a="nonsense"), "the Avro schema is none"),
    ({"type": "record", "name": "r"}, "its records have no content"),
]


@pytest.mark.parametrize(("schema", "told"), REFUSED_SCHEMAS)
def test_a_schema_that_is_none_or_has_no_bounds_is_refused(contract_of, take, schema, told):
    with pytest.raises(Unreadable, match=f"t/t/lake-file.avro: .*{told}"):
        take(contract_of("a"), "avro", container(schema, (1, b"\x00")))


def test_a_schema_that_unfolds_without_end_is_refused_at_once(contract_of, take):
    inner = "string"
    for i in range(28):
        inner = {
            "type": "record",
            "name": f"r{i}",
            "fields": [{"name": "a", "type": inner}, {"name": "b", "type": f"r{i - 1}" if i else "string"}],
        }
    with pytest.raises(Unreadable, match=r"it is made of more than 20000 types"):
        take(contract_of("a"), "avro", container(record(a=inner), (1, b"\x00")))


def test_a_block_that_lies_is_refused(contract_of, take):
    good = (2, b"\x02x\x02y")
    for count, data in ((3, good[1]), (1, good[1]), (2**40, good[1]), (-1, good[1]), (2, b"\xff" * 9 + b"\x01x")):
        with pytest.raises(Unreadable, match=r"t/t/lake-file.avro, block \d"):
            take(contract_of("a"), "avro", container(record(a="string"), good, (count, data)))
    with pytest.raises(Unreadable, match=r"its codec is `lzo`"):
        take(contract_of("a"), "avro", container(record(a="string"), good, codec=b"lzo"))
    bomb = __import__("zlib").compressobj(9, 8, -15)
    packed = bomb.compress(b"\0" * (65 << 20)) + bomb.flush()
    with pytest.raises(Unreadable, match=r"unpacks to more than 64 MiB"):
        take(contract_of("a"), "avro", container(record(a="string"), (1, packed), codec=b"deflate"))


def test_a_file_that_is_cut_anywhere_but_between_two_blocks_is_refused(contract_of, take):
    content = avro(record(a="string"), [{"a": "x" * i} for i in range(20)], sync_interval=100)
    blocks = {i + 16 for i in range(len(content)) if content[i : i + 16] == content[-16:]}
    assert len(blocks) > 2
    for cut in range(1, len(content)):
        if cut in blocks:
            continue
        with pytest.raises(Unreadable, match=r"t/t/lake-file.avro"):
            take(contract_of("a"), "avro", content[:cut])


def test_what_is_no_avro_is_told_for_what_it_is(contract_of, take):
    for content, told in (
        (b"PAR1....", "this is a Parquet file"),
        (b"a,b\n", "something else, perhaps text"),
        (b"", "the file is empty"),
    ):
        with pytest.raises(Unreadable, match=told):
            take(contract_of("a"), "avro", content)
