"""Data to begin with reaches a lake that is not the company's folder."""

from pathlib import Path

import pytest

from caudal.runtime.quickstart import carry
from caudal.store import open_store


@pytest.fixture
def landed(tmp_path):
    folder = tmp_path / "landed"
    for name, content in {"pos/sales/1.csv": "a", "pos/sales/2.csv": "bb", "pos/sales/.3.csv.x.tmp": "unfinished"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def test_what_was_landed_is_brought_to_a_lake_elsewhere_under_the_same_names(landed, tmp_path):
    lake = open_store(str(tmp_path / "lake"))
    assert carry(landed, lake) == 2
    assert sorted(found.path for found in lake.list("")) == ["pos/sales/1.csv", "pos/sales/2.csv"]
    assert Path(tmp_path, "lake/pos/sales/2.csv").read_text(encoding="utf-8") == "bb"


def test_what_the_lake_has_is_left_alone_and_what_is_missing_or_shorter_is_brought_again(landed, tmp_path):
    lake = open_store(str(tmp_path / "lake"))
    carry(landed, lake)
    before = {found.path: found.version for found in lake.list("")}
    assert carry(landed, lake) == 0
    (landed / "pos/sales/1.csv").write_text("longer", encoding="utf-8")
    assert carry(landed, lake) == 1
    after = {found.path: found.version for found in lake.list("")}
    assert before["pos/sales/2.csv"] == after["pos/sales/2.csv"]
    assert before["pos/sales/1.csv"] != after["pos/sales/1.csv"]
