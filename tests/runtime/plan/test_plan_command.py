"""`caudal plan` in a repository of its own, with published tables: what it says, and that it does nothing."""

import json
import os
import re
from pathlib import Path

import pytest

from caudal.runtime.plan import against, deployed
from caudal.runtime.plan.against import Commit, NothingToCompareWith
from caudal.runtime.plan.snapshot import Snapshot, UnreadableSnapshot

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "plan.md"
BEGIN, END = "<!-- a plan: written by tests/runtime/plan -->\n", "<!-- the plan ends -->\n"


@pytest.fixture(scope="session")
def in_markdown(changed):
    """Against a commit, with all rows."""
    before = changed.env.published.resolve()
    done = changed.caudal("plan", "--against", "main", "--data", "whole", "--format", "markdown")
    assert changed.env.published.resolve() == before
    return done


@pytest.fixture(scope="session")
def in_json(changed):
    """Against what is deployed, with a sample of the rows."""
    done = changed.caudal("plan", "--data", "sample", "--format", "json", "--allow-breaking")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def rows_of(plan):
    return {each["asset"]: each for each in plan["rows"]}


def test_a_breaking_change_is_an_exit_code_unless_it_is_allowed(in_markdown, in_json):
    assert in_markdown.returncode == 1, in_markdown.stderr[-3000:]
    assert in_json["is_breaking"]


def test_the_plan_in_the_guide_is_the_one_that_is_printed(in_markdown):
    """`CAUDAL_UPDATE_SNAPSHOTS=1` writes it anew; the difference is for a person to read."""
    printed = re.sub(r"main \([0-9a-f]{8}\)", "main (4f1c2d3e)", in_markdown.stdout)
    printed = re.sub(r"took [\d.,]+ s", "took 0.1 s", printed)
    text = GUIDE.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    now = f"{head}{BEGIN}\n{printed}\n{END}{tail}"
    if os.environ.get("CAUDAL_UPDATE_SNAPSHOTS"):
        GUIDE.write_text(now)
    assert GUIDE.read_text() == now


def test_assets_are_told_with_why_they_changed(in_json):
    fates = {c["key"]: (c["fate"], sorted({r["kind"] for r in c["reasons"]})) for c in in_json["changes"]}
    assert fates["marts/sales/best_items"] == ("added", [])
    assert fates["marts/sales/fct_sales"] == ("changed", ["SQL", "contract", "macro"])
    assert fates["marts/sales/daily_sales"] == ("changed", ["macro"])
    assert fates["raw/till/sales"] == ("changed", ["contract"])
    assert "staging/till/stg_till__sales" not in fates
    assert [each["key"] for each in in_json["downstream"]] == ["plans/sales/oven", "staging/till/stg_till__sales"]


def test_breaking_columns_name_whom_they_concern(in_json):
    changes = {c["key"]: c for c in in_json["changes"]}
    raw = {c["column"]: (c["what"], c["breaks"]) for c in changes["raw/till/sales"]["columns"]}
    assert raw == {"item": ("allowed values", ["deliverers"]), "channel": ("added", [])}
    (removed,) = changes["marts/sales/fct_sales"]["columns"]
    assert (removed["column"], removed["what"], removed["breaks"]) == ("customer", "removed", ["readers"])
    assert changes["marts/sales/fct_sales"]["affected"] == ["team:shop-floor", "finance@bakery.example", "team:bakers"]


def test_what_is_refreshed_is_said_and_what_is_made_by_hand_is_not(in_json):
    refreshed = {c["key"] for c in in_json["changes"] if c["is_refreshed"]} | {
        each["key"] for each in in_json["downstream"] if each["is_refreshed"]
    }
    assert refreshed == {
        "marts/sales/fct_sales", "marts/sales/daily_sales", "marts/sales/best_items", "plans/sales/oven",
    }  # fmt: skip


