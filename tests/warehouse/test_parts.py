"""Many lake files at once: each is loaded or quarantined by itself, and every row is counted."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.contracts import read_contract
from caudal.lake.dataset import CsvOptions, Dataset
from caudal.warehouse import parts, streams
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.judging import Judge
from caudal.warehouse.parts import (
    FileCounts,
    LakeFile,
    Normalized,
    Quarantined,
    Unreadable,
    normalize,
    normalize_many,
    reject_schema,
    write_quarantined,
)

LOADED_AT = dt.datetime(2020, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC)
NUMBER = {"name": "n", "logicalType": "integer"}
RETAIL = Path(__file__).resolve().parents[3] / "shared" / "data" / "online_retail"


@pytest.fixture
def connection(env):
    with connect_memory(env) as opened:
        yield opened


@pytest.fixture
def many(connection, tmp_path):
    """Normalize files by name and content; the results as a list."""

    def normalized(dataset, contents):
        files = []
        for name, content in contents.items():
            file = tmp_path / name
            if isinstance(content, pa.Table):
                pq.write_table(content, file)
            else:
                file.write_bytes(content.encode() if isinstance(content, str) else content)
            files.append(LakeFile(f"t/t/{name}", f"version of {name}", file))
        return list(normalize_many(connection, dataset, files, loaded_at=LOADED_AT, into=tmp_path / "parts"))

    return normalized


def test_files_of_the_same_columns_become_one_part_that_knows_its_files(contract_of, many):
    dataset = Dataset("t", "t", "csv", contract_of("a", NUMBER))
    contents = {f"{i}.csv": "a,n\n" + "".join(f"it's {i},{j}\n" for j in range(i)) for i in range(4)}
    (result,) = many(dataset, contents)
    assert result.files == tuple(FileCounts(f"t/t/{i}.csv", f"version of {i}.csv", i, i, 0) for i in range(4))
    part = pq.read_table(result.part)
    assert part.schema.equals(dataset.contract.arrow_schema())
    assert part.to_pylist()[:2] == [
        {"a": "it's 1", "n": 0, "_file": "t/t/1.csv", "_version": "version of 1.csv", "_row": 2, "_loaded_at": LOADED_AT},
        {"a": "it's 2", "n": 0, "_file": "t/t/2.csv", "_version": "version of 2.csv", "_row": 2, "_loaded_at": LOADED_AT},
    ]
    assert part["_row"].to_pylist() == [2, 2, 3, 2, 3, 4]
    assert result.rejects is None


def test_rejects_are_counted_by_file_and_by_row(contract_of, many):
    dataset = Dataset("t", "t", "csv", contract_of({**NUMBER, "required": True}, {"name": "m", "logicalType": "integer"}))
    (result,) = many(dataset, {"a.csv": "n,m\n1,1\n", "b.csv": "n,m\nx,y\n2,2\n,\nfew\n", "c.csv": "m,n\nz,3\n"})
    assert [(c.rows_read, c.rows_loaded, c.rows_rejected) for c in result.files] == [(1, 1, 0), (4, 1, 3), (1, 0, 1)]
    rejects = pq.read_table(result.rejects)
    assert rejects.schema.equals(reject_schema())
    assert [(r["_file"], r["_row"], r["column"], r["value"]) for r in rejects.to_pylist()] == [
        ("t/t/b.csv", 2, "n", "x"),
        ("t/t/b.csv", 2, "m", "y"),
        ("t/t/b.csv", 4, "n", None),
        ("t/t/b.csv", 5, None, "few"),
        ("t/t/c.csv", 2, "m", "z"),
    ]
    assert {r["_version"] for r in rejects.to_pylist()} == {"version of b.csv", "version of c.csv"}
    assert {r["_loaded_at"] for r in rejects.to_pylist()} == {LOADED_AT}


def test_files_of_other_types_are_normalized_apart(contract_of, many):
    dataset = Dataset("t", "t", "parquet", contract_of(NUMBER))
    tables = {"a": pa.table({"n": [1]}), "b": pa.table({"n": [2.0]}), "c": pa.table({"n": ["3"]}), "d": pa.table({"n": [4]})}
    results = many(dataset, tables)
    assert [[f.path for f in r.files] for r in results] == [["t/t/a", "t/t/d"], ["t/t/b"], ["t/t/c"]]
    assert sorted(n for r in results for n in pq.read_table(r.part)["n"].to_pylist()) == [1, 2, 3, 4]


def test_a_file_that_cannot_be_read_does_not_stop_the_others(contract_of, many):
    dataset = Dataset("t", "t", "csv", contract_of("a"))
    late = b"a\n" + b"x\n" * 3_000_000 + b"caf\xe9\n"
    results = many(dataset, {"1.csv": "a\n1\n", "2.csv": "b\n1\n", "3.csv": late, "4.csv": "", "5.csv": "a\n5\n"})
    quarantined = {r.path: r for r in results if isinstance(r, Quarantined)}
    assert set(quarantined) == {"t/t/2.csv", "t/t/3.csv", "t/t/4.csv"}
    assert quarantined["t/t/3.csv"].version == "version of 3.csv"
    assert "line 3000002" in quarantined["t/t/3.csv"].reason
    (loaded,) = (r for r in results if isinstance(r, Normalized))
    assert [(f.path, f.rows_loaded) for f in loaded.files] == [("t/t/1.csv", 1), ("t/t/5.csv", 1)]
    assert pq.read_table(loaded.part)["a"].to_pylist() == ["1", "5"]


def test_nothing_to_normalize_is_nothing(contract_of, many):
    assert many(Dataset("t", "t", "csv", contract_of("a")), {}) == []


def test_groups_are_of_limited_size(contract_of, many, monkeypatch):
    monkeypatch.setattr(streams, "GROUP_FILES", 2)
    dataset = Dataset("t", "t", "csv", contract_of("a"))
    results = many(dataset, {f"{i}.csv": f"a\n{i}\n" for i in range(5)})
    assert [len(r.files) for r in results] == [2, 2, 1]


def test_a_part_is_left_out_where_no_row_was_loaded(contract_of, many):
    (result,) = many(Dataset("t", "t", "csv", contract_of(NUMBER)), {"a.csv": "n\nx\n"})
    assert result.part is None
    assert [p.name for p in result.rejects.parent.iterdir()] == [result.rejects.name]


def test_memory_is_bounded(contract_of, env, tmp_path):
    file = tmp_path / "large.csv"
    with file.open("w") as opened:
        opened.write("a,n\n")
        for i in range(60):
            opened.write("".join(f"some text that is not short at all,{i * 20_000 + j}\n" for j in range(20_000)))
    with connect_memory(env, memory_limit="200MB") as connection:
        before = pa.total_allocated_bytes()
        dataset = Dataset("t", "t", "csv", contract_of("a", NUMBER))
        result = normalize(connection, dataset, file, path="t/t/large.csv", version="1", loaded_at=LOADED_AT, into=tmp_path)
    assert result.files[0].rows_loaded == 1_200_000
    assert pa.total_allocated_bytes() - before < 50_000_000
    numbers = pq.read_table(result.part)
    assert numbers["n"].to_pylist() == list(range(1_200_000))
    assert numbers["_row"].to_pylist() == list(range(2, 1_200_002))


def test_one_file_that_cannot_be_read_raises(contract_of, connection, tmp_path):
    (tmp_path / "x.csv").write_text("b\n")
    with pytest.raises(Unreadable, match=r"t/t/x.csv, line 1: columns missing: `a`"):
        normalize(
            connection, Dataset("t", "t", "csv", contract_of("a")), tmp_path / "x.csv",
            path="t/t/x.csv", version="1", loaded_at=LOADED_AT, into=tmp_path,
        )  # fmt: skip


def test_quarantined_files_are_rejects_without_a_row(tmp_path):
    written = write_quarantined(
        [Quarantined("t/t/a", "1", "empty"), Quarantined("t/t/b", "2", "no text", "x.csv")], LOADED_AT, tmp_path
    )
    table = pq.read_table(written)
    assert table.schema.equals(reject_schema())
    assert table.to_pylist()[1] == {
        "_file": "t/t/b!x.csv", "_version": "2", "_row": None, "column": None, "value": None, "reason": "no text", "record": None,
        "_loaded_at": LOADED_AT,
    }  # fmt: skip


def failing_at(monkeypatch, path, error):
    """Let the database fail at every group with the file `path`."""
    original = parts._Work._together

    def together(self, group, stream):
        if any(f.path == path for f in group.files):
            raise error
        return original(self, group, stream)

    monkeypatch.setattr(parts._Work, "_together", together)


def test_a_file_at_which_the_database_fails_is_found_and_quarantined(contract_of, many, monkeypatch):
    failing_at(monkeypatch, "t/t/5.csv", duckdb.InvalidInputException("this cannot be"))
    results = many(Dataset("t", "t", "csv", contract_of("a")), {f"{i}.csv": f"a\n{i}\n" for i in range(8)})
    assert [r.reason for r in results if isinstance(r, Quarantined)] == ["t/t/5.csv: cannot be normalized: this cannot be"]
    assert sorted(f.path for r in results if isinstance(r, Normalized) for f in r.files) == [
        f"t/t/{i}.csv" for i in range(8) if i != 5
    ]


@pytest.mark.parametrize("error", [duckdb.IOException("disk full"), duckdb.OutOfMemoryException("no memory")])
def test_what_no_file_is_to_blame_for_is_raised(contract_of, many, monkeypatch, error):
    failing_at(monkeypatch, "t/t/a.csv", error)
    with pytest.raises(type(error)):
        many(Dataset("t", "t", "csv", contract_of("a")), {"a.csv": "a\n1\n"})


def test_a_fault_of_a_reader_is_raised_as_what_it_is(contract_of, many, monkeypatch):
    from caudal.lake.readers import csv

    def broken(*_args):
        raise ZeroDivisionError
        yield

    monkeypatch.setattr(csv, "_read", broken)
    with pytest.raises(ZeroDivisionError):
        many(Dataset("t", "t", "csv", contract_of("a")), {"a.csv": "a\n1\n"})


def test_a_file_that_cannot_be_read_on_is_quarantined(contract_of, many, monkeypatch):
    from caudal.lake.readers import csv

    def broken(*_args):
        raise OSError(5, "Input/output error")
        yield

    monkeypatch.setattr(csv, "_read", broken)
    (result,) = many(Dataset("t", "t", "csv", contract_of("a")), {"a.csv": "a\n1\n"})
    assert result == Quarantined("t/t/a.csv", "version of a.csv", "t/t/a.csv: cannot be read: Input/output error")


def test_lost_rows_are_an_error_and_never_a_result(contract_of, many, monkeypatch):
    original = Judge.judge
    monkeypatch.setattr(Judge, "judge", lambda self, batch: replace(original(self, batch), rejects=None))
    with pytest.raises(RuntimeError, match="the rows read are not the rows loaded and rejected"):
        many(Dataset("t", "t", "csv", contract_of(NUMBER)), {"a.csv": "n\n1\nx\n"})


@pytest.mark.skipif(not RETAIL.is_dir(), reason="shared/data/online_retail is not beside the checkout")
def test_a_real_retailer_is_read_to_the_last_row(connection, tmp_path):
    contract = tmp_path / "lines.odcs.yaml"
    contract.write_text("""
