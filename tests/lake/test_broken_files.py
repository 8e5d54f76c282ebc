"""Every reader over every broken file: refused or rejected with a message that names it, in bounded time, and no row is lost."""

import resource
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from caudal.lake.dataset import Dataset
from caudal.lake.options import FixedWidthOptions, Limits, XmlOptions
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parts import LakeFile, Quarantined, normalize_many

BROKEN = sorted(p for p in (Path(__file__).parent / "broken").iterdir() if "--" in p.name)
FORMATS = ["csv", "jsonl", "json", "parquet", "avro", "orc", "excel", "xml", "fixed_width"]
LIMITS = Limits(unpacked_bytes=48 << 20, ratio=500, ratio_from_bytes=24 << 20, members=200)
SECONDS = 60
MEMORY_BYTES = 4 << 30


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """What asks for more memory than this fails, also where the system would promise any amount and not mean it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    from caudal.environment import Environment

    folder = tmp_path_factory.mktemp("broken")
    with connect_memory(Environment("local", "shop", folder, folder / "data")) as connection:
        yield connection


@pytest.fixture
def outcome(connection, contract_of, tmp_path):
    """Read the files, and return what was quarantined and how many rows were read, loaded and rejected."""

    def read(file_format, files):
        contract = contract_of("a", {"name": "n", "logicalType": "integer"})
        dataset = Dataset(
            "t", "t", file_format, contract, limits=LIMITS, xml=XmlOptions("rows/row"),
            fixed_width=FixedWidthOptions({"a": (1, 8), "n": (9, 6)}),
        )  # fmt: skip
        into = tmp_path / "parts"
        lake_files = [LakeFile(f"t/t/{f.name}", "1", f) for f in files]
        start = time.monotonic()
        results = list(normalize_many(connection, dataset, lake_files, loaded_at=datetime(2020, 1, 1, tzinfo=UTC), into=into))
        assert time.monotonic() - start < SECONDS
        assert not list(into.glob("*.unpacked"))
        quarantined = [r for r in results if isinstance(r, Quarantined)]
        counts = [c for r in results if not isinstance(r, Quarantined) for c in r.files]
        assert {r.path for r in (*quarantined, *counts)} == {f.path for f in lake_files}
        for refused in quarantined:
            assert refused.reason.startswith(refused.path), refused.reason
            assert str(tmp_path) not in refused.reason
            assert len(refused.reason) < 2_000
        assert all(c.rows_read == c.rows_loaded + c.rows_rejected for c in counts)
        return quarantined, counts

    return read


def own_format(file):
    kind = file.name.split("--")[0]
    return kind if kind in FORMATS else "csv"


@pytest.mark.parametrize("file", BROKEN, ids=lambda f: f.name)
def test_a_broken_file_is_refused_or_its_rows_are_rejected(outcome, file):
    quarantined, counts = outcome(own_format(file), [file])
    assert quarantined or sum(c.rows_rejected for c in counts)


@pytest.mark.parametrize("file_format", FORMATS)
def test_no_reader_fails_at_the_files_of_others_and_each_file_is_accounted_for(outcome, file_format):
    large = ("endless", "bomb", "deep", "many-members")
    outcome(file_format, [f for f in BROKEN if not any(word in f.name for word in large)])


def test_a_good_file_among_broken_ones_is_loaded(outcome, tmp_path):
    good = tmp_path / "good.csv"
    good.write_text("a,n\nx,1\n")
    quarantined, counts = outcome("csv", [*BROKEN[:10], good, *BROKEN[-10:]])
    assert [(c.path, c.rows_loaded) for c in counts if c.path == "t/t/good.csv"] == [("t/t/good.csv", 1)]
    assert quarantined
