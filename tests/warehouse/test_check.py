"""What would become of a file is told, row by row, and nothing is touched."""

import json
import os

import pytest
from typer.testing import CliRunner

from caudal.warehouse.check import UnknownDataset, files_below, judge, places
from caudal.warehouse.verdict import told

HEADER = "item,units,amount\n"


@pytest.fixture
def verdict(env, declare, tmp_path):
    """The verdict on a file of the given text, as `stall/sales/<name>`."""

    def check(text, name="a.csv", shown=20, **settings):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return judge(env, declare(**settings), file, f"stall/sales/{name}", shown)

    return check


def test_a_file_that_fits(verdict):
    found = verdict(HEADER + "apple,1,1.50\npear,2,\n")
    assert (found.exit_code, found.read, found.loaded, found.rejected) == (0, 2, 2, 0)
    assert "rows      2 read, 2 would be loaded, 0 rejected" in "\n".join(told(found))


def test_rejected_rows_are_told_with_row_column_value_and_reason(verdict):
    found = verdict(HEADER + "apple,1,1.50\npear,many,2.00\n,-1,3\n")
    assert (found.exit_code, found.rejected, found.problems) == (1, 2, 3)
    assert [(r.row, r.column, r.value) for r in found.rejects] == [(3, "units", "many"), (4, "item", None), (4, "units", "-1")]
    assert "  row 3, units: `many`: not an integer" in list(told(found))


def test_only_the_first_rejects_are_told_unless_all_are_asked_for(verdict):
    text = HEADER + "apple,many,1\n" * 50
    first = verdict(text)
    assert (len(first.rejects), first.problems) == (20, 50)
    assert list(told(first))[-1] == "  ... and 30 more; --all shows them"
    assert len(verdict(text, shown=None).rejects) == 50


def test_a_file_that_cannot_be_read_is_told_with_its_reason(verdict):
    found = verdict(b"PAR1 is no csv")
    assert found.exit_code == 2
    ((name, reason),) = found.unreadable
    assert name == "stall/sales/a.csv"
    assert "this is a Parquet file" in reason


def test_a_name_that_the_dataset_does_not_take_is_told_and_the_rows_all_the_same(verdict):
    found = verdict(HEADER + "apple,1,1\n", name="a.txt")
    assert (found.exit_code, found.loaded) == (2, 1)
    assert "does not match the declared path `*.csv`" in found.misplaced


def test_drift_is_told(verdict, declare):
    from tests.conftest import SALES_CONTRACT

    loose = SALES_CONTRACT + "customProperties: [{property: driftPolicy, value: ignore}]\n"
    found = verdict("item,amount,colour\napple,1,red\n", contract=loose)
    assert (found.exit_code, found.undeclared, found.without_value) == (0, ("colour",), ("units",))


def test_neither_lake_nor_ledger_nor_data_folder_is_touched(verdict, env):
    verdict(HEADER + "apple,many,1\n")
    assert not env.data.exists()


def test_each_file_of_an_archive_is_told(verdict, tmp_path):
    import zipfile

    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.csv", HEADER + "apple,1,1\n")
        packed.writestr("b.csv", HEADER + "apple,many,1\n")
    found = verdict(archive.read_bytes(), name="y.zip", path="*")
    assert [(t.name, t.read, t.rejected) for t in found.tables] == [
        ("stall/sales/y.zip!a.csv", 1, 0),
        ("stall/sales/y.zip!b.csv", 1, 1),
    ]


def test_a_file_belongs_to_the_datasets_that_take_its_name(declare, tmp_path):
    daily = declare(
        name="daily", path="{day:%Y-%m-%d}.csv", partition_by="day", start=__import__("datetime").datetime(2020, 1, 1)
    )
    every = declare()
    assert [(d.id, p) for d, p in places([daily, every], tmp_path / "2024-01-31.csv")] == [
        ("stall/daily", "stall/daily/2024-01-31.csv"),
        ("stall/sales", "stall/sales/2024-01-31.csv"),
    ]
    assert [d.id for d, _ in places([daily, every], tmp_path / "x.csv")] == ["stall/sales"]


def test_datasets_that_take_any_name_count_where_no_other_does_and_by_what_is_in_the_file(declare, tmp_path):
    every, lines = declare(path="*"), declare(name="lines", path="*", format="jsonl")
    (tmp_path / "a.csv").write_text(HEADER + "apple,1,1.50\n")
    (tmp_path / "a.txt").write_text('{"item": "apple"}\n{"item": "pear"}\n')
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))

    def found(name, *datasets):
        return [d.id for d, _ in places(datasets, tmp_path / name)]

    assert found("a.csv", every, lines, declare(name="named")) == ["stall/named"]
    assert found("a.csv", every, lines) == ["stall/sales"]
    assert found("a.txt", every, lines) == ["stall/lines"]
    assert found("a.bin", every, lines) == ["stall/sales", "stall/lines"]


def test_a_file_in_the_folder_of_a_dataset_belongs_to_that_one(declare, tmp_path):
    inside = tmp_path / "elsewhere" / "stall" / "sales" / "2024" / "a.txt"
    assert [p for _, p in places([declare()], inside)] == ["stall/sales/2024/a.txt"]


def test_a_file_that_no_dataset_takes_is_told_with_those_that_there_are(declare, tmp_path):
    with pytest.raises(UnknownDataset, match=r"no declared dataset takes a file of this name.*`stall/sales` \(\*\.csv\)"):
        places([declare()], tmp_path / "a.txt")
    with pytest.raises(UnknownDataset, match="there is no dataset `stall/other`"):
        places([declare()], tmp_path / "a.csv", "stall/other")


def test_a_folder_is_looked_through_as_the_lake_would(tmp_path):
    for name in ("b.csv", "a.csv", ".hidden", "x.csv.tmp"):
        (tmp_path / name).touch()
    assert [p.name for p in files_below([tmp_path])] == ["a.csv", "b.csv"]
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        list(files_below([tmp_path / "none"]))


def test_the_command_exits_by_what_was_found_and_prints_json(tmp_path, monkeypatch):
    from caudal.cli import app

    monkeypatch.setenv("CAUDAL_DATA", str(tmp_path / "data"))
    file = tmp_path / "x.jsonl"
    row = {"household_id": 1, "coupon_upc": 10000000001, "campaign_id": 2, "redemption_date": "2017-01-31"}
    file.write_text(json.dumps(row) + "\n" + json.dumps(row | {"campaign_id": "many"}) + "\n")
    run = CliRunner().invoke(app, ["lake", "check", str(file), "--dataset", "pos/redemptions", "--format", "json"])
    (found,) = json.loads(run.stdout)
    assert run.exit_code == 1
    assert (found["rows_read"], found["rows_loaded"], found["rows_rejected"]) == (2, 1, 1)
    assert [(r["row"], r["column"], r["value"]) for r in found["rejects"]] == [(2, "campaign_id", "many")]
    assert CliRunner().invoke(app, ["lake", "check", str(tmp_path / "none.csv")]).exit_code == 2
    assert CliRunner().invoke(app, ["lake", "check", str(file), "--dataset", "pos/none"]).exit_code == 2
    assert not os.path.exists(tmp_path / "data")