apiVersion: v3.1.0
kind: DataContract
id: lines
version: 1.0.0
status: active
schema:
  - name: lines
    properties:
      - {name: InvoiceNo, logicalType: string, required: true}
      - {name: StockCode, logicalType: string, required: true}
      - {name: Description, logicalType: string}
      - {name: Quantity, logicalType: integer, required: true}
      - {name: InvoiceDate, logicalType: timestamp, required: true}
      - {name: UnitPrice, logicalType: number, physicalType: "DECIMAL(12,3)", required: true}
      - {name: CustomerID, logicalType: integer}
      - {name: Country, logicalType: string, required: true}
""")
    dataset = Dataset("web", "lines", "csv", read_contract(contract), csv=CsvOptions())
    files = [LakeFile(f"web/lines/{f.name}", "1", f) for f in sorted(RETAIL.glob("*.csv"))]
    results = list(normalize_many(connection, dataset, files, loaded_at=LOADED_AT, into=tmp_path))
    assert [type(r) for r in results] == [Normalized]
    assert len(results[0].files) == 219
    assert results[0].rejects is None
    query = f"""SELECT count(*), sum(Quantity * UnitPrice), count(*) FILTER (InvoiceNo LIKE 'C%'),
        count(*) FILTER (CustomerID IS NULL), count(*) FILTER (Description IS NULL) FROM '{results[0].part}'"""
    rows, total, cancelled, guests, nameless = connection.execute(query).fetchone()
    assert (rows, float(total), cancelled, guests, nameless) == (320_705, 5_761_931.382, 5_847, 88_652, 1_161)


def test_a_reject_holds_the_whole_row_as_it_stands_in_the_file(contract_of, many):
    dataset = Dataset("t", "t", "csv", contract_of("a", NUMBER, drift="ignore"), csv=CsvOptions(null_markers=("NA",)))
    (result,) = many(dataset, {"a.csv": 'n,a,other\n 1.5 ,"say ""é""",9\nx,NA,8\n7,few\n1,good,7\n'})
    rejects = pq.read_table(result.rejects).to_pylist()
    assert [(r["_row"], r["record"]) for r in rejects] == [
        (2, '{"a":"say \\"é\\"","n":" 1.5 "}'),
        (3, '{"a":null,"n":"x"}'),
        (4, None),
    ]
    assert rejects[2]["value"] == "7,few"


