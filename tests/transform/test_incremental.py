"""Which days of a large model are built anew, by when partitions were modified."""

import pytest

from caudal.transform.incremental import _UNTIL, _Loaded

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
