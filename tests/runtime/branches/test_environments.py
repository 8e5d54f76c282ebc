"""The environment of a branch on this machine: production as it is now, of its own, and production left as it is."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from caudal.branch import short_name
from caudal.cli import app
from caudal.environment import Environment
from caudal.lake.ledger import Ledger
from caudal.lake.watch import look
from caudal.runtime.branches import environments
from caudal.runtime.branches.environments import BranchRefused
from caudal.store import open_store
from caudal.warehouse import suppression, versions
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.loading import load_pending
from caudal.warehouse.published import connect, read_arrow
from caudal.warehouse.raw_tables import raw, raw_tables
from tests.conftest import ROOT

HEADER = "item,units,amount\n"


@pytest.fixture
def sales(env, declare, drop):
    """The dataset, of which two files are loaded in production, and a table that is published."""
    from caudal.warehouse.candidate import open_candidate

    dataset = declare()
    drop("stall/sales/1.csv", HEADER + "apple,1,1.50\nbad,-1,0\n")
    drop("stall/sales/2.csv", HEADER + "pear,2,2.50\n")
    load_pending(env, dataset, "run")
    with open_candidate(env, [dataset]) as candidate:
        candidate.write({"marts.daily": pa.table({"n": [1, 2]})})
        candidate.publish(["marts.daily"])
    env.registry.mkdir(parents=True)
    return dataset


def everything(folder: Path) -> dict[str, object]:
    """Each file and folder below, but for environments of branches and what reading leaves: its content, and when it changed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.startswith("branches") or name.endswith(("-shm", "-wal", ".lock")) or path.is_dir():
            continue
        content = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
        found[name] = (content, path.lstat().st_mtime_ns)
    return found


def items(env):
    return sorted(read_arrow(env, "SELECT item FROM raw.stall__sales")["item"].to_pylist())


def test_a_branch_begins_as_production_is_and_loads_nothing_again(env, sales):
    record = environments.create(env, "feature/vat")
    branch = env.of_branch("feature/vat")
    assert (record.lake_files, record.tables, record.version) == (2, 2, versions.current(env))
    assert items(branch) == ["apple", "pear"]
    assert read_arrow(branch, "SELECT n FROM marts.daily")["n"].to_pylist() == [1, 2]
    seen = look(branch, Ledger(branch.state / "ledger.db"), [sales])[sales.id]
    assert (seen.new, seen.changed, seen.deleted, seen.pending) == (0, 0, 0, 0)
    with connect(branch) as connection:
        views = connection.execute("SELECT sql FROM duckdb_views() WHERE contains(sql, 'delta_scan')").fetchall()
    assert views
    assert all(str(branch.home) in sql for (sql,) in views)


def test_one_that_is_made_while_production_loads_has_what_its_own_ledger_says(env, sales, drop):
    """Whatever the loader was about to do: of each file the branch has rows and knows it, or neither."""
    enough, loaded = threading.Event(), [0]

    def load():
        while not enough.is_set():
            loaded[0] += 1
            drop(f"stall/sales/more {loaded[0]}.csv", HEADER + f"fig,{loaded[0]},1\n")
            load_pending(env, sales, "run")

    loader = threading.Thread(target=load)
    loader.start()
    try:
        for name in ("a", "b", "c"):
            environments.create(env, name)
    finally:
        enough.set()
        loader.join()
    assert loaded[0] > 3
    for name in ("a", "b", "c"):
        branch = env.of_branch(name)
        ledger = Ledger(branch.state / "ledger.db")
        known = {file.path for file in ledger.files(sales.id, "loaded")}
        assert raw_tables(branch).files_with_rows(raw(sales)) == known
        assert load_pending(branch, sales, "run").files == []
        assert ledger.totals(sales.id).rows_loaded == len(known)


