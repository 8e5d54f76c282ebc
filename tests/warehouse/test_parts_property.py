"""Whatever a file holds: rows read are rows loaded and rejected, values are exact, the order is kept, nothing crashes."""

import datetime as dt
import io
import json
from decimal import Decimal
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caudal.lake.dataset import Dataset
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parts import LakeFile, Normalized, Quarantined, normalize_many

LOADED_AT = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
SLOW_TO_SET_UP = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
)

COLUMNS = [
    {"name": "s", "logicalType": "string"},
    {"name": "i", "logicalType": "integer"},
    {"name": "m", "logicalType": "number", "physicalType": "DECIMAL(12,3)"},
    {"name": "f", "logicalType": "number", "physicalType": "DOUBLE"},
    {"name": "b", "logicalType": "boolean"},
    {"name": "d", "logicalType": "date"},
    {"name": "t", "logicalType": "timestamp"},
    {"name": "z", "logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}},
]
NAMES = [c["name"] for c in COLUMNS]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.text(
    'a ",\n\r\t;é', max_size=6
)
moments = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 30))  # noqa: DTZ001 - the column has no time zone
values = st.tuples(
    texts,
    st.integers(-(2**63), 2**63 - 1),
    st.decimals(Decimal("-999999999.999"), Decimal("999999999.999"), places=3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.dates(),
    moments,
    moments.map(lambda m: m.replace(tzinfo=dt.UTC)),
)
misfits = {
    "i": ["1.5", "007", "x", "1e3"], "m": ["1.2345", "x", "1,5"], "f": ["NaN", "x", "1e999"], "b": ["yes"],
    "d": ["2017-02-30", "1.1.2017"], "t": ["2017-01-01", "2017-01-01T00:00:00Z"], "z": ["2017-01-01 10:00:00"],
}  # fmt: skip


@st.composite
def tables(draw):
    """Rows of values, and for some the column that does not fit, with the text that stands there instead."""
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        row = dict(zip(NAMES, draw(values), strict=True))
        for name in draw(st.sets(st.sampled_from(NAMES), max_size=3)):
            row[name] = None
        name = draw(st.sampled_from([None, None, None, *misfits]))
        rows.append((row, (name, draw(st.sampled_from(misfits[name]))) if name else None))
    return rows


def as_text(value):
    match value:
        case None | str():
            return value
        case bool():
            return str(value).lower()
        case float():
            return repr(value)
        case dt.datetime():
            return value.isoformat("T", "microseconds")
        case _:
            return str(value)


def exact(value):
    """What two values must have in common; a zero has no sign."""
    return type(value), value


def in_text(row, misfit):
    written = {name: as_text(value) for name, value in row.items()}
    return written | {misfit[0]: misfit[1]} if misfit else written


@pytest.fixture
def checked(contract_of, env, tmp_path):
    """Normalize the content and compare with the rows that went in."""
    with connect_memory(env) as connection:
        contract = contract_of(*COLUMNS)

        def check(file_format, content, rows, places):
            file = tmp_path / f"x.{file_format}"
            file.write_bytes(content)
            dataset = Dataset("t", "t", file_format, contract)
            (result,) = normalize_many(
                connection, dataset, [LakeFile("t/t/x", "1", file)], loaded_at=LOADED_AT, into=tmp_path / "parts"
            )
            assert isinstance(result, Normalized), result
            good = [(place, row) for place, (row, misfit) in zip(places, rows, strict=True) if misfit is None]
            (counts,) = result.files
            assert (counts.rows_read, counts.rows_loaded, counts.rows_rejected) == (len(rows), len(good), len(rows) - len(good))
            found = pq.read_table(result.part).to_pylist() if result.part else []
            assert [r["_row"] for r in found] == [place for place, _ in good]
            assert [[exact(r[n]) for n in NAMES] for r in found] == [[exact(row[n]) for n in NAMES] for _, row in good]
            rejects = pq.read_table(result.rejects).to_pylist() if result.rejects else []
            bad = [(place, *misfit) for place, (_, misfit) in zip(places, rows, strict=True) if misfit]
            assert [(r["_row"], r["column"], r["value"]) for r in rejects] == bad
            for left in (result.part, result.rejects):
                if left:
                    left.unlink()

        yield check


@given(rows=tables(), end=st.sampled_from(["\n", "\r\n"]), quoted=st.randoms(use_true_random=False))
@SLOW_TO_SET_UP
def test_csv(checked, rows, end, quoted):
    def cell(value):
        if value is None:
            return ""
        if value == "" or any(c in value for c in '",\r\n') or value.lstrip(" \t") != value or quoted.random() < 0.2:
            return '"' + value.replace('"', '""') + '"'
        return value

    line, lines, places = 2, [",".join(NAMES)], []
    for row, misfit in rows:
        lines.append(",".join(cell(v) for v in in_text(row, misfit).values()))
        places.append(line)
        line += 1 + lines[-1].count("\n")
    checked("csv", (end.join(lines) + (end if quoted.random() < 0.5 else "")).encode(), rows, places)


@given(rows=tables(), blank=st.booleans())
@SLOW_TO_SET_UP
def test_json_lines(checked, rows, blank):
    lines = []
    for row, misfit in rows:
        written = in_text(row, misfit)
        bare = {n for n in "imfb" if row[n] is not None and not (misfit and misfit[0] == n)}
        pairs = [f"{json.dumps(n)}:{v if n in bare else json.dumps(v)}" for n, v in written.items()]
        lines.append("{" + ",".join(pairs) + "}")
    step = 2 if blank else 1
    content = ("\n" * step).join(lines) + "\n" if lines else "\n"
    checked("jsonl", content.encode(), rows, [1 + step * n for n in range(len(rows))])


@given(rows=tables())
@SLOW_TO_SET_UP
def test_parquet_of_text(checked, rows):
    written = pa.Table.from_pylist([in_text(*row) for row in rows], pa.schema([(n, pa.string()) for n in NAMES]))
    checked("parquet", parquet(written), rows, list(range(1, len(rows) + 1)))


@given(rows=tables())
@SLOW_TO_SET_UP
def test_parquet_of_types(checked, contract_of, rows):
    schema = pa.schema([contract_of(*COLUMNS).arrow_schema().field(n) for n in NAMES])
    good = [(row, None) for row, _ in rows]
    checked("parquet", parquet(pa.Table.from_pylist([row for row, _ in good], schema)), good, list(range(1, len(good) + 1)))


def parquet(table):
    written = io.BytesIO()
    pq.write_table(table, written)
    return written.getvalue()


@pytest.fixture(scope="module")
def samples():
    """A good file of each format."""
    row = {"s": "text", "i": 1, "m": Decimal("1.5"), "f": 0.5, "b": True, "d": dt.date(2017, 1, 1)}
    row |= {"t": dt.datetime(2017, 1, 1, 10), "z": None}  # noqa: DTZ001
    book = openpyxl.Workbook()
    book.active.append(NAMES)
    for _ in range(20):
        book.active.append(list(row.values()))
    workbook = io.BytesIO()
    book.save(workbook)
    line = ",".join(as_text(v) or "" for v in row.values())
    return {
        "csv": (",".join(NAMES) + "\n" + (line + "\n") * 20).encode(),
        "jsonl": (json.dumps({n: as_text(v) for n, v in row.items()}) + "\n").encode() * 20,
        "parquet": parquet(pa.Table.from_pylist([row] * 20)),
        "excel": workbook.getvalue(),
    }


damage = st.lists(
    st.tuples(st.sampled_from(["cut", "byte", "insert", "drop"]), st.floats(0, 1), st.binary(min_size=1, max_size=4)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet", "excel"])
@given(data=st.data(), drift=st.sampled_from(["freeze", "ignore"]))
@settings(parent=SLOW_TO_SET_UP, max_examples=50)
def test_a_damaged_file_is_quarantined_or_its_rows_are_conserved(contract_of, env, tmp_path, samples, file_format, data, drift):
    content = bytearray(samples[file_format])
    for kind, where, new in data.draw(damage):
        place = int(where * len(content))
        match kind:
            case "cut":
                content = content[:place]
            case "byte":
                content[place : place + len(new)] = new
            case "insert":
                content[place:place] = new
            case "drop":
                del content[place : place + len(new)]
    file = tmp_path / f"x.{file_format}"
    file.write_bytes(content)
    dataset = Dataset("t", "t", file_format, contract_of(*COLUMNS, drift=drift))
    with connect_memory(env) as connection:
        (result,) = normalize_many(
            connection, dataset, [LakeFile("t/t/x", "1", file)], loaded_at=LOADED_AT, into=tmp_path / "parts"
        )
    if isinstance(result, Quarantined):
        assert result.reason.startswith("t/t/x")
        assert str(tmp_path) not in result.reason
    else:
        (counts,) = result.files
        assert counts.rows_read == counts.rows_loaded + counts.rows_rejected
        kept = pq.read_metadata(result.part).num_rows if result.part else 0
        assert kept == counts.rows_loaded
        for left in (result.part, result.rejects):
            if left:
                Path(left).unlink()
