"""A person is erased: planned, read by somebody else, done, and never loaded again."""

import pytest

from caudal.runtime.erasure import applying, report
from caudal.runtime.erasure.applying import Refused
from caudal.runtime.erasure.plan import NoSuchErasure, read, save
from caudal.runtime.erasure.rewriting import CannotRewrite
from caudal.runtime.erasure.subjects import UnknownSubject, where
from caudal.warehouse import versions
from tests.runtime.erasure.conftest import CONTRACT, HEADER, MARKER, holding

SALES = "stall/sales"


def counts(shop):
    totals = shop.ledger.totals(SALES)
    return totals.rows_read, totals.rows_loaded, totals.rows_rejected, totals.rows_erased


def test_a_plan_names_every_place_and_changes_nothing(everywhere):
    before, rows = holding(everywhere.env.data), everywhere.rows()
    plan = everywhere.plan()
    told = {(place.kind, place.name): place.rows for place in plan.places}
    assert (
        told.items()
        >= {
            ("raw table", "raw.stall__sales"): 3,
            ("rejects", "quarantine.stall__sales"): 1,
            ("repaired rows", SALES): 1,
            ("lake file", "stall/sales/a.csv"): 2,
            ("lake file", "stall/sales/b.csv"): 2,
            ("published table", "marts.buyers"): 3,
            ("published table", "marts.who"): 3,
            ("published table", "marts.keyed"): 1,
            ("failing rows", ""): 1,
        }.items()
    )
    assert {place.kind for place in plan.places} >= {"kept versions", "notebooks", "online store"}
    assert holding(everywhere.env.data) == before
    assert everywhere.rows() == rows


def test_a_plan_is_kept_without_the_value(everywhere):
    plan = everywhere.plan()
    path = save(everywhere.env, plan)
    assert MARKER not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert read(everywhere.env, plan.id[:-3]) == plan
    with pytest.raises(NoSuchErasure, match="no plan 'x'"):
        read(everywhere.env, "x")


def test_after_it_no_file_holds_the_value(everywhere):
    env = everywhere.env
    assert len(holding(env.data)) > 10
    journal = everywhere.apply(everywhere.plan(rewrite_lake=True))
    assert holding(env.data) == []
    assert journal.left == []
    assert set(journal.lake) == {"stall/sales/a.csv", "stall/sales/b.csv"}
    assert (env.lake / "stall/sales/b.csv").read_text() == f"{HEADER}ben,plum,3\ncleo,kiwi,none\n"
    assert everywhere.rows() == [("ben", "pear", 2), ("ben", "plum", 3)]
    assert everywhere.read("SELECT customer FROM marts.names ORDER BY ALL") == [("ben",), ("ben",)]
    assert everywhere.read("SELECT buyer FROM marts.who") == [("ben",), ("ben",)]
    everywhere.load()
    assert everywhere.rows() == [("ben", "pear", 2), ("ben", "plum", 3)]
    assert counts(everywhere) == (3, 2, 1, 0)


def test_rows_are_counted_apart_and_none_is_lost(everywhere):
    assert counts(everywhere) == (7, 5, 2, 0)
    everywhere.apply(everywhere.plan())
    assert counts(everywhere) == (7, 2, 1, 4)


def test_a_file_that_is_read_again_brings_nobody_back(everywhere, drop):
    everywhere.apply(everywhere.plan())
    assert holding(everywhere.env.data) == ["shop/lake/stall/sales/a.csv", "shop/lake/stall/sales/b.csv"]
    everywhere.ledger.ask_again(SALES)
    drop("stall/sales/c.csv", f"{HEADER}{MARKER},kiwi,1\n{MARKER},kiwi,x\n{MARKER},a,b,c,d\n")
    loaded = everywhere.load()
    assert everywhere.rows() == [("ben", "pear", 2), ("ben", "plum", 3)]
    assert loaded.rows_read == loaded.rows_loaded + loaded.rows_rejected + loaded.rows_erased == 10
    assert counts(everywhere) == (10, 2, 1, 7)
    everywhere.publish()
    left = [p for p in holding(everywhere.env.data) if not p.startswith("shop/lake/")]
    assert left == []


def test_others_who_are_called_nearly_so_stay(shop, drop):
    drop("stall/sales/a.csv", f"{HEADER}12,apple,1\n123,apple,2\n012,apple,3\n")
    shop.load()
    shop.apply(shop.plan("12"))
    assert [row[0] for row in shop.rows()] == ["012", "123"]


def test_only_one_version_is_left_and_it_is_written_anew(everywhere):
    before = [v.name for v in versions.kept(everywhere.env)]
    journal = everywhere.apply(everywhere.plan())
    (left,) = versions.kept(everywhere.env)
    assert left.name == journal.version not in before
    assert left.record.cause.by == "erasure"


def test_nobody_reviews_his_own_plan(everywhere):
    plan, rows = everywhere.plan(), everywhere.rows()
    with pytest.raises(Refused, match="somebody else than ann"):
        applying.apply(everywhere.env, plan, everywhere.where, "ann", lambda _: [])
    assert everywhere.rows() == rows


def test_a_plan_that_is_not_true_any_more_is_refused(everywhere, drop):
    plan = everywhere.plan()
    drop("stall/sales/a.csv", f"{HEADER}{MARKER},apple,1\n")
    everywhere.load()
    with pytest.raises(Refused, match=r"a\.csv brought 2 rows .* has brought 1 now") as refused:
        everywhere.apply(plan)
    assert "Plan it anew" in str(refused.value)
    assert len(everywhere.rows()) == 3


