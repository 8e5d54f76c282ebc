"""Whatever a table holds, what is proposed for it accepts every row, and each value reads back as it was."""

import csv
import datetime as dt
import io
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caudal.environment import Environment
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parts import LakeFile, Normalized, normalize_many
from caudal.warehouse.propose.proposal import declared, propose

SLOW = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6) | st.sampled_from(
    [
        "",
        "-",
        "N/A",
        "007",
        "1,5",
        "1.234",
        "01/02/2024",
        "2024-02-30",
        "1e5",
        "NaN",
        "yes",
        "{}",
        '{"a": 1}',
        "[1, 2",
        "0x1F",
        "²",
        " 1 ",
    ]
)
days = st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))
recent = st.dates(dt.date(1990, 1, 1), dt.date(2050, 12, 31))
moments = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31))  # noqa: DTZ001
numbers = st.decimals(Decimal(-(10**9)), Decimal(10**9), places=2)


def german(value):
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


#: How a column's values are made, and written.
KINDS = {
    "text": (texts, str),
    "integer": (st.integers(-(2**63), 2**63 - 1), str),
    "decimal": (numbers, lambda v: f"{v:f}"),
    "double": (st.floats(allow_nan=False, allow_infinity=False), repr),
    "boolean": (st.booleans(), lambda v: str(v).lower()),
    "yes_or_no": (st.booleans(), lambda v: "yes" if v else "no"),
    "date": (days, dt.date.isoformat),
    "german_date": (recent, lambda v: v.strftime("%d.%m.%Y")),
    "american_date": (recent, lambda v: f"{v.month}/{v.day}/{v.year}"),
    "timestamp": (moments, lambda v: v.isoformat(" ")),
    "zoned": (moments.map(lambda m: m.replace(tzinfo=dt.UTC)), lambda v: v.isoformat()),
    "german_number": (numbers, german),
    "percent": (st.decimals(Decimal(0), Decimal(100), places=1), lambda v: f"{v}%"),
}


@st.composite
def tables(draw):
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    rows = draw(st.integers(1, 6))
    gaps = draw(st.sampled_from([None, "", "-"]))
    columns = []
    for kind in kinds:
        values, _ = KINDS[kind]
        values = values if gaps is None or kind == "text" else values | st.none()
        columns.append((kind, draw(st.lists(values, min_size=rows, max_size=rows))))
    return columns, gaps or ""


def as_written(kind, value, gap):
    return gap if value is None else KINDS[kind][1](value)


def is_meant(text, found):
    """Whether a text that was taken for something else than text can mean what was read."""
    match found:
        case None:
            return text in ("-", "N/A", "NaN", "")
        case bool():
            return text.lower() in (("true", "yes") if found else ("false", "no"))
        case float():
            return found == float(text)
        case int() | Decimal():
            return digits(text) == digits(f"{found:f}")
        case dt.date():
            return sorted(f"{found:%d%m%Y}") == sorted(c for c in text if c.isdigit())
        case _:
            return isinstance(found, dict) and text.startswith("{")


def digits(number):
    return "".join(c for c in number if c.isdigit()).strip("0")


def is_same(kind, value, text, found):
    """Whether a value that was read is the one that was written: itself, or the text if the column was kept as text."""
    if isinstance(found, str):
        return found == text
    if value is None or (kind == "text" and not text):
        return found is None
    match kind:
        case "text":
            return is_meant(text.strip(), found)
        case "percent":
            return found == value / 100
        case "double" if isinstance(found, Decimal):
            return found == Decimal(text)
        case "integer" | "decimal" | "german_number":
            return found == value
        case _:
            return found == value or (isinstance(found, dt.datetime) and found.replace(tzinfo=None) == value)


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return Environment("local", "shop", folder, folder / "data")


@given(table=tables(), delimiter=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n"]))
@SLOW
def test_every_row_of_a_random_table_is_accepted_and_each_value_reads_back_equal(env, tmp_path_factory, table, delimiter, end):
    columns, gap = table
    names = [f"{kind}_{n}" for n, (kind, _) in enumerate(columns)]
    rows = [[as_written(kind, values[n], gap) for kind, values in columns] for n in range(len(columns[0][1]))]
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator=end).writerows(
        [["key", *names], *([n, *r] for n, r in enumerate(rows))]
    )
    folder = tmp_path_factory.mktemp("sample")
    file = folder / "a.csv"
    file.write_bytes(written.getvalue().encode())
    proposal = propose(env, [file], "s", "d")
    assert proposal.fits, (proposal.outcome(), written.getvalue())
    assert proposal.verdict.read == len(rows)
    dataset = declared(proposal, folder)
    with connect_memory(env) as connection:
        loaded_at = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        files = [LakeFile("s/d/a.csv", "1", file)]
        (result,) = normalize_many(connection, dataset, files, loaded_at=loaded_at, into=folder / "parts")
    assert isinstance(result, Normalized)
    found = pq.read_table(result.part)
    for n, ((kind, values), name) in enumerate(zip(columns, names, strict=True)):
        for value, row, read in zip(values, rows, found[name].to_pylist(), strict=True):
            assert is_same(kind, value, row[n], read), (kind, value, row[n], read)
