"""What holds of every plan, whatever the definitions are."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caudal.runtime.plan.plan import Plan
from caudal.runtime.plan.snapshot import Asset, DeclaredColumn, Snapshot

TYPES = ("BIGINT", "INTEGER", "VARCHAR", "DATE", "TIMESTAMP", "DOUBLE", "DECIMAL(10,2)", "DECIMAL(18,4)", "BIGINT[]", "")

columns = st.builds(
    DeclaredColumn,
    name=st.sampled_from(["a", "b", "B2", "c"]),
    type=st.sampled_from(TYPES),
    required=st.booleans(),
    unique=st.booleans(),
    key=st.sampled_from([None, 1, 2]),
    unit=st.sampled_from(["", "EUR", "USD"]),
    classification=st.sampled_from(["", "personal"]),
    allowed=st.sampled_from([(), ("x",), ("x", "y")]),
    limits=st.dictionaries(st.sampled_from(["minimum", "maximum", "pattern"]), st.sampled_from(["1", "2", '"z"']), max_size=2),
    reading=st.dictionaries(st.just("format"), st.sampled_from(['"%d"', '"%m"']), max_size=1),
    renamed_from=st.sampled_from([(), ("a",), ("old",)]),
)


@st.composite
def snapshots(draw):
    """A graph of up to seven assets, each reading only those before it."""
    names = draw(st.lists(st.sampled_from([f"s/d/{n}" for n in "abcdefg"]), unique=True, max_size=7))
    assets = {}
    for index, name in enumerate(sorted(names)):
        assets[name] = Asset(
            name,
            deps=tuple(sorted(draw(st.sets(st.sampled_from(sorted(names)[:index]), max_size=3)) if index else ())),
            columns=tuple(draw(st.lists(columns, max_size=3, unique_by=lambda c: c.name.lower()))),
            code=draw(
                st.dictionaries(st.sampled_from(["SQL", "macro m", "Python code x.py"]), st.sampled_from("12"), max_size=2)
            ),
            settings=draw(st.dictionaries(st.sampled_from(["materialized", "partitions"]), st.sampled_from("12"), max_size=2)),
            checks=draw(st.dictionaries(st.sampled_from("kl"), st.sampled_from(["blocks", "tells"]), max_size=2)),
            owners=draw(st.sampled_from([(), ("team:a",), ("b@c.de",)])),
            relation=draw(st.sampled_from(["", name.replace("/", ".")])),
            is_delivered=draw(st.booleans()),
            is_virtual=draw(st.booleans()),
            is_automated=draw(st.booleans()),
        )
    timetable = draw(st.dictionaries(st.sampled_from(["schedule x", "sensor y"]), st.sampled_from("12"), max_size=2))
    return Snapshot("s", "c", assets, timetable)


@given(snapshots())
def test_nothing_changes_between_a_snapshot_and_itself(snapshot):
    assert Plan.between(snapshot, snapshot).is_empty
    assert Plan.between(snapshot, replace(snapshot, name="other")).changes == ()


@given(snapshots())
def test_a_snapshot_is_the_same_after_a_way_through_json(snapshot):
    again = Snapshot.from_json(snapshot.to_json())
    assert again == snapshot
    assert again.to_json() == snapshot.to_json()


@given(snapshots(), snapshots())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_what_one_direction_adds_the_other_removes(one, other):
    there, back = Plan.between(one, other), Plan.between(other, one)
    for this, opposite in (("added", "removed"), ("removed", "added"), ("changed", "changed")):
        assert [c.key for c in there.having(this)] == [c.key for c in back.having(opposite)]
    assert {c.key for c in there.having("added")} == set(other.assets) - set(one.assets)
    assert len(there.timetable) == len(back.timetable)


@given(snapshots(), snapshots())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_downstream_is_closed_under_the_graph(one, other):
    plan = Plan.between(one, other)
    below = {change.key: set(change.downstream) for change in plan.changes}
    for snapshot in (one, other):
        for asset in snapshot.assets.values():
            for key, found in below.items():
                if asset.key != key and (key in asset.deps or found & set(asset.deps)):
                    assert asset.key in found
    touched = {key for found in below.values() for key in found if key in other.assets} - set(below)
    assert {each.key for each in plan.downstream} == touched


@given(snapshots(), snapshots())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_only_what_will_exist_is_refreshed_and_only_below_or_at_a_change(one, other):
    plan = Plan.between(one, other)
    reached = {c.key for c in plan.changes} | {each.key for each in plan.downstream}
    assert set(plan.refreshed) <= set(other.assets) & reached
    assert all(other.assets[key].is_automated for key in plan.refreshed)


@given(snapshots(), snapshots())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_plan_is_empty_only_if_the_definitions_are_the_same(one, other):
    plan = Plan.between(one, other)
    if plan.is_empty:
        assert (one.assets, one.timetable) == (other.assets, other.timetable)
    assert {c.key for c in plan.breaking} == {c.key for c in plan.changes if c.breaks}
