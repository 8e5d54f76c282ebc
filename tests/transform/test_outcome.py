"""What is held back after a build, and why."""

from pathlib import Path

import pytest

from caudal.transform.checks import Check
from caudal.transform.manifest import Manifest
from caudal.transform.nodes import Node
from caudal.transform.outcome import BuildResult, NodeResult, hold_back


def node(name: str, *parents: str, view: bool = False) -> Node:
    return Node(
        unique_id=name,
        fqn=("p", name),
        kind="model",
        key=("marts", "d", name),
        parents=parents,
        deps=(),
        relation=f"marts.{name}",
        materialized="view" if view else "table",
        code_version="1",
        group="d",
    )


def check(name: str, *reads: str) -> Check:
    asset = ("raw", "s", reads[0]) if reads[0].startswith("source") else ("marts", "d", reads[0])
    return Check(name, ("p", name), asset, reads[0], name, reads, is_blocking=True)


#        source -> v (view) -> a -> b -> c
#                    \-> d
MANIFEST = Manifest(
    path=Path("manifest.json"),
    project="p",
    adapter="duckdb",
    nodes={
        n.unique_id: n for n in (node("v", "source", view=True), node("a", "v"), node("b", "a"), node("c", "b"), node("d", "v"))
    },
    checks={c.unique_id: c for c in (check("t_source", "source"), check("t_a", "a"), check("t_ad", "a", "d"))},
)
ALL = {*MANIFEST.nodes, *MANIFEST.checks}


def outcome(selected: set[str] = ALL, **statuses: str) -> BuildResult:
    """All selected nodes succeed and tests pass, except for what `statuses` says; None is no result at all."""
    usual = {u: "success" if u in MANIFEST.nodes else "pass" for u in selected}
    given = {u: s for u, s in (usual | statuses).items() if s}
    results = {u: NodeResult(u, s, message=f"{u} is {s}") for u, s in given.items()}
    return BuildResult(MANIFEST, results, hold_back(MANIFEST, selected, results), 0.0)


def test_when_all_goes_well_everything_is_published():
    result = outcome()
    assert (result.passed, result.held_back, result.to_restore) == (("v", "a", "b", "c", "d"), {}, ())
    assert (result.failed_nodes, result.failed_checks) == ((), ())


def test_a_failed_node_and_all_below_it_are_held_back():
    result = outcome(a="error", b="skipped", c="skipped")
    assert result.passed == ("v", "d")
    assert result.held_back == {
        "a": "a is error",
        "b": "marts.a, which it reads, did not pass",
        "c": "marts.b, which it reads, did not pass",
    }
    assert result.to_restore == ("marts.a",)  # dbt did not touch the others
    assert result.failed_nodes == ("a",)


@pytest.mark.parametrize("status", ["fail", "error"])
def test_a_failed_test_holds_its_node_back_and_what_dbt_had_built_on_it(status):
    result = outcome(t_a=status)
    assert result.passed == ("v", "d")
    assert result.held_back["a"] == "its test t_a failed"
    assert result.to_restore == ("marts.a", "marts.b", "marts.c")
    assert [c.name for c in result.failed_checks] == ["t_a"]


def test_a_warning_holds_nothing_back():
    assert outcome(t_a="warn").held_back == {}


def test_a_test_of_two_nodes_holds_back_the_one_that_it_is_attached_to():
    assert set(outcome(t_ad="fail").held_back) == {"a", "b", "c"}


def test_a_test_of_an_asset_that_was_not_built_holds_back_what_it_reads():
    result = outcome({"d", "t_ad"}, t_ad="fail")
    assert result.held_back == {"d": "its test t_ad failed"}


def test_a_failed_test_of_a_source_holds_back_all_below_the_source():
    result = outcome(t_source="fail")
    assert result.passed == ()
    assert result.held_back["v"] == "raw/s/source, which it reads, did not pass"


def test_a_source_taints_through_views_that_were_not_built():
    assert set(outcome({"d", "t_source"}, t_source="fail").held_back) == {"d"}


def test_a_table_that_was_not_built_keeps_its_published_rows_and_taints_nothing():
    assert outcome({"a", "c"}, a="error").passed == ("c",)


def test_what_dbt_skipped_or_never_came_to_is_held_back():
    assert outcome(c="skipped").held_back == {"c": "dbt did not come to it"}
    result = outcome(c="")
    assert (result.held_back, result.to_restore) == ({"c": "dbt did not come to it"}, ())


def test_what_was_built_without_being_asked_for_is_put_back():
    result = outcome({"v", "a"}, b="success")
    assert (result.held_back, result.to_restore) == ({"b": "it was not asked for"}, ("marts.b",))
