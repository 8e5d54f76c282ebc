"""Arrow's casts are quicker than SQL's, and never say anything else."""

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from caudal.contracts import Column
from caudal.lake.readers.rows import PLACE_COLUMNS, SourceColumn
from caudal.warehouse import judging
from caudal.warehouse.arrow_casting import cast_beyond_doubt
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.judging import Judge

MANY = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

INTEGER = Column("x", "integer")
MONEY = Column("x", "number", precision=18, scale=2)
WIDE = Column("x", "number", precision=38, scale=9)
SHARE = Column("x", "number", precision=5, scale=5)
DOUBLE = Column("x", "number")
BOOLEAN = Column("x", "boolean")
DATE = Column("x", "date")
TIMESTAMP = Column("x", "timestamp")
ZONED = Column("x", "timestamp", timezone=True)

digits = st.text("0123456789", max_size=20) | st.sampled_from(["0", "00", "9007199254740993", "0" * 40, "0" * 320, "9" * 39])
numbers = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(["", "", "", "-", "+", " ", "\t", "0x", "--"]),
    digits,
    st.sampled_from(["", ".", ".", ","]),
    digits,
    st.sampled_from(["", "", "", "e", "E", "e-", "e+", "d", "_"]),
    st.sampled_from(["", "", "1", "5", "05", "39", "41", "300", "330", "000001", "400"]),
) | st.sampled_from(
    [
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "1e-400",
        "4.9e-324",
        "0e1000000",
        "1e000001",
        "5e-324",
        "-0",
        "-0.0",
        "",
        " ",
        "1" * 400,
        "٣",
    ]
)
words = st.sampled_from(["true", "TRUE", "tRue", "false", "1", "0", "01", "t", "yes", "", " true", "0.0", "ﬁ"])
days = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "", " ", "-", "+"]),
    st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)).map(str)
    | st.sampled_from(
        ["0000-01-01", "2017-02-30", "2017-1-1", "20170131", "10000-01-01", "2017-13-01", "2017/01/01", "201a-01-01"]
    ),
    st.sampled_from(["", "", "", " ", "T", "Z"]),
)
clocks = st.sampled_from(
    ["", "10", "10:30", "1030", "10:30:15", "103015", "24:00", "23:59:60", "10:30:15.5", "10:30:15.", "10:30:15.123456",
     "10:30:15.1234567", "10:30:15.1234560", "10:30:15,5", "10:3", "00:00", "23:59:59.999999"]
)  # fmt: skip
offsets = st.sampled_from(
    ["", "Z", "z", "+01:00", "-15:59", "+16:00", "-23:59", "+1:00", "+0100", "+01", " Z", "+01:60", "+00:00", "UTC", "+011:0"]
)
moments = st.builds("{}{}{}{}".format, days, st.sampled_from(["T", " ", "t", "  ", ""]), clocks, offsets)


@pytest.fixture(scope="module")
def law(tmp_path_factory):
    """What SQL alone makes of each text: the value if it is accepted, or None; and whether it is accepted."""
    from caudal.environment import Environment

    folder = tmp_path_factory.mktemp("law")
    with connect_memory(Environment("local", "shop", folder, folder)) as connection:

        def judged(column, texts):
            contract = type("C", (), {"columns": (column,), "column_names": ("x",)})
            judge = Judge(connection, contract, (SourceColumn("x", "text", pa.string()),), ())
            names = ["x", *PLACE_COLUMNS, "_index"]
            count = len(texts)
            nulls = pa.nulls(count, pa.string())
            arrays = [
                pa.array(texts, pa.string()),
                pa.array(range(count), pa.int64()),
                nulls,
                nulls,
                nulls,
                pa.nulls(count, pa.int32()),
            ]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(judging, "cast_beyond_doubt", lambda *_: None)
                accepted = judge.judge(pa.RecordBatch.from_arrays(arrays, names)).accepted
            return dict(zip(accepted["_row"].to_pylist(), accepted["x"], strict=True))

        yield judged


def check(law, column, texts):
    accepted = law(column, texts)
    source = SourceColumn("x", "text", pa.string())
    for number, text in enumerate(texts):
        quick = cast_beyond_doubt(column, source, pa.array([text], pa.string()))
        if quick is not None:
            assert number in accepted, f"{text!r} is refused by the law"
            assert quick[0].equals(accepted[number]), (text, quick[0], accepted[number])
    together = cast_beyond_doubt(column, source, pa.array(["", *texts, None], pa.string())[1:])
    if together is not None:
        assert len(accepted) == len(texts)
        assert together.to_pylist() == [v.as_py() for v in accepted.values()] + [None]


@pytest.mark.parametrize("column", [INTEGER, MONEY, WIDE, SHARE, DOUBLE], ids=["integer", "money", "wide", "share", "double"])
@given(texts=st.lists(numbers, max_size=30))
@example(texts=["007", "0x1F", "1e-41", "0.00", "12345678901234567", "1e5", "0e1000000", "-0", "0." + "0" * 330 + "1"])
@MANY
def test_numbers(law, column, texts):
    check(law, column, texts)


@given(texts=st.lists(words, max_size=20))
@MANY
def test_booleans(law, texts):
    check(law, BOOLEAN, texts)


