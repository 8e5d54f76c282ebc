"""Drift: what changed is told, what chance does is not, and the history stays small."""

import json

import duckdb
import pytest

from caudal.explore.findings import Findings, examine
from caudal.explore.page import table_page
from caudal.explore.snapshot import KEPT, read_history
from caudal.warehouse.quality.distribution import stability_index

BASE = """SELECT range AS id, (range * 37 % 100)::DOUBLE AS sales, ['a', 'b'][1 + (range % 2)::INTEGER] AS kind,
    CASE WHEN range % 50 > 0 THEN 1 + range % 7 END AS units, DATE '2020-01-01' + (range % 90)::INTEGER AS day FROM range(5000)"""


@pytest.fixture
def profiled(tmp_path):
    """Profile a table again and again, each time as another version."""
    versions = iter(range(1000))

    def profile(select: str, **settings) -> Findings:
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE t AS {select}")
            return examine(connection, "t", history=tmp_path / "t.json", version=str(next(versions)), **settings)

    profile.history = tmp_path / "t.json"
    return profile


def told(found: Findings) -> set[tuple[str, str]]:
    return {(d.column, d.what) for d in found.drift}


def test_the_first_profile_has_nothing_to_be_compared_with(profiled):
    found = profiled(BASE)
    assert (found.before, found.drift) == (None, ())
    assert "The first profile" in table_page(found)


def test_the_same_table_has_not_drifted(profiled):
    profiled(BASE)
    found = profiled(BASE)
    assert found.before.rows == 5000
    assert found.drift == ()
    assert table_page(found).startswith("**No drift since")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("SELECT * FROM (BASE) WHERE id < 3000", {("", "rows"), ("id", "distribution")}),
        ("SELECT * REPLACE (sales * 100 AS sales) FROM (BASE)", {("sales", "distribution"), ("sales", "range")}),
        ("SELECT * REPLACE (CASE WHEN id % 3 > 0 THEN units END AS units) FROM (BASE)", {("units", "nulls")}),
        ("SELECT * REPLACE (CASE kind WHEN 'a' THEN 'c' ELSE kind END AS kind) FROM (BASE)",
         {("kind", "distribution"), ("kind", "new values"), ("kind", "vanished values")}),
        ("SELECT * EXCLUDE (day), 1 AS more FROM (BASE)", {("", "columns")}),
        ("SELECT * REPLACE (sales::INTEGER AS sales) FROM (BASE)", {("sales", "type")}),
        ("SELECT * REPLACE (day - 4000 AS day) FROM (BASE)", {("day", "distribution"), ("day", "range")}),
        ("SELECT * FROM (BASE) LIMIT 0", {("", "rows")}),
    ],
)  # fmt: skip
def test_what_changed_is_told_and_nothing_else(profiled, change, expected):
    profiled(BASE)
    found = profiled(change.replace("BASE", BASE))
    assert told(found) - {("", "columns")} == expected - {("", "columns")}
    assert (("", "columns") in expected) == (("", "columns") in told(found))


def test_the_drift_stands_at_the_top_of_the_page(profiled):
    profiled(BASE)
    found = profiled(f"SELECT * REPLACE (sales * 100 AS sales) FROM ({BASE})")
    page = table_page(found)
    assert page.startswith("**2 differences from the profile of ")
    assert page.index("| column | drift |") < page.index("5,000 rows, 5 columns")
    assert "| sales | distribution, PSI" in page


def test_samples_of_one_distribution_do_not_drift(profiled):
    for seed in range(6):
        found = profiled(f"SELECT hash(range + {seed} * 1000) % 1000 AS x, hash(range * 7 + {seed}) % 10 AS y FROM range(60)")
        assert not [d for d in found.drift if d.what == "distribution"]


def test_the_index_of_a_known_change_is_the_one_of_its_formula():
    assert stability_index((0.5, 0.5), (0.25, 0.75)) == pytest.approx(0.25 * 0.6931 + 0.25 * 0.4055, abs=1e-3)
    assert stability_index((0.3, 0.7), (0.3, 0.7)) == 0


def test_a_profile_of_the_same_version_is_compared_with_the_version_before_it(tmp_path):
    history = tmp_path / "t.json"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS x FROM range(100)")
        examine(connection, "t", history=history, version="1")
        connection.execute("INSERT INTO t SELECT range FROM range(100)")
        for _ in range(2):
            found = examine(connection, "t", history=history, version="2")
            assert (found.before.version, told(found)) == ("1", {("", "rows")})
    assert [s.version for s in read_history(history)] == ["1", "2"]


def test_the_history_is_bounded_and_a_broken_one_begins_anew(profiled):
    profiled(BASE)
    (entry,) = json.loads(profiled.history.read_text())["profiles"]
    many = [entry | {"version": f"v{i}"} for i in range(KEPT + 5)]
    profiled.history.write_text(json.dumps({"format": 1, "profiles": many}))
    assert profiled(BASE).before.version == f"v{KEPT + 4}"
    assert len(read_history(profiled.history)) == KEPT
    profiled.history.write_text("{")
    assert profiled(BASE).before is None


def test_the_history_of_classified_columns_holds_none_of_their_values(profiled):
    select = "SELECT 'secret-' || range % 3 AS name, 4711 + range AS salary, 'open' AS city FROM range(50)"
    profiled(select, personal=frozenset({"name", "salary"}))
    (entry,) = json.loads(profiled.history.read_text())["profiles"]
    # The moment of the profile is left out: it may hold the same digits as a salary.
    kept = json.dumps(entry["columns"])
    assert "open" in kept
    assert "secret" not in kept
    assert "47" not in kept
