"""Mutations of good files: no reader crashes, hangs or loses a row, whatever is in the file.

`CAUDAL_FUZZ=<n>` tries so many cases of each format.
"""

import gzip
import io
import json
import os
import random
import resource
import time
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import orc

from caudal.lake.dataset import CsvOptions, Dataset
from caudal.lake.options import FixedWidthOptions, Limits, XmlOptions
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parts import LakeFile, Quarantined, normalize_many

CASES = int(os.environ.get("CAUDAL_FUZZ", "12"))
SECONDS = 60
MEMORY_BYTES = 4 << 30
LIMITS = Limits(unpacked_bytes=32 << 20, ratio=200, ratio_from_bytes=4 << 20, members=50)
ROWS = [
    {"a": f'row {i}, é"{i}', "n": i * 7919, "m": Decimal(i) / 4, "t": ["x", {"k": None}] if i % 3 else []} for i in range(60)
]


def csv():
    return ("a,n,m\n" + "".join('"{}",{},{}\n'.format(r["a"].replace('"', '""'), r["n"], r["m"]) for r in ROWS)).encode()


def jsonl():
    return "".join(json.dumps({"a": r["a"], "n": r["n"], "m": float(r["m"])}, ensure_ascii=False) + "\n" for r in ROWS).encode()


def json_array():
    return json.dumps([{"a": r["a"], "n": r["n"], "m": float(r["m"])} for r in ROWS], indent=1, ensure_ascii=False).encode()


def xml():
    rows = (f"<row><a>{r['a'].replace(chr(34), '&quot;')}</a><n>{r['n']}</n><m>{r['m']}</m></row>\n" for r in ROWS)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<rows>\n{"".join(rows)}</rows>\n'.encode()


def fixed_width():
    return "".join(f"{r['a']:<20}{r['n']:>8}{r['m']!s:>8}\n" for r in ROWS).encode()


def table():
    return pa.table({
        "a": [r["a"] for r in ROWS], "n": [r["n"] for r in ROWS], "m": pa.array([r["m"] for r in ROWS], pa.decimal128(10, 2)),
    })  # fmt: skip


def parquet(**options):
    sink = pa.BufferOutputStream()
    pq.write_table(table(), sink, row_group_size=25, **options)
    return sink.getvalue().to_pybytes()


def orc_file():
    sink = pa.BufferOutputStream()
    orc.write_table(table(), sink, compression="zlib")
    return sink.getvalue().to_pybytes()


def avro(codec):
    sink = io.BytesIO()
    money = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}
    fields = [{"name": "a", "type": ["null", "string"]}, {"name": "n", "type": "long"}, {"name": "m", "type": money}]
    schema = fastavro.parse_schema({"type": "record", "name": "r", "fields": fields})
    fastavro.writer(sink, schema, [{k: r[k] for k in "anm"} for r in ROWS], codec=codec, sync_interval=500)
    return sink.getvalue()


def xlsx():
    import xlsxwriter

    sink = io.BytesIO()
    with xlsxwriter.Workbook(sink, {"in_memory": True}) as book:
        sheet = book.add_worksheet("S")
        for place, values in enumerate([("a", "n", "m"), *((r["a"], r["n"], float(r["m"])) for r in ROWS)]):
            sheet.write_row(place, 0, values)
    return sink.getvalue()


def xls():
    import xlwt

    book, sink = xlwt.Workbook(), io.BytesIO()
    sheet = book.add_sheet("S")
    for place, values in enumerate([("a", "n", "m"), *((r["a"], r["n"], float(r["m"])) for r in ROWS)]):
        for column, value in enumerate(values):
            sheet.write(place, column, value)
    book.save(sink)
    return sink.getvalue()