def test_data_files_are_shared_with_production_and_cost_no_disk(env, sales):
    environments.create(env, "vat")
    branch = env.of_branch("vat")
    for table in (env.raw / sales.table, env.quarantine / sales.table):
        for file in table.glob("*.parquet"):
            assert file.samefile(branch.warehouse / file.relative_to(env.warehouse))
        for entry in (table / "_delta_log").glob("*.json"):
            assert not entry.samefile(branch.warehouse / entry.relative_to(env.warehouse))


def test_what_is_done_in_a_branch_is_done_there_alone(env, sales, drop):
    """Landing, replacing, loading, building, publishing, holding back, upkeep, releasing, promoting: all that writes."""
    from caudal.lake import operate
    from caudal.warehouse.repairs import export
    from caudal.warehouse.upkeep import Settings, tend

    environments.create(env, "vat")
    branch, before = env.of_branch("vat"), everything(env.data)
    lake = open_store(branch.lake_url)
    for name, row in (("2.csv", "plum,3,1"), ("3.csv", "fig,4,1")):
        with lake.write(f"stall/sales/{name}") as temporary:
            temporary.write_text(HEADER + row + "\n")
    assert load_pending(branch, sales, "run").rows_loaded == 2
    operate.replay(branch, sales.id, ["stall/sales/1.csv"])
    load_pending(branch, sales, "run")
    from caudal.warehouse.candidate import open_candidate

    with open_candidate(branch, [sales]) as candidate:
        candidate.publish()
    publish_tables(branch, {"marts.daily": pa.table({"n": [9]})})
    list(tend(branch, sales, Settings(grace_hours=0, small_files=1)))
    export(branch, sales, branch.home / "rejects.csv")
    assert items(branch) == ["apple", "fig", "plum"]
    assert read_arrow(branch, "SELECT n FROM marts.daily")["n"].to_pylist() == [9]
    assert everything(env.data) == before
    assert items(env) == ["apple", "pear"]


def test_every_place_of_a_branch_is_in_its_own_folder(env):
    branch = env.of_branch("feature/vat")
    places = {n: getattr(branch, n) for n in dir(Environment) if isinstance(getattr(Environment, n), property)}
    paths = {n: p for n, p in places.items() if isinstance(p, Path) and n != "shipped"}
    assert len(paths) > 15
    assert [n for n, p in paths.items() if not p.is_relative_to(env.data / "branches" / branch.data.name)] == []
    assert branch.production == env
    assert branch.of_branch("feature/vat").data == branch.data


REFUSED = """
import os, shutil, sqlite3, sys
from pathlib import Path
from caudal.environment import Environment
from caudal.store import open_store, exclusive_lock, write_atomically
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.loading import load_pending
from caudal.lake.ledger import Ledger
branch = Environment.current("shop")
there = branch.production
file = there.home / "state" / "ledger.db"
attempts = [
    lambda: file.open("r+b"), lambda: file.open("a"), lambda: (there.home / "new").write_text(""), lambda: file.unlink(),
    lambda: os.open(file, os.O_RDWR), lambda: os.rename(file, branch.home / "x"), lambda: os.rename(branch.branch_record, file),
    lambda: (there.home / "folder").mkdir(), lambda: shutil.rmtree(there.raw), lambda: os.truncate(file, 0),
    lambda: os.link(branch.branch_record, there.home / "link"), lambda: os.symlink("x", there.home / "link"),
    lambda: os.utime(file), lambda: file.chmod(0o777), lambda: sqlite3.connect(file), lambda: Ledger(file),
    lambda: exclusive_lock(there.state / "locks" / "x.lock").__enter__(),
    lambda: written(there.published), lambda: publish_tables(there, {}),
    lambda: open_store(there.lake_url).delete("stall/sales/1.csv"),
    lambda: open_store(there.lake_url).replace("stall/sales/1.csv", branch.branch_record),
]
def written(path):
    with write_atomically(path) as temporary:
        temporary.write_text("")
through = branch.home / "way in"
through.symlink_to(there.home)
attempts.append(lambda: (through / "new").write_text(""))
for number, attempt in enumerate(attempts):
    try:
        attempt()
    except PermissionError as refused:
        assert "is production's" in str(refused), refused
    else:
        print("let through:", number)
assert file.read_bytes()
(branch.home / "own").write_text("")
print("tried", len(attempts))
"""


