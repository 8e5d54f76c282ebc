"""Publishing in part: what was tested beside new tables is tested again beside those that keep their last good rows."""

from dataclasses import replace

from caudal.transform.blame import blame
from caudal.transform.outcome import BuildResult, NodeResult, hold_back
from caudal.transform.settling import settle
from tests.transform.test_outcome import MANIFEST, check, node

#  a   b   c -> below        v is a view of a
NODES = [node("a"), node("v", "a", view=True), node("b"), node("c"), node("below", "c")]
CHECKS = [check("t_a", "a"), check("t_ba", "b", "v"), check("t_cb", "c", "b"), check("t_b", "b")]
WORLD = replace(MANIFEST, nodes={n.unique_id: n for n in NODES}, checks={c.unique_id: c for c in CHECKS})
ALL = {*WORLD.nodes, *WORLD.checks}


class Warehouse:
    """`fails` says which tests fail, by the relations that are restored when they run."""

    def __init__(self, published=("marts.a", "marts.b", "marts.c", "marts.v", "marts.below"), **fails):
        self.published, self.fails, self.restored, self.ran = set(published), fails, [], []

    def built(self, **statuses) -> BuildResult:
        usual = {u: "success" if u in WORLD.nodes else "pass" for u in ALL} | statuses
        results = {u: NodeResult(u, s, message=s, failures=3 if s == "fail" else 0) for u, s in usual.items()}
        return BuildResult(WORLD, results, hold_back(WORLD, ALL, results), 1.0)

    def run(self, select) -> BuildResult:
        self.ran.append(set(select))
        status = {u: "fail" if self.fails.get(u) in self.restored else "pass" for u in select}
        return BuildResult(WORLD, {u: NodeResult(u, s, message=s, failures=2) for u, s in status.items()}, {}, 1.0)

    def settle(self, result) -> BuildResult:
        return settle(result, ALL, self.restored.extend, self.published.intersection, self.run)


def test_when_all_passed_nothing_is_restored_or_run_again():
    warehouse = Warehouse()
    result = warehouse.built()
    assert warehouse.settle(result) is result
    assert (warehouse.restored, warehouse.ran) == ([], [])


def test_a_test_that_reads_a_restored_table_through_a_view_runs_again_and_the_rest_does_not():
    warehouse = Warehouse()
    done = warehouse.settle(warehouse.built(t_a="fail"))
    assert warehouse.restored == ["marts.a", "marts.v"]
    assert warehouse.ran == [{"t_ba"}]
    assert done.passed == ("b", "c", "below")
    assert done.retested == {"t_ba": "marts.v, marts.a as published before"}


def test_what_fails_beside_a_restored_table_is_held_back_and_what_fails_beside_that_too():
    warehouse = Warehouse(t_ba="marts.a", t_cb="marts.b")
    done = warehouse.settle(warehouse.built(t_a="fail"))
    assert warehouse.ran == [{"t_ba"}, {"t_cb"}]
    assert done.passed == ()
    assert warehouse.restored == ["marts.a", "marts.v", "marts.b"]  # Nothing is left to be published beside the rest.
    assert {c.unique_id for c in done.failed_checks} == {"t_a", "t_ba", "t_cb"}
    told = {u: [w.reason for w in whys] for u, whys in blame(done).items()}
    assert told["a"] == ["its test t_a failed: 3 rows"]
    assert told["c"] == ["its test t_cb failed beside marts.b as published before: 2 rows"]
    assert told["below"] == [f"marts.c, which it is made of, did not pass: {told['c'][0]}"]
    assert done.seconds == 3.0


def test_a_test_of_the_restored_table_that_fails_beside_a_new_one_holds_the_new_one_back():
    warehouse = Warehouse(t_cb="marts.c")
    done = warehouse.settle(warehouse.built(c="error", below="skipped", t_cb="skipped"))
    assert warehouse.ran == [{"t_cb"}, {"t_ba"}]  # b is an old one now, beside a new a
    assert done.held_back["b"] == "its test t_cb fails beside marts.c as published before"
    assert done.passed == ("a", "v")


def test_a_test_of_what_was_never_published_keeps_its_verdict():
    warehouse = Warehouse(published=["marts.b"], t_ba="marts.a")
    done = warehouse.settle(warehouse.built(t_a="fail"))
    assert warehouse.ran == []
    assert done.passed == ("b", "c", "below")