def test_the_record_of_a_row_with_types_is_text_too(contract_of, many):
    dataset = Dataset("t", "t", "parquet", contract_of({**NUMBER, "required": True}, {"name": "d", "logicalType": "date"}))
    table = pa.table({"n": pa.array([None], pa.int64()), "d": [dt.date(2017, 1, 31)]})
    (result,) = many(dataset, {"a.parquet": table})
    assert pq.read_table(result.rejects)["record"].to_pylist() == ['{"n":null,"d":"2017-01-31"}']


def test_rows_that_only_sql_can_judge_stay_in_their_places(contract_of, many, monkeypatch):
    monkeypatch.setattr(streams, "MERGED_ROWS", 2)
    contract = contract_of("a", NUMBER, {"name": "d", "logicalType": "date"})
    lines = [f"x,{'1.0' if i % 7 == 3 else i if i % 5 else 'bad'},2017-01-{i % 28 + 1:02}" for i in range(100)]
    (result,) = many(
        Dataset("t", "t", "csv", contract),
        {"a.csv": "a,n,d\n" + "\n".join(lines[:50]), "b.csv": "a,n,d\n" + "\n".join(lines[50:])},
    )
    part = pq.read_table(result.part)
    good = [i for i in range(100) if i % 7 == 3 or i % 5]
    assert part["n"].to_pylist() == [1 if i % 7 == 3 else i for i in good]
    assert part["_row"].to_pylist() == [i % 50 + 2 for i in good]
    assert part["_file"].to_pylist() == [f"t/t/{'ab'[i // 50]}.csv" for i in good]
    bad = [i for i in range(100) if i not in good]
    assert pq.read_table(result.rejects)["_row"].to_pylist() == [i % 50 + 2 for i in bad]