def stored(content):
    """A workbook whose parts are not compressed, so that mutations reach them; of a checksum that is not looked at."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(sink, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return sink.getvalue()


def archive():
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("d/a.csv", csv())
        packed.writestr("b.csv.gz", gzip.compress(csv(), mtime=0))
        packed.writestr("c.csv", csv(), zipfile.ZIP_STORED)
    return sink.getvalue()


AUTO = {"csv": CsvOptions(encoding="auto", delimiter="auto", escape="\\", comment="#")}
GOOD = {
    "csv": ("csv", csv, {}, 60),
    "csv, found out": ("csv", csv, AUTO, 60),
    "csv in utf-16": ("csv", lambda: csv().decode().encode("utf-16"), {"csv": CsvOptions(encoding="utf-16")}, 60),
    "csv in gzip": ("csv", lambda: gzip.compress(csv(), mtime=0), {}, 60),
    "csv in zstd": ("csv", lambda: bytes(pa.compress(csv(), "zstd", asbytes=True)), {}, 60),
    "csv in zip": ("csv", archive, {}, 180),
    "jsonl": ("jsonl", jsonl, {}, 60),
    "json": ("json", json_array, {}, 60),
    "xml": ("xml", xml, {"xml": XmlOptions("rows/row")}, 60),
    "fixed width": (
        "fixed_width",
        fixed_width,
        {"fixed_width": FixedWidthOptions({"a": (1, 20), "n": (21, 8), "m": (29, 8)})},
        60,
    ),
    "parquet": ("parquet", parquet, {}, 60),
    "parquet, plain": ("parquet", lambda: parquet(compression="none", use_dictionary=False), {}, 60),
    "orc": ("orc", orc_file, {}, 60),
    "avro": ("avro", lambda: avro("null"), {}, 60),
    "avro in deflate": ("avro", lambda: avro("deflate"), {}, 60),
    "xlsx": ("excel", xlsx, {}, 60),
    "xlsx, stored": ("excel", lambda: stored(xlsx()), {}, 60),
    "xls": ("excel", xls, {}, 60),
}

PIECES = st.sampled_from(
    [b"\0", b"\xff", b"\n", b"\r", b'"', b",", b"\\", b"<", b"&", b"]", b"}", b"{", b"[", b"#", b"9" * 30, b"\x7f\xff\xff\xff"]
)
#: A place in the file, 0 to 1: at its ends more often than elsewhere, where floats alone would hardly be.
PLACES = st.floats(0, 1) | st.integers(0, 2**32).map(lambda seed: random.Random(seed).random())
MUTATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
        st.tuples(st.just("set"), PLACES, st.binary(min_size=1, max_size=4)),
        st.tuples(st.just("insert"), PLACES, st.binary(max_size=20) | PIECES),
        st.tuples(st.just("delete"), PLACES, st.integers(1, 40)),
        st.tuples(st.just("cut"), PLACES, st.just(0)),
        st.tuples(st.just("repeat"), PLACES, st.integers(1, 400)),
    ),
    min_size=1,
    max_size=4,
)


def mutated(content, mutations):
    data = bytearray(content)
    for kind, where, what in mutations:
        place = min(int(where * len(data)), max(len(data) - 1, 0))
        if kind == "flip" and data:
            data[place] ^= 1 << what
        elif kind == "set":
            data[place : place + len(what)] = what
        elif kind == "insert":
            data[place:place] = what
        elif kind == "delete":
            del data[place : place + what]
        elif kind == "cut":
            del data[place:]
        elif kind == "repeat":
            data[place:place] = data[place : place + what]
    return bytes(data)


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """What asks for more memory than this fails, also where the system would promise any amount and not mean it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def connection(folder):
    from caudal.environment import Environment

    with connect_memory(Environment("local", "shop", folder, folder / "data")) as connection:
        yield connection


@pytest.fixture
def outcome(connection, contract_of, folder):
    contract = contract_of(
        "a", {"name": "n", "logicalType": "integer"}, {"name": "m", "logicalType": "number", "physicalType": "DECIMAL(10,2)"}
    )

    def read(file_format, content, options):
        """How many rows were loaded and rejected of all members; and the refusals."""
        dataset = Dataset("t", "t", file_format, contract, limits=LIMITS, **options)
        file, into = folder / "f.dat", folder / "parts"
        file.write_bytes(content)
        start = time.monotonic()
        results = list(
            normalize_many(
                connection, dataset, [LakeFile("t/t/f.dat", "1", file)], loaded_at=datetime(2020, 1, 1, tzinfo=UTC), into=into
            )
        )
        assert time.monotonic() - start < SECONDS
        counts = [c for r in results if not isinstance(r, Quarantined) for c in r.files]
        refused = [r for r in results if isinstance(r, Quarantined)]
        assert counts or refused
        assert all(c.rows_read == c.rows_loaded + c.rows_rejected for c in counts)
        assert all(r.reason.startswith("t/t/f.dat") and str(folder) not in r.reason for r in refused)
        for result in results:
            for written in (getattr(result, "part", None), getattr(result, "rejects", None)):
                if written:
                    written.unlink()
        assert not list(into.iterdir())
        return sum(c.rows_loaded for c in counts), sum(c.rows_rejected for c in counts), refused

    return read


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_is_read_whole(outcome, name):
    file_format, make, options, rows = GOOD[name]
    assert outcome(file_format, make(), options) == (rows, 0, [])


@pytest.mark.parametrize("name", GOOD)
def test_a_mutated_file_is_read_or_refused_and_no_row_is_lost(outcome, name):
    file_format, make, options, rows = GOOD[name]
    content = make()

    @settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(MUTATIONS)
    def check(mutations):
        changed = mutated(content, mutations)
        loaded, rejected, refused = outcome(file_format, changed, options)
        if not refused and file_format in ("jsonl", "fixed_width"):
            lines = changed.removeprefix(b"\xef\xbb\xbf").split(b"\n")
            assert loaded + rejected == sum(
                bool(line.strip(b" \t\r\x0b\x0c\x1c\x1d\x1e\x1f") if file_format == "jsonl" else line.removesuffix(b"\r"))
                for line in lines
            )
        if name in ("csv in gzip", "csv in zip"):
            # Checksums let nothing through that is not as it was packed.
            assert rejected == 0
            assert loaded % 60 == 0
            assert loaded // 60 + len(refused) == rows // 60 or (loaded == 0 and refused[0].member is None)

    check()
