"""Extraction from SQLite: exact values, one snapshot, the same bytes for the same rows."""

import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.sources.sqlite import SourceUnavailable, extract_table, snapshot
from caudal.store import open_store


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT, weight REAL, odd)")
        db.executemany("INSERT INTO item VALUES (?, ?, ?, ?)", [(2, "007", 0.1, "x"), (1, None, 2.0, 9007199254740993)])
    return path


@pytest.fixture
def lake(tmp_path):
    return open_store(str(tmp_path / "lake"))


def test_values_keep_their_kind_and_a_mixed_column_becomes_exact_text(database, lake):
    with snapshot(database) as connection:
        done = extract_table(connection, "item", lake, "shop/item/item.parquet")
    table = pq.read_table(lake.folder / "shop/item/item.parquet")
    assert (done.path, done.rows, done.changed) == ("shop/item/item.parquet", 2, True)
    assert table.schema.types == [pa.int64(), pa.string(), pa.float64(), pa.string()]
    assert table.to_pylist() == [
        {"id": 1, "code": None, "weight": 2.0, "odd": "9007199254740993"},
        {"id": 2, "code": "007", "weight": 0.1, "odd": "x"},
    ]


def test_extracting_the_same_rows_leaves_the_lake_file_untouched(database, lake):
    target = lake.folder / "item.parquet"
    with snapshot(database) as connection:
        extract_table(connection, "item", lake, "item.parquet")
        before = target.stat()
        again = extract_table(connection, "item", lake, "item.parquet")
    assert not again.changed
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [p.name for p in lake.folder.iterdir()] == ["item.parquet"]


def test_all_tables_come_from_one_snapshot_while_the_source_is_written(database, lake):
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA journal_mode = WAL")
    with snapshot(database) as connection:
        connection.execute("SELECT count(*) FROM item").fetchone()
        with sqlite3.connect(database) as db:
            db.execute("INSERT INTO item VALUES (3, 'late', 0, 0)")
        done = extract_table(connection, "item", lake, "item.parquet")
    assert done.rows == 2


def test_an_empty_table_is_a_file_with_columns_and_no_rows(database, lake):
    with sqlite3.connect(database) as db:
        db.execute("DELETE FROM item")
    with snapshot(database) as connection:
        extract_table(connection, "item", lake, "item.parquet")
    assert pq.read_table(lake.folder / "item.parquet").shape == (0, 4)


def test_a_missing_database_a_missing_table_and_a_file_that_is_no_database_are_told(database, lake, tmp_path):
    with (
        pytest.raises(SourceUnavailable, match=r"no SQLite database .*/nowhere\.sqlite"),
        snapshot(tmp_path / "nowhere.sqlite"),
    ):
        pass
    with snapshot(database) as connection, pytest.raises(SourceUnavailable, match="table 'itm': not in the database"):
        extract_table(connection, "itm", lake, "itm.parquet")
    fake = tmp_path / "fake.sqlite"
    fake.write_text("not a database at all, but long enough to be looked at as one " * 20)
    with pytest.raises(SourceUnavailable, match="not a database"), snapshot(fake) as connection:
        extract_table(connection, "item", lake, "item.parquet")
