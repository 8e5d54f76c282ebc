"""`caudal versions`, `diff` and `rollback`, and what Dagster knows of it: an update of the table, that refreshes what is below."""

import json
import shutil
import sys
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from caudal.cli import app
from caudal.environment import Environment
from caudal.runtime import rolling_back
from caudal.runtime.policy import refresh_policy
from caudal.transform.manifest import parse_manifest
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.published import read_arrow
from caudal.warehouse.rollback import RolledBack
from caudal.warehouse.versions import kept

ROOT = Path(__file__).resolve().parents[2]
T, BELOW, HELD = (
    dg.AssetKey(["marts", "sales", "t"]),
    dg.AssetKey(["explore", "sales", "below"]),
    dg.AssetKey(["marts", "x", "held"]),
)
DEFINITIONS = """
import dagster as dg

@dg.asset(key=["marts", "sales", "t"], metadata={"dagster/table_name": "marts.t"})
def t(): ...

@dg.asset(key=["profile", "sales", "t"], metadata={"dagster/relation_identifier": "marts.t"})
def profile(): ...

defs = dg.Definitions([t, profile])
"""


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """A company with one table, marts.t, and Dagster's instance beside it."""
    package = tmp_path / "market"
    (package / "defs").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "defs/__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS)
    (tmp_path / "data/dagster").mkdir(parents=True)
    shutil.copy(ROOT / "deploy/local/dagster.yaml", tmp_path / "data/dagster")
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in {"CAUDAL_ROOT": tmp_path, "CAUDAL_DATA": tmp_path / "data", "CAUDAL_COMPANY": "market"}.items():
        monkeypatch.setenv(name, str(value))
    yield Environment.current()
    for name in [name for name in sys.modules if name.partition(".")[0] == "market"]:
        del sys.modules[name]


def call(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def test_a_table_is_listed_compared_and_brought_back_and_dagster_knows(company):
    old, new = (publish_tables(company, {"marts.t": pa.table({"x": [1, 2], "y": [x, 5]})}) for x in (10, 20))
    publish_tables(company, {"marts.u": pa.table({"x": [1]})})

    status, listed = call("versions", "t")
    assert (status, [line.split()[0] for line in listed.splitlines() if line[0] != " "]) == (0, [new, old])
    assert "3 versions, " in call("versions")[1]

    status, told = call("diff", "t", old, "--key", "x")
    assert (status, told.splitlines()[1:]) == (
        1,
        [
            "  rows: 2 -> 2",
            "  rows by x: 0 added, 0 removed, 1 changed",
            "  column y: 1 values changed",
            "  change=changed, x=1, y=10 -> 20",
        ],
    )
    assert json.loads(call("diff", "t", old, new, "--format", "json")[1])["rows_added"] == 1
    assert "| changed | 1 | 10 -> 20 |" in call("diff", "t", old, "-k", "x", "-f", "markdown")[1]
    assert call("diff", "t", new, new) == (0, call("diff", "t", new, new)[1])

    status, told = call("rollback", "t", "--to", old)
    assert status == 0, told
    assert read_arrow(company, "SELECT y FROM marts.t ORDER BY x").to_pydict() == {"y": [10, 5]}
    assert "Dagster knows, and refreshes what is below: marts/sales/t" in told
    before = kept(company)[-1].record.parent
    assert f"to return: caudal rollback marts.t --to {before}" in told
    with dg.DagsterInstance.from_config(str(company.dagster_home)) as instance:
        event = instance.get_latest_materialization_event(T).asset_materialization
        assert instance.get_latest_materialization_event(dg.AssetKey(["profile", "sales", "t"])) is None
    assert {name: event.metadata[name].value for name in ("rolled back to", "rolled back from")} == {
        "rolled back to": old,
        "rolled back from": before,
    }
    assert event.metadata["by"].value


def test_what_is_refused_says_why_and_exits_with_2(company):
    publish_tables(company, {"marts.t": pa.table({"x": [1]})})
    for arguments, why in (
        (("rollback", "t", "--to", "2001"), "is not kept"),
        (("rollback", "--to", "2001"), "name one TABLE, or say --all"),
        (("rollback", "nothing", "--to", "2001"), "There are: marts.t"),
        (("diff", "t", "2001"), "is not kept"),
        (("versions", "nothing"), "There are: marts.t"),
    ):
        status, told = call(*arguments)
        assert (status, why in told) == (2, True), told


def test_a_rollback_refreshes_what_is_below_and_an_observation_of_what_is_held_back_does_not(env, monkeypatch):
    policy = refresh_policy(dg.AssetSelection.keys(), over_views=False)
    specs = [
        dg.AssetSpec(T, metadata={"dagster/table_name": "marts.t"}),
        dg.AssetSpec(BELOW, deps=[T], automation_condition=policy),
    ]
    defs = dg.Definitions([dg.multi_asset(specs=[spec], name=spec.key.path[-1])(lambda: None) for spec in specs])
    monkeypatch.setattr(rolling_back, "load_definitions", lambda company: defs)
    env.dagster_home.mkdir(parents=True)
    (env.dagster_home / "dagster.yaml").touch()
    with dg.DagsterInstance.from_config(str(env.dagster_home)) as instance:
        cursor, asked = None, []
        for happens in (
            lambda: [instance.report_runless_asset_event(dg.AssetMaterialization(key)) for key in (T, BELOW)],
            lambda: None,
            lambda: instance.report_runless_asset_event(dg.AssetObservation(T, description="held back")),
            lambda: rolling_back.report(env, RolledBack("marts.t", "3", "2", "1", {"marts.t": "1 -> 2 rows"}), "ann"),
        ):
            happens()
            tick = dg.evaluate_automation_conditions(defs, instance=instance, cursor=cursor)
            cursor = tick.cursor
            asked.append(tick.total_requested)
    assert asked == [0, 0, 0, 1]


def test_the_tests_that_read_a_table_are_those_that_reach_it_through_views():
    def node(name, view=False, reads=()):
        return {
            "unique_id": f"model.p.{name}", "resource_type": "model", "name": name, "fqn": ["p", name], "schema": "marts", "alias": name,
            "path": f"marts/d/{name}.sql", "config": {"materialized": "view" if view else "table"}, "depends_on": {"nodes": [f"model.p.{r}" for r in reads], "macros": []},
            "checksum": {"checksum": "1"}, "tags": [], "columns": {},
        }  # fmt: skip

    def test(name, *reads):
        return {"unique_id": f"test.p.{name}", "resource_type": "test", "name": name, "fqn": ["p", name], "config": {"severity": "error"}, "original_file_path": "t.sql", "depends_on": {"nodes": [f"model.p.{r}" for r in reads], "macros": []}}  # fmt: skip

    nodes = [node("t"), node("v", view=True, reads=["t"]), node("other"), node("made", reads=["t"])]
    nodes += [test("of_t", "t"), test("of_v", "v", "other"), test("of_other", "other"), test("of_made", "made")]
    document = {"metadata": {"project_name": "p", "adapter_type": "duckdb"}, "nodes": {n["unique_id"]: n for n in nodes}, "sources": {}, "macros": {}, "groups": {}, "unit_tests": {}}  # fmt: skip
    assert rolling_back._reading(parse_manifest(document), "marts.t") == ["test.p.of_t", "test.p.of_v"]