def test_new_files_since_the_plan_are_no_obstacle(everywhere, drop):
    plan = everywhere.plan()
    drop("stall/sales/c.csv", f"{HEADER}{MARKER},kiwi,1\n")
    everywhere.load()
    everywhere.apply(plan)
    assert everywhere.rows() == [("ben", "pear", 2), ("ben", "plum", 3)]


def test_it_is_applied_once(everywhere):
    plan = everywhere.plan()
    everywhere.apply(plan)
    with pytest.raises(Refused, match="was applied"):
        everywhere.apply(plan)


def test_rows_of_files_that_are_gone_are_erased_too(everywhere):
    (everywhere.env.lake / "stall/sales/a.csv").unlink()
    everywhere.load()
    everywhere.apply(everywhere.plan())
    assert everywhere.rows() == [("ben", "pear", 2), ("ben", "plum", 3)]


def test_who_is_nowhere_is_suppressed_all_the_same(shop, drop):
    drop("stall/sales/a.csv", f"{HEADER}ben,apple,1\n")
    shop.load()
    assert shop.apply(shop.plan()).told == []
    drop("stall/sales/b.csv", f"{HEADER}{MARKER},apple,1\n")
    shop.load()
    assert [row[0] for row in shop.rows()] == ["ben"]


def test_an_unknown_key_is_told_with_those_there_are(shop):
    with pytest.raises(UnknownSubject, match="Declared are `customer`"):
        where(shop.env, "household", [shop.dataset], {})


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("classification: personal", "description: x", "say `classification: personal` as well"),
        ("logicalType: string\n        required", "logicalType: date\n        required", "string or integer"),
        ("value: customer}", "value: A b}", "expected one word"),
    ],
)
def test_a_key_that_identifies_nobody_is_refused(declare, old, new, told):
    with pytest.raises(ValueError, match=told):
        declare(CONTRACT.replace(old, new))


def test_declaring_a_key_asks_for_no_file_again(declare):
    without = CONTRACT.replace("        customProperties: [{property: subjectKey, value: customer}]\n", "")
    assert declare(CONTRACT).fingerprint == declare(without).fingerprint


def test_lake_files_of_which_no_row_is_in_a_table_are_looked_into(shop, declare, drop):
    drop("stall/sales/before.csv", f"{HEADER}{MARKER},apple,1\n")
    shop.load()
    shop.apply(shop.plan())
    drop("stall/sales/waits.csv", f"{HEADER}ben,pear,2\n{MARKER},apple,1\n")
    drop("stall/sales/broken.csv", f"customer,other\n{MARKER},apple\n")
    drop("stall/sales/broken_too.csv", "customer,other\nben,apple\n")
    (shop.env.lake / "stall/sales/opaque.csv").write_bytes(b"PK\x03\x04nothing")
    shop.load()
    drop("stall/sales/waits.csv", f"{HEADER}{MARKER},apple,1\n")
    plan = shop.plan(rewrite_lake=True)
    found = {p.name.rpartition("/")[2]: p for p in plan.places if p.kind in ("lake file", "unread file")}
    assert {name: (p.kind, p.rows, p.is_left) for name, p in found.items()} == {
        "before.csv": ("lake file", 1, False),
        "waits.csv": ("lake file", 1, False),
        "broken.csv": ("unread file", None, True),
        "opaque.csv": ("unread file", None, True),
    }
    assert "the value stands in it" in found["broken.csv"].action
    assert "NOT LOOKED INTO" in found["opaque.csv"].action
    told = report.told(shop.env, plan, None)
    assert "**NOT ERASED: the person will not be taken out of 2 lake files**" in told
    assert told.index("opaque.csv") < told.index("| where |")
    journal = shop.apply(plan)
    assert (shop.env.lake / "stall/sales/before.csv").read_text() == HEADER
    assert "**NOT ERASED: the person is not taken out of 2 lake files**" in report.told(shop.env, plan, journal)
    assert holding(shop.env.lake) == ["stall/sales/broken.csv"]


def test_a_file_that_cannot_be_written_anew_is_never_told_as_erased(everywhere, monkeypatch):
    def refuse(*_):
        raise CannotRewrite("it is not to be")

    monkeypatch.setattr("caudal.runtime.erasure.rewriting.lines.without_lines", refuse)
    plan = everywhere.plan(rewrite_lake=True)
    assert [p.is_left for p in plan.places if p.kind == "lake file"] == [True, True]
    journal = everywhere.apply(plan)
    told = report.told(everywhere.env, plan, journal)
    assert journal.stays == ["stall/sales/a.csv", "stall/sales/b.csv"]
    assert "a.csv: LEFT AS IT IS, with 2 rows of the person (at 2, 4): it is not to be. Take them out yourself" in told
    assert "No lake file" not in told


def test_a_plan_says_which_columns_are_not_looked_into(shop):
    (told,) = [each for each in shop.plan().remains if each.startswith("stall/sales")]
    assert "elsewhere than in `customer` are not looked for and stay: text (item)" in told


def test_profiles_that_show_the_person_are_removed(everywhere):
    shown = everywhere.env.reports / "profiles" / "sales" / "buyers.html"
    record = everywhere.env.state / "profiles" / "marts" / "buyers.json"
    other = shown.with_name("others.html")
    for path, content in (
        (shown, f"<td>{MARKER} (3)</td>"),
        (record, f'{{"top": ["{MARKER}"]}}'),
        (other, f"<p>{MARKER}s</p>"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    plan = everywhere.plan()
    assert [p.name for p in plan.places if p.kind == "profiles"] == ["2 reports and records"]
    everywhere.apply(plan)
    assert [path.exists() for path in (shown, record, other)] == [False, False, True]