def test_rows_that_would_change_are_counted_by_key(in_json):
    daily = rows_of(in_json)["marts/sales/daily_sales"]
    assert daily["key"] == ["sold_on", "item"]
    assert (daily["rows_before"], daily["rows_after"], daily["added"], daily["removed"]) == (5, 5, 0, 0)
    best = rows_of(in_json)["marts/sales/best_items"]
    assert (best["rows_before"], best["rows_after"], best["added"]) == (None, 3, 3)


def test_nobody_is_named_in_a_plan(in_markdown, in_json):
    for said in (in_markdown.stdout, json.dumps(in_json)):
        assert "Ana" not in said
        assert "Bo Li" not in said


def test_nothing_of_a_plan_stays_in_the_warehouse(changed, in_markdown, in_json):
    assert not (changed.env.warehouse / "plans").exists()
    assert [each.name for each in changed.env.candidates.iterdir()] == []


def test_nothing_is_written_into_the_repository(changed, in_markdown):
    assert sorted(each.name for each in (changed.root / ".git").iterdir() if each.name == "worktrees") == []


def test_a_commit_that_is_not_there_is_refused_with_what_to_do(changed):
    with pytest.raises(NothingToCompareWith, match="git fetch"):
        Commit(changed.env, "nowhere")
    with pytest.raises(NothingToCompareWith, match="git finds no commit"):
        Commit(changed.env, "--help")


def test_without_a_record_of_what_is_deployed_it_says_how_to_get_one(env):
    with pytest.raises(NothingToCompareWith, match="--against main"):
        against.resolve(env, None)


def test_a_snapshot_of_another_version_of_the_platform_is_refused(env, tmp_path):
    path = tmp_path / "old.json"
    path.write_text('{"format": "caudal.snapshot/0"}')
    with pytest.raises(UnreadableSnapshot, match=r"caudal.snapshot/0.*reads caudal.snapshot/1"):
        against.resolve(env, str(path))
    path.write_text("[]")
    with pytest.raises(UnreadableSnapshot, match="no snapshot"):
        against.resolve(env, str(path))


def test_what_is_deployed_is_read_from_the_image_where_nothing_was_deployed_here(env, tmp_path):
    from dataclasses import replace

    from caudal.runtime.plan.taking import Taken

    image = replace(env, root=tmp_path / "image")
    deployed.record(image, Taken(Snapshot("the image", "shop", {})), image.shipped)
    assert deployed.read(image).snapshot.name == "the image"
    deployed.record(image, Taken(Snapshot("here", "shop", {})))
    assert deployed.read(image).snapshot.name == "here"


def test_costs_are_told_beside_the_plan_and_locally_are_those_of_the_last_time(changed):
    """A name with `+` takes all that is below it along; what has no history has no figures."""
    done = changed.caudal("plan", "--cost", "--format", "json", "--allow-breaking")
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert {line["asset"] for line in told["estimates"]["assets"]} == {cost["asset"] for cost in told["costs"]}
    selected = changed.caudal("plan", "--select", "fct_sales+", "--format", "json")
    costs = json.loads(selected.stdout)
    assert costs["engine"] == "local"
    last = {line["asset"]: line["last"] for line in costs["assets"]}
    below = ["marts/sales/daily_sales", "marts/sales/best_items", "plans/sales/oven"]
    assert (next(iter(last)), sorted(last)) == ("marts/sales/fct_sales", sorted(["marts/sales/fct_sales", *below]))
    assert last["marts/sales/fct_sales"]["rows"] == 6
    assert last["marts/sales/best_items"]["rows"] is None
    by_group = changed.caudal("plan", "--select", "group:sales", "--format", "markdown")
    assert "| marts/sales/fct_sales | 6 |" in by_group.stdout


def test_a_selection_compares_nothing_and_must_name_something(changed):
    assert changed.caudal("plan", "--select", "fct_sales", "--against", "main").returncode == 2
    wrong = changed.caudal("plan", "--select", "dayly_sales")
    assert wrong.returncode == 2
    assert "is daily_sales" in wrong.stderr