@given(texts=st.lists(days | moments, max_size=20))
@MANY
def test_dates(law, texts):
    check(law, DATE, texts)


@pytest.mark.parametrize("column", [TIMESTAMP, ZONED], ids=["timestamp", "zoned"])
@given(texts=st.lists(moments, max_size=30))
@MANY
def test_timestamps(law, column, texts):
    check(law, column, texts)


USUAL = [
    (INTEGER, ["0", "-5", "17850", None, "9223372036854775807"]),
    (MONEY, ["0", "0.5", ".5", "1.500", "-12.00", None]),
    (DOUBLE, ["0", "0.0", "1e-05", "-2.5", "1E+10", None]),
    (BOOLEAN, ["true", "False", "1", "0", None]),
    (DATE, ["2017-01-31", "0001-01-01", None]),
    (TIMESTAMP, ["2017-01-31 10:30", "2017-01-31T10:30:15.5", None]),
    (ZONED, ["2017-01-31T10:30:15Z", "2017-01-31T10:30+02:00", None]),
]


@pytest.mark.parametrize(("column", "texts"), USUAL, ids=[c.duckdb_type for c, _ in USUAL])
def test_what_is_usual_is_cast_by_arrow(law, column, texts):
    quick = cast_beyond_doubt(column, SourceColumn("x", "text", pa.string()), pa.array(texts))
    assert quick is not None
    assert quick.to_pylist() == [v.as_py() for v in law(column, texts).values()]


RULES = [
    (Column("x", "integer", required=True), ["1"], [None]),
    (Column("x", "integer", minimum=0, maximum=5), ["0", "5"], ["6"]),
    (Column("x", "number", precision=9, scale=2, minimum=Decimal("0.10")), ["0.10"], ["0.09"]),
    (Column("x", "string", min_length=2, max_length=3), ["ab", "éßü", None], ["a"]),
    (Column("x", "string", allowed=("a", "b")), ["a", None], ["c"]),
    (Column("x", "date", maximum=dt.date(2020, 1, 1)), ["2020-01-01"], ["2020-01-02"]),
]


@pytest.mark.parametrize(("column", "good", "bad"), RULES)
def test_a_value_that_breaks_a_rule_is_left_to_sql(column, good, bad):
    source = SourceColumn("x", "text", pa.string())
    assert cast_beyond_doubt(column, source, pa.array(good, pa.string())) is not None
    assert cast_beyond_doubt(column, source, pa.array([*good, *bad], pa.string())) is None


def test_rules_and_forms_that_arrow_does_not_know_are_left_to_sql():
    source = SourceColumn("x", "text", pa.string())
    for column in (
        Column("x", "string", pattern="a"),
        Column("x", "integer", exclusive_minimum=0),
        Column("x", "date", format="%Y-%m-%d"),
        Column("x", "boolean", true_values=("1",), false_values=("0",)),
        Column("x", "string", null_markers=("-",)),
        Column("x", "object"),
    ):
        assert cast_beyond_doubt(column, source, pa.array(["1"])) is None


def test_a_null_marker_that_could_be_a_value_is_left_to_sql():
    source = SourceColumn("x", "text", pa.string())
    assert cast_beyond_doubt(INTEGER, source, pa.array(["5"]), ("NA",)) is not None
    assert cast_beyond_doubt(INTEGER, source, pa.array(["5"]), ("NA", "-999")) is None


NATIVE = [
    (Column("x", "number", precision=12, scale=3), "decimal", pa.array([Decimal("1.5")], pa.decimal128(9, 1)), True),
    (Column("x", "number", precision=9, scale=1), "decimal", pa.array([Decimal("1.50")], pa.decimal128(12, 3)), False),
    (Column("x", "number", precision=12, scale=3), "double", pa.array([1.5, 0.1, -123456.789, None]), True),
    (Column("x", "number", precision=12, scale=3), "double", pa.array([0.1234]), False),
    (Column("x", "number", precision=12, scale=3), "double", pa.array([float("nan")]), False),
    (DOUBLE, "double", pa.array([-0.0, 1e300]), True),
    (DOUBLE, "double", pa.array([float("inf")]), False),
    (DATE, "date", pa.array([2**31 - 1], pa.int32()).view(pa.date32()), False),
    (TIMESTAMP, "timestamp", pa.array([2**63 - 1]).view(pa.timestamp("us")), False),
    (TIMESTAMP, "timestamp", pa.array([0, None]).view(pa.timestamp("us")), True),
    (INTEGER, "double", pa.array([1.0]), False),
]


@pytest.mark.parametrize(("column", "kind", "values", "quick"), NATIVE)
def test_values_with_a_type_are_passed_on_where_nothing_can_be_lost(column, kind, values, quick):
    found = cast_beyond_doubt(column, SourceColumn("x", kind, values.type), values)
    assert (found is not None) == quick
    if quick:
        assert found.type == column.arrow_type
        assert [None if v is None else float(v) for v in found.to_pylist() if not isinstance(v, dt.datetime)] == [
            None if v is None else float(v) for v in values.to_pylist() if not isinstance(v, dt.datetime)
        ]
