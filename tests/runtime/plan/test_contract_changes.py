"""Which change of a column breaks something, and for whom."""

from dataclasses import replace

import pytest

from caudal.runtime.plan.contract_changes import column_changes
from caudal.runtime.plan.snapshot import Asset, DeclaredColumn
from caudal.runtime.plan.types import is_wider, same_type

AMOUNT = DeclaredColumn("amount", "DECIMAL(10,2)", "What was paid.", required=True, unit="EUR")
ITEM = DeclaredColumn("item", "VARCHAR", allowed=("rye", "wheat"))

#: what it is before, what it becomes, what changed, for whom it breaks on delivery's side, and for whom where it is only read
CASES = {
    "wider": (AMOUNT, replace(AMOUNT, type="DECIMAL(12,4)"), "type", (), ()),
    "narrower": (AMOUNT, replace(AMOUNT, type="DECIMAL(8,2)"), "type", ("readers", "deliverers"), ("readers",)),
    "of another kind": (AMOUNT, replace(AMOUNT, type="VARCHAR"), "type", ("readers", "deliverers"), ("readers",)),
    "typed for the first time": (replace(AMOUNT, type=""), AMOUNT, "type", (), ()),
    "required": (replace(AMOUNT, required=False), AMOUNT, "required", ("deliverers",), ()),
    "no longer required": (AMOUNT, replace(AMOUNT, required=False), "required", ("readers",), ("readers",)),
    "unique": (AMOUNT, replace(AMOUNT, unique=True), "unique", ("deliverers",), ()),
    "no longer unique": (replace(AMOUNT, unique=True), AMOUNT, "unique", ("readers",), ("readers",)),
    "in the key": (AMOUNT, replace(AMOUNT, key=1), "key", ("readers",), ("readers",)),
    "in another unit": (AMOUNT, replace(AMOUNT, unit="cents"), "unit", ("readers", "deliverers"), ("readers",)),
    "in a unit for the first time": (replace(AMOUNT, unit=""), AMOUNT, "unit", (), ()),
    "without a unit": (AMOUNT, replace(AMOUNT, unit=""), "unit", ("readers",), ("readers",)),
    "personal": (AMOUNT, replace(AMOUNT, classification="personal"), "classification", (), ()),
    "described otherwise": (AMOUNT, replace(AMOUNT, description="Net."), "description", (), ()),
    "one allowed value less": (ITEM, replace(ITEM, allowed=("rye",)), "allowed values", ("deliverers",), ("readers",)),
    "one allowed value more": (ITEM, replace(ITEM, allowed=("rye", "wheat", "roll")), "allowed values", (), ()),
    "any value": (ITEM, replace(ITEM, allowed=()), "allowed values", (), ()),
    "limited to values": (replace(ITEM, allowed=()), ITEM, "allowed values", ("deliverers",), ()),
    "limited": (AMOUNT, replace(AMOUNT, limits={"minimum": "0"}), "limit", ("deliverers",), ()),
    "limited less": (
        replace(AMOUNT, limits={"minimum": "0", "maximum": "9"}),
        replace(AMOUNT, limits={"minimum": "-1", "maximum": "9"}),
        "limit", (), (),
    ),
    "limited more": (
        replace(AMOUNT, limits={"maximum": "10"}), replace(AMOUNT, limits={"maximum": "9"}), "limit", ("deliverers",), (),
    ),
    "read otherwise": (
        AMOUNT, replace(AMOUNT, reading={"nullMarkers": '["-"]'}), "reading", ("readers", "deliverers"), ("readers",),
    ),
}  # fmt: skip


def table(*columns: DeclaredColumn, delivered: bool = True) -> Asset:
    return Asset("raw/till/sales", columns=columns, is_delivered=delivered)


@pytest.mark.parametrize(("was", "now", "what", "delivered", "read"), CASES.values(), ids=CASES)
def test_a_column_becomes(was, now, what, delivered, read):
    for is_delivered, breaks in ((True, delivered), (False, read)):
        found = column_changes(table(was, delivered=is_delivered), table(now, delivered=is_delivered))
        assert [(change.what, change.breaks) for change in found] == [(what, breaks)]


def test_a_removed_column_breaks_its_readers_and_where_files_have_it_their_deliverers():
    (change,) = column_changes(table(AMOUNT, ITEM), table(AMOUNT))
    assert (change.column, change.what, change.breaks) == ("item", "removed", ("readers", "deliverers"))
    (change,) = column_changes(table(AMOUNT, ITEM, delivered=False), table(AMOUNT, delivered=False))
    assert change.breaks == ("readers",)


def test_a_column_that_may_be_null_is_added_freely_and_a_required_one_is_not_where_files_must_bring_it():
    (change,) = column_changes(table(AMOUNT), table(AMOUNT, ITEM))
    assert (change.what, change.breaks) == ("added", ())
    (change,) = column_changes(table(ITEM), table(ITEM, AMOUNT))
    assert (change.what, change.breaks) == ("added", ("deliverers",))
    (change,) = column_changes(table(ITEM, delivered=False), table(ITEM, AMOUNT, delivered=False))
    assert change.breaks == ()


def test_a_renamed_column_is_told_as_one_and_what_else_changed_of_it_too():
    now = replace(AMOUNT, name="paid", unit="USD", renamed_from=("amount",))
    changes = column_changes(table(AMOUNT), table(now))
    assert [(c.column, c.what) for c in changes] == [("amount", "renamed"), ("paid", "unit")]
    assert changes[0].breaks == ("readers",)


def test_the_case_of_a_name_and_the_way_a_type_is_written_are_no_change():
    assert column_changes(table(AMOUNT), table(replace(AMOUNT, name="Amount", type="decimal(10, 2)"))) == ()


def test_where_nobody_declares_columns_nothing_is_known_of_them():
    assert column_changes(table(), table(AMOUNT)) == ()


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("INTEGER", "BIGINT"), ("smallint", "int8"), ("BIGINT", "DECIMAL(19,0)"), ("BIGINT", "HUGEINT"), ("FLOAT", "DOUBLE"),
        ("INTEGER", "DOUBLE"), ("DATE", "TIMESTAMP"), ("DECIMAL(10,2)", "DECIMAL(12,4)"), ("INTEGER[]", "BIGINT[]"),
    ],
)  # fmt: skip
def test_a_type_is_wider_if_it_has_every_value_of_the_other(narrow, wide):
    assert is_wider(narrow, wide)
    assert not is_wider(wide, narrow)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("BIGINT", "DOUBLE"), ("DECIMAL(10,2)", "DECIMAL(10,4)"), ("BIGINT", "DECIMAL(18,0)"), ("INTEGER", "VARCHAR"),
        ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"), ("BOOLEAN", "INTEGER"), ("BIGINT", "BIGINT[]"),
    ],
)  # fmt: skip
def test_a_type_that_would_lose_or_turn_a_value_is_not_wider(one, other):
    assert not is_wider(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("VARCHAR(20)", "text"),
        ("string", "varchar"),
        ("int", "INTEGER"),
        ("numeric(10, 2)", "DECIMAL(10,2)"),
        ("int8[]", "BIGINT[]"),
    ],
)
def test_a_type_has_several_names(one, other):
    assert same_type(one, other)
