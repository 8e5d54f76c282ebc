"""`caudal migrate local gcp`, against servers of their protocols: everything arrives once, and is what it was."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid

import pyarrow as pa
import pytest

from caudal.lake.ledger import Ledger
from caudal.lake.watch import look
from caudal.runtime.migration.migrate import MigrationRefused, check, migrate, preview
from caudal.runtime.migration.objects import Differs
from caudal.store import open_store
from caudal.warehouse import versions
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.loading import load_pending
from caudal.warehouse.rollback import rollback
from tests.conftest import ROOT
from tests.services import migrating


@pytest.fixture(scope="module")
def servers(bigquery, gcs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
        yield bigquery, gcs


def arguments(servers):
    """Of `migrating.environments`, but for the folder."""
    bigquery, gcs = servers
    return bigquery.project, gcs.bucket(), f"c{uuid.uuid4().hex[:8]}_", bigquery.rest_url, bigquery.grpc_address


def company_in(folder, given):
    """Here, there, and the dataset."""
    here, there = migrating.environments(folder, *given)
    sales = migrating.dataset(folder)
    migrating.fill(here, sales)
    return here, there, sales


@pytest.fixture
def company(tmp_path, servers):
    return company_in(tmp_path, arguments(servers))


def run(company):
    here, there, sales = company
    lines = []
    migrate(here, there, [sales], lines.append)
    return {line.name: line for line in lines}


@pytest.fixture(scope="module")
def moved(tmp_path_factory, servers):
    """A company that was migrated: what would have been copied before, and what was told."""
    company = company_in(tmp_path_factory.mktemp("company"), arguments(servers))
    before = {line.name: line for line in preview(*company[:2])}
    assert not company[1].home.exists()
    return company, before, run(company)


def rows(there, relation, order):
    sql = f"SELECT * FROM `{there.cloud.table(relation)}` ORDER BY {order}"
    return [tuple(row.values()) for row in BigQuery(there.cloud).query(sql)]


def test_a_dry_run_tells_what_will_be_copied(moved):
    _, before, told = moved
    assert {line.state for line in before.values()} == {"would be copied"}
    assert {n: line.rows for n, line in before.items() if n != "registry"} == {
        n: told[n].rows for n in before if n != "registry"
    }
    assert before["lake"].bytes == told["lake"].bytes > 0


def test_what_was_loaded_here_is_loaded_there_and_not_loaded_again(moved):
    (here, there, sales), _, told = moved
    assert (told["lake"].rows, told["raw.stall__sales"].rows) == (13, 12 * 20 + 1)
    assert told["quarantine.stall__sales"].rows >= 13
    assert (told["marts.daily"].rows, told["marts.empty"].rows, told["published"].rows) == (500, 0, 1000)
    assert check(here, there, [sales], lambda _: None) == []

    before = {f.path: f.state for f in Ledger(here.state / "ledger.db").files(sales.id)}
    ledger = Ledger(there.state / "ledger.db")
    seen = look(there, ledger, [sales])[sales.id]
    assert (seen.new, seen.changed, seen.deleted, seen.pending) == (0, 0, 0, 1)  # The one that had changed here already.
    assert {f.path: f.state for f in ledger.files(sales.id)} == before
    sql = f"SELECT DISTINCT _file, _version FROM `{there.cloud.table('loading.stall__sales')}`"
    versions = dict(tuple(row.values()) for row in BigQuery(there.cloud).query(sql))
    assert versions == {f.path: f.live_version for f in ledger.files(sales.id) if f.live_version and f.rows_loaded}
    live = {found.path: found.version for found in open_store(there.lake_url).list("")}
    assert {p: v for p, v in versions.items() if not p.endswith(("/0.csv", "gone.csv"))}.items() <= live.items()

    loaded = load_pending(there, sales, "run")
    assert [f.path for f, _ in loaded.files] == ["stall/sales/0.csv"]
    (count,) = BigQuery(there.cloud).query(f"SELECT count(*) FROM `{there.cloud.table('loading.stall__sales')}`")
    assert count[0] == 11 * 20 + 1 + 1

    with open_store(there.lake_url).write("stall/sales/new.csv") as temporary:
        temporary.write_text(migrating.HEADER + migrating.row(5))
    assert [f.path for f, _ in load_pending(there, sales, "run").files] == ["stall/sales/new.csv"]
    assert load_pending(there, sales, "run").files == []


def test_nothing_goes_back_to_before_it_was_migrated_and_it_is_said_where_that_is(moved):
    (here, there, _), _, _ = moved
    before, begun = versions.current(here), versions.current(there)
    publish_tables(there, {"marts.daily": pa.table({"n": [1]})})
    with pytest.raises(versions.NoSuchVersion, match=f"what was published before {begun} stayed where that was migrated from"):
        rollback(there, "marts.daily", before, "ana")
    rollback(there, "marts.daily", begun, "ana")
    assert len(rows(there, "marts.daily", 1)) == 500


def test_nothing_is_copied_twice_and_a_check_finds_what_was_changed_since(moved):
    company, _, _ = moved
    here, there, sales = company
    with pytest.raises(MigrationRefused, match="was migrated already"):
        run(company)
    BigQuery(there.cloud).query(f"UPDATE `{there.cloud.table('marts.daily')}` SET n = 501 WHERE n = 1")
    with open_store(there.lake_url).write("stall/sales/1.csv") as temporary:
        temporary.write_text("other")
    found = [each for each in check(here, there, [sales], lambda _: None) if "new.csv" not in each]  # which another test landed
    assert [line for line in found if line.startswith("lake")] == ["lake: stall/sales/1.csv: has another content in the target"]
    assert [line.partition(";")[0] for line in found if line.startswith("marts")] == ["marts.daily: 500 rows here, 500 there"]


def test_a_target_that_has_data_of_another_origin_is_refused_and_left_as_it_is(company):
    there = company[1]
    with open_store(there.lake_url).write("stall/sales/1.csv") as temporary:
        temporary.write_text("theirs")
    with pytest.raises(MigrationRefused, match="has objects already"):
        run(company)
    open_store(there.lake_url).delete("stall/sales/1.csv")
    client = BigQuery(there.cloud).client
    client.create_dataset(there.cloud.dataset("marts"))
    client.query(f"CREATE TABLE `{there.cloud.table('marts.daily')}` AS SELECT 1 AS id").result()
    with pytest.raises(MigrationRefused, match="has a table already"):
        run(company)
    assert rows(there, "marts.daily", 1) == [(1,)]
    assert not (there.state / "ledger.db").exists()


def test_a_table_that_arrives_otherwise_than_it_was_sent_is_named(company, monkeypatch):
    from caudal.runtime.migration import tables

    monkeypatch.setattr(tables, "_fingerprint_there", lambda *_: tables.Fingerprint(3, "0"))
    with pytest.raises(Differs, match=r"raw.stall__sales: 241 rows here, 3 there"):
        run(company)
    monkeypatch.undo()


def test_killed_at_any_moment_and_begun_again_each_thing_is_there_once(tmp_path, servers):
    given = arguments(servers)
    here, there, sales = company_in(tmp_path, given)
    command = [sys.executable, "-m", "tests.services.migrating", str(tmp_path), *given]
    chance, reached = random.Random(), set()
    for _ in range(int(os.environ.get("CAUDAL_FAULTS", "3"))):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.0, 3.0))
        process.send_signal(signal.SIGKILL)
        reached.update(process.stdout.read().splitlines())
        process.stdout.close()
        process.wait(60)
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0 or "was migrated already" in finished.stderr, finished.stderr
    assert check(here, there, [sales], lambda _: None) == []
    assert len(rows(there, "caudal.published", 1)) == 1
