"""Which tests look at the days that were built alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from caudal.transform.checks import Check
from caudal.transform.incremental import _UNTIL, Days
from caudal.transform.manifest import Manifest
from caudal.transform.nodes import INCREMENTAL, Node
from caudal.transform.outcome import BuildResult, NodeResult
from caudal.transform.tested_days import days_to_test, passing

RAW = "raw.pos__sales"
FIRST = f"built of {RAW} as of 5, all else being {'0' * 16}, 20170101-20170102 at 5"
SECOND = FIRST.replace("as of 5", "as of 9")
TWO, OTHER = "date '2017-01-02'", "date '2017-01-01'"


def node(name: str, materialized: str = INCREMENTAL, parents: tuple[str, ...] = (), days_of: str | None = RAW) -> Node:
    key = ("marts", "sales", name)
    day = "day" if materialized == INCREMENTAL else None
    made = Node(name, key, "model", key, parents, (), f"marts.{name}", materialized, "code", "sales")
    return replace(made, days_of=days_of, day_column=day)


def check(name: str, *reads: str, by_day: bool = True, code: str = "1") -> Check:
    return Check(name, (name,), ("marts", "sales", reads[0]), reads[0], name, reads, True, by_day=by_day, code=code)


def manifest(*checks: Check) -> Manifest:
    nodes = [node("staged", "view", ("sales",), None), node("products", "table", (), None), node("lines"), node("baskets")]
    return Manifest(
        Path(), "shop", "bigquery", {n.unique_id: n for n in nodes}, {c.name: c for c in checks}, sources={"sales": RAW}
    )


KNOWN = manifest(
    check("no_null", "lines"),
    check("all_of_staging", "lines", "staged"),
    check("all_of_lines", "baskets", "lines"),
    check("products_exist", "lines", "products"),
    check("unique", "lines", by_day=False),
)


def after(known: Manifest, until: str, *, made_of: dict[str, str] | None = None, **results: tuple[str, int]) -> dict[str, str]:
    """What is written down when both models were built as of `until`, and tests came to these results, else passed."""
    done = {u: NodeResult(u, *results.get(u, ("pass", 0)), failures=0) for u in known.checks}
    done |= {u: replace(done[u], status=status, seconds=0, failures=failures) for u, (status, failures) in results.items()}
    return passing(BuildResult(known, done, {}, 0), {"lines": until, "baskets": until}, made_of or {})


def looked_at(made_of: dict[str, str], known: Manifest = KNOWN, **days: Days) -> dict[str, tuple[str, ...]]:
    placed = {"lines": Days((TWO,), SECOND, has_rows=True), "baskets": Days((TWO,), SECOND, has_rows=True), **days}
    return days_to_test(known, known.checks, placed, made_of)


def test_a_test_that_passed_on_all_of_the_table_looks_at_the_days_that_are_built():
    assert looked_at(after(KNOWN, FIRST)) == dict.fromkeys(("no_null", "all_of_staging", "all_of_lines"), (TWO,))
    assert looked_at({}) == {}
    assert looked_at({"marts.lines": FIRST, "marts.baskets": FIRST}) == {}


def test_what_is_written_down_of_tests_keeps_what_the_table_was_built_of():
    told = after(KNOWN, FIRST)["marts.lines"]
    assert told.startswith(f"{FIRST}; passing ")
    found, without = _UNTIL.fullmatch(told), _UNTIL.fullmatch(FIRST)
    assert found and without
    assert found.groupdict() == without.groupdict()


@pytest.mark.parametrize("came", [("warn", 3), ("fail", 1), ("pass", 3), ("error", 0), ("skipped", 0)])
def test_a_test_that_found_anything_or_did_not_run_looks_at_all_of_the_table_next_time(came):
    assert set(looked_at(after(KNOWN, FIRST, no_null=came))) == {"all_of_staging", "all_of_lines"}


def test_a_test_that_is_new_or_changed_looks_at_all_of_the_table():
    changed = manifest(
        check("no_null", "lines", code="2"), check("new", "lines", code="3"), check("all_of_staging", "lines", "staged")
    )
    assert set(looked_at(after(KNOWN, FIRST), changed)) == {"all_of_staging"}


def test_a_table_that_is_built_whole_is_tested_whole_and_so_is_what_is_compared_with_it():
    made_of = after(KNOWN, FIRST)
    assert set(looked_at(made_of, lines=Days(None, SECOND))) == set()
    assert set(looked_at(made_of, baskets=Days(None, SECOND))) == {"no_null", "all_of_staging"}
    assert set(looked_at(made_of, lines=Days((TWO,), SECOND, has_rows=False))) == {"all_of_lines"}


def test_days_of_all_that_a_test_reads_are_looked_at():
    found = looked_at(after(KNOWN, FIRST), lines=Days((OTHER,), SECOND, has_rows=True))
    assert found["all_of_lines"] == (OTHER, TWO)
    assert found["no_null"] == (OTHER,)


def test_a_test_looks_at_all_if_what_it_compares_with_was_published_since_without_it():
    made_of = after(KNOWN, FIRST)
    made_of["marts.lines"] = SECOND
    assert "all_of_lines" not in looked_at(made_of)


def test_what_another_model_was_built_of_is_told_as_it_is_published():
    done = {u: NodeResult(u, "pass", failures=0) for u in KNOWN.checks}
    made_of = {"marts.lines": FIRST}
    told = made_of | passing(BuildResult(KNOWN, done, {"lines": "held back"}, 0), {"baskets": SECOND}, made_of)
    assert set(looked_at(told)) == {"all_of_lines"}