def test_a_heavy_file_is_a_group_of_its_own(contract_of, many, monkeypatch):
    monkeypatch.setattr(streams, "GROUP_BYTES", 100)
    contents = {"a.csv": "a\n1\n", "b.csv": "a\n2\n", "c.csv": "a\n" + "x\n" * 100, "d.csv": "a\n4\n"}
    results = many(Dataset("t", "t", "csv", contract_of("a")), contents)
    assert [[f.path for f in r.files] for r in results] == [["t/t/a.csv", "t/t/b.csv"], ["t/t/c.csv"], ["t/t/d.csv"]]


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_two_thousand_columns_are_no_more_work_each_than_two(contract_of, many, file_format):
    kinds = [{"logicalType": "integer"}, {"logicalType": "string"}, {"logicalType": "number"}, {"logicalType": "date"}]
    columns = [{"name": f"c{n}", **kinds[n % 4]} for n in range(2_000)]
    values = ["17", "seventeen", "17.5", "2017-01-17"]
    rows = [[values[n % 4] for n in range(2_000)] for _ in range(30)]
    rows[20][1_998] = "x"
    if file_format == "csv":
        content = ",".join(c["name"] for c in columns) + "\n" + "".join(",".join(row) + "\n" for row in rows)
    elif file_format == "jsonl":
        content = "".join("{" + ",".join(f'"c{n}":"{v}"' for n, v in enumerate(row)) + "}\n" for row in rows)
    else:
        content = pa.table([pa.array(v) for v in zip(*rows, strict=True)], [c["name"] for c in columns])
    (result,) = many(Dataset("t", "t", file_format, contract_of(*columns)), {"a": content})
    assert (result.files[0].rows_read, result.files[0].rows_rejected) == (30, 1)
    (reject,) = pq.read_table(result.rejects).to_pylist()
    assert (reject["column"], reject["value"], reject["record"].count(":")) == ("c1998", "x", 2_000)
    assert set(pq.read_table(result.part)["c1996"].to_pylist()) == {17}
