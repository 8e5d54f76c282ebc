"""Which days of a large model are built anew, by when partitions were modified."""

import pytest

from caudal.transform.incremental import _UNTIL, _Loaded, built_whole, nodes_behind

FACT, SUMS = "model.stall.fct_sales", "model.stall.sales"
AT = 1_800_000_000_000
LONG_BEFORE = AT - 90_000
FIRST = {"20170101": AT, "20170102": AT, "20170103": AT - 5, "20170104": LONG_BEFORE}


@pytest.fixture
def before():
    """What was written down when all of FIRST was built."""
    return _UNTIL.fullmatch(f"built of raw.pos__sales as of {AT}, all else being {'0' * 16}{_Loaded(FIRST, AT).told(AT)}")


def test_nothing_is_built_again_of_the_same_version(before):
    assert _Loaded(FIRST, AT).changed(before, AT) == set()


def test_days_that_were_modified_since_are_built_again_and_those_just_before_are_not(before):
    now = FIRST | {"20170102": AT + 9, "20170105": AT + 9}
    assert _Loaded(now, AT + 9).changed(before, AT + 9) == {"20170102", "20170105"}


def test_a_day_is_known_by_when_it_was_modified_even_if_that_is_told_inexactly(before):
    assert _Loaded(FIRST | {"20170102": AT - 1}, AT + 9).changed(before, AT + 9) == {"20170102"}


def test_after_a_rollback_all_that_was_modified_between_is_built_again(before):
    earlier = AT - 1
    assert _Loaded(FIRST, AT).changed(before, earlier) == {"20170101", "20170102", "20170103"}


def test_what_was_modified_while_it_was_looked_at_is_looked_at_again():
    assert _Loaded(FIRST, AT).told(AT - 1) == ""
    unknown = _UNTIL.fullmatch(f"built of raw.pos__sales as of {AT}, all else being {'0' * 16}")
    assert _Loaded(FIRST, AT + 9).changed(unknown, AT + 9) == {"20170101", "20170102", "20170103"}


def _noted(manifest, building, before, at):
    """What versions say after a build of these nodes, when the raw table was as it is `at`."""
    now = before | {"raw.pos__sales": f"raw.pos__sales as of {at}"}
    return now | {manifest.nodes[u].relation: told for u, told in built_whole(manifest, building, now).items()}


def test_a_table_is_behind_if_one_above_it_was_built_of_something_older_and_is_not_built_now(manifest):
    noted = _noted(manifest, manifest.nodes, {}, at=5)
    later = noted | {"raw.pos__sales": "raw.pos__sales as of 6"}
    assert nodes_behind(manifest, {SUMS}, noted) == frozenset()
    assert nodes_behind(manifest, {SUMS}, later) == {SUMS}
    assert nodes_behind(manifest, {FACT, SUMS}, later) == frozenset()
    assert nodes_behind(manifest, {SUMS}, {}) == {SUMS}


def test_what_is_built_of_something_older_is_not_taken_for_what_is_there_now(manifest):
    noted = _noted(manifest, manifest.nodes, {}, at=5)
    alone = _noted(manifest, {SUMS}, noted, at=6)
    assert alone[manifest.nodes[SUMS].relation] == ""
    above = _noted(manifest, {FACT}, alone, at=6)
    both = _noted(manifest, {SUMS}, above, at=6)
    assert both[manifest.nodes[SUMS].relation] == _noted(manifest, manifest.nodes, {}, at=6)[manifest.nodes[SUMS].relation]