def test_a_process_of_a_branch_cannot_write_to_production_s_folder(env, sales):
    environments.create(env, "vat")
    before = everything(env.data)
    variables = os.environ | {"CAUDAL_BRANCH": "vat", "CAUDAL_DATA": str(env.data), "CAUDAL_ROOT": str(ROOT)}
    told = subprocess.run(
        [sys.executable, "-c", REFUSED], env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert told.stdout == "tried 22\n", told.stdout + told.stderr
    assert everything(env.data) == before


def test_deleting_what_production_has_is_refused_and_what_landed_in_the_branch_can_go(env, sales):
    from caudal.store.overlay import ReadOnly

    environments.create(env, "vat")
    lake = open_store(env.of_branch("vat").lake_url)
    with pytest.raises(ReadOnly, match=r"stall/sales/1.csv is a file of .* only reads"):
        lake.delete("stall/sales/1.csv")
    with lake.write("stall/sales/3.csv") as temporary:
        temporary.write_text(HEADER)
    lake.delete("stall/sales/3.csv")
    assert sorted(o.path for o in lake.list("")) == ["stall/sales/1.csv", "stall/sales/2.csv"]
    assert lake.create("stall/sales/1.csv", env.lake / "stall/sales/2.csv") is False


def test_what_lands_in_production_later_is_not_seen_and_what_changed_there_is_not_read(env, sales, drop, tmp_path):
    environments.create(env, "vat")
    lake = open_store(env.of_branch("vat").lake_url)
    before = sorted(lake.list("stall"), key=lambda o: o.path)
    drop("stall/sales/1.csv", HEADER)
    drop("stall/sales/9.csv", HEADER)
    assert sorted(lake.list("stall"), key=lambda o: o.path) == before
    assert lake.fetch(before[0], tmp_path) is None
    assert not lake.unchanged(before[0].path, before[0].version)
    assert lake.fetch(before[1], tmp_path).read_text() == HEADER + "pear,2,2.50\n"


def test_dropping_a_branch_leaves_production_and_other_branches_as_they_are(env, sales):
    environments.create(env, "a")
    environments.create(env, "a_b")
    before = everything(env.data)
    with pytest.raises(BranchRefused, match="a has an environment already"):
        environments.create(env, "a")
    assert environments.drop(env, "a").local
    assert not environments.drop(env, "a").anything
    assert [r.branch for r in environments.listing(env)] == ["a_b"]
    assert items(env.of_branch("a_b")) == ["apple", "pear"]
    assert everything(env.data) == before
    assert sorted(path.name for path in (env.data / "branches").iterdir()) == [".lock", "a_b"]


@pytest.mark.parametrize("piece", ["link_tree", "write_overlay"])
def test_one_that_was_killed_while_it_was_made_is_unusable_and_made_from_the_beginning(env, sales, monkeypatch, piece):
    with monkeypatch.context() as killed, pytest.raises(ZeroDivisionError):
        killed.setattr(f"caudal.runtime.branches.copying.{piece}", lambda *_, **__: 1 / 0)
        environments.create(env, "vat")
    assert environments.listing(env) == []
    monkeypatch.setenv("CAUDAL_DATA", str(env.data))
    monkeypatch.setenv("CAUDAL_BRANCH", "vat")
    told = CliRunner().invoke(app, ["lake", "status"])
    assert "no environment" in told.output + str(told.exception)
    environments.create(env, "vat")
    assert items(env.of_branch("vat")) == ["apple", "pear"]


def test_a_drop_that_was_killed_is_finished_by_the_next(env, sales, monkeypatch):
    environments.create(env, "vat")
    with monkeypatch.context() as killed, pytest.raises(ZeroDivisionError):
        killed.setattr("shutil.rmtree", lambda *_, **__: 1 / 0)
        environments.drop(env, "vat")
    assert environments.listing(env) == []
    environments.drop(env, "another")
    assert [path.name for path in (env.data / "branches").iterdir()] == [".lock"]


def test_only_environments_whose_branch_is_gone_are_pruned(env, sales, tmp_path, monkeypatch):
    root = tmp_path / "checkout"
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    subprocess.run([*git, "branch", "feature/vat"], check=True)
    subprocess.run([*git, "update-ref", "refs/remotes/origin/theirs", "HEAD"], check=True)
    monkeypatch.setenv("CAUDAL_ROOT", str(root))
    monkeypatch.setenv("CAUDAL_DATA", str(env.data))
    for branch in ("feature/vat", "theirs", "gone"):
        assert CliRunner().invoke(app, ["env", "create", branch]).exit_code == 0
    assert CliRunner().invoke(app, ["env", "prune"], input="n\n").exit_code == 1
    pruned = CliRunner().invoke(app, ["env", "prune", "--yes"])
    assert "gone: dropped" in pruned.output
    assert sorted(r.branch for r in environments.listing(env)) == ["feature/vat", "theirs"]
    monkeypatch.setenv("CAUDAL_ROOT", str(tmp_path))
    refused = CliRunner().invoke(app, ["env", "prune", "--yes"])
    assert refused.exit_code == 2
    assert "git cannot say" in refused.output


def test_a_model_s_artifacts_are_looked_for_in_the_branch(env, sales):
    import sqlite3

    (env.registry / "artifacts/r/artifacts").mkdir(parents=True)
    (env.registry / "artifacts/r/artifacts/model.json").write_text("{}")
    with sqlite3.connect(env.registry / "mlflow.db") as db:
        db.execute("CREATE TABLE experiments (name TEXT, artifact_location TEXT)")
        db.execute("INSERT INTO experiments VALUES ('m', ?)", (str(env.registry / "artifacts"),))
    environments.create(env, "vat")
    branch = env.of_branch("vat")
    with sqlite3.connect(branch.registry / "mlflow.db") as db:
        assert db.execute("SELECT artifact_location FROM experiments").fetchall() == [(str(branch.registry / "artifacts"),)]
    assert (branch.registry / "artifacts/r/artifacts/model.json").read_text() == "{}"


def test_people_who_were_erased_stay_erased_in_a_branch(env, sales):
    (entry,) = suppression.entry_of(env, "household", "1234", "erasure").entries
    suppression.suppress(env, entry)
    environments.create(env, "vat")
    branch = env.of_branch("vat")
    assert suppression.suppressed(branch) == suppression.suppressed(env)


def test_a_branch_calls_nobody(env):
    import dagster as dg

    from caudal.runtime.alerts.component import Alerts, settings_of

    class Declared:
        def get_all_components(self, of_type):
            assert of_type is not Alerts, "what production declares is not looked at"
            return []

    tree: dg.ComponentTree = Declared()
    assert set(settings_of(tree, env.of_branch("vat")).channels) == {"log"}


def test_names_of_branches_never_meet():
    assert short_name("main") == "main"
    names = ["a", "a_b", "a-b", "a/b", "A", "a__b", "_a", "é", "x" * 300, "x" * 301]
    shorts = [short_name(name) for name in names]
    assert len(set(shorts)) == len(names)
    assert all("__" not in s and s.strip("_") == s and len(s) <= 63 for s in shorts)


def test_how_production_was_is_not_changed_by_looking(env, sales, monkeypatch):
    monkeypatch.setenv("CAUDAL_DATA", str(env.data))
    environments.create(env, "vat")
    before = everything(env.data)
    shown = CliRunner().invoke(app, ["env", "show", "vat"])
    assert f"lake below {env.lake_url} (only read)" in shown.output
    assert CliRunner().invoke(app, ["env", "show", "other"]).exit_code == 1
    assert "vat  (local" in CliRunner().invoke(app, ["env", "list"]).output
    assert json.loads(env.of_branch("vat").branch_record.read_text())["branch"] == "vat"
    assert everything(env.data) == before
