"""Rules of raw tables as checks: what they find, what they keep, what they hold back."""

import datetime as dt
import random

import dagster as dg
import duckdb
import pytest

from caudal.contracts.rules import DistributionSettings, VolumeSettings, rule_of
from caudal.warehouse import delta
from caudal.warehouse.candidate import open_candidate
from caudal.warehouse.component import raw_asset
from caudal.warehouse.quality import distribution, failing, judged, per_file, volume
from caudal.warehouse.quality.evaluate import evaluate
from caudal.warehouse.quality.failing import folder_of, keep
from caudal.warehouse.quality.outcome import Table
from caudal.warehouse.quality.raw import try_rules
from caudal.warehouse.upkeep import Settings, tend

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
schema:
  - name: sales
    description: Sales of a stall.
    properties:
      - {name: item, logicalType: string, required: true}
      - {name: units, logicalType: integer}
      - name: buyer
        logicalType: string
        classification: personal
        quality: [{name: few_unknown, metric: nullValues, mustBeLessThan: 50, unit: percent, severity: warn}]
    quality:
      - {name: no_free_fruit, type: custom, engine: caudal, implementation: {sql: "select * from sales where units = 0"}}
"""


@pytest.fixture
def load(env, declare):
    """Load what was dropped in a run of its own; whether it succeeded, and its checks by name."""
    dataset = declare(CONTRACT, path="*.csv")
    with dg.DagsterInstance.ephemeral() as instance:

        def run():
            result = dg.materialize([raw_asset(env, dataset, dropped=True)], instance=instance, raise_on_error=False)
            run.tags = instance.get_run_by_id(result.run_id).tags  # ty: ignore
            return result.success, {e.check_name: e for e in result.get_asset_check_evaluations()}

        run.dataset = dataset  # ty: ignore[missing-attribute]
        yield run


def test_a_rule_that_blocks_fails_the_run_and_shows_keeps_and_masks_the_rows(env, drop, load):
    drop("stall/sales/a.csv", "item,units,buyer\nfig,0,Ana Ruiz\npear,2,Bo\n")
    succeeded, checks = load()
    found = checks["no_free_fruit"]
    assert (succeeded, found.passed, found.blocking, found.severity) == (False, False, True, dg.AssetCheckSeverity.ERROR)
    assert found.description == "1 of 2 rows break it; expected none"
    assert load.tags["dagster/retry_on_asset_or_op_failure"] == "false"
    (row,) = found.metadata["sample"].records
    assert {k: v for k, v in row.data.items() if k in ("item", "units", "buyer")} == {
        "item": "fig",
        "units": "0",
        "buyer": "xxx xxxx",
    }
    (file,) = found.metadata["failing rows by file"].records
    assert file.data == {"file": "stall/sales/a.csv", "failing rows": 1}
    kept = duckdb.sql(found.metadata["query"].value.split("```")[1].removeprefix("sql\n")).fetchall()
    assert [(r[0], r[2]) for r in kept] == [("fig", "Ana Ruiz")]


def test_what_is_blocked_is_not_what_candidates_read_and_upkeep_keeps_what_they_do(env, drop, load):
    dataset = load.dataset
    drop("stall/sales/a.csv", "item,units,buyer\npear,2,Bo\n")
    assert load()[0]
    good = delta.version_of_table(env.raw / dataset.table)
    drop("stall/sales/b.csv", "item,units,buyer\nfig,0,Ana\n")
    assert not load()[0]

    def read() -> list[str]:
        with open_candidate(env, [dataset]) as candidate, candidate.connect() as connection:
            return [row[0] for row in connection.execute("SELECT item FROM raw.stall__sales ORDER BY 1").fetchall()]

    assert judged.pinned(env) == {"raw/stall__sales": good}
    list(tend(env, dataset, Settings(grace_hours=0, small_files=2)))
    assert read() == ["pear"]
    drop("stall/sales/b.csv", "item,units,buyer\nfig,1,Ana\n")
    assert load()[0]
    assert read() == ["fig", "pear"]


def test_a_table_that_never_passed_is_empty_to_candidates(env, drop, load):
    drop("stall/sales/b.csv", "item,units,buyer\nfig,0,Ana\n")
    load()
    with open_candidate(env, [load.dataset]) as candidate, candidate.connect() as connection:
        assert connection.execute("SELECT count(*) FROM raw.stall__sales").fetchone() == (0,)


def test_a_rule_that_warns_lets_the_run_go_on(drop, load):
    drop("stall/sales/a.csv", "item,units,buyer\nfig,1,\npear,2,\n")
    succeeded, checks = load()
    found = checks["few_unknown"]
    assert (succeeded, found.passed, found.severity) == (True, False, dg.AssetCheckSeverity.WARN)
    assert found.description == "2 of 2 rows have no value in buyer; expected less than 50 %"


def test_what_columns_promise_is_told_where_its_rejects_are_counted(drop, load):
    drop("stall/sales/a.csv", "item,units,buyer\n,1,Bo\nfig,many,Bo\nfig,lots,Bo\n")
    _, checks = load()
    rows = [r.data for r in checks["rejected_share"].metadata["kept when files are loaded"].records]
    assert rows == [
        {"column": "item", "each value is": "string, required", "rows rejected": 1},
        {"column": "units", "each value is": "integer", "rows rejected": 2},
        {"column": "buyer", "each value is": "string", "rows rejected": 0},
    ]


def test_nothing_loaded_is_nothing_to_judge(env, load):
    (env.lake / "stall/sales").mkdir(parents=True)
    succeeded, checks = load()
    assert succeeded
    assert checks["no_free_fruit"].description == "nothing is loaded yet"


def test_a_data_file_is_counted_once(tmp_path):
    with duckdb.connect() as connection:
        files = [tmp_path / f"{n}.parquet" for n in range(2)]
        connection.execute(f"COPY (SELECT 1 AS a) TO '{files[0]}'")
        counted = per_file.count(connection, files[:1], {"r": "a > 0"}, tmp_path / "record.json", {})
        assert counted == {"r": (1, 1)}
        files[0].write_bytes(b"gone: whoever reads it again fails")
        connection.execute(f"COPY (SELECT 1 AS a UNION ALL SELECT -1) TO '{files[1]}'")
        assert per_file.count(connection, files, {"r": "a > 0"}, tmp_path / "record.json", {}) == {"r": (2, 3)}
        assert per_file.count(connection, files[1:], {"r": "b IS NULL"}, tmp_path / "record.json", {"b": "BIGINT"}) == {
            "r": (2, 2)
        }


def test_the_newest_few_evaluations_are_kept(env, monkeypatch):
    monkeypatch.setattr(failing, "KEPT_EVALUATIONS", 2)
    folder = folder_of(env, ("raw", "a", "b"), "c")
    with duckdb.connect() as connection:
        kept = [keep(connection, f"SELECT {n} AS n", folder, {}) for n in range(4)]
    assert sorted(folder.iterdir()) == [k.path for k in kept[2:]]


def _table(connection, sql: str, **own) -> Table:
    connection.execute(f"CREATE OR REPLACE TABLE t AS {sql}")
    columns = {row[0]: row[1] for row in connection.execute("DESCRIBE t").fetchall()}
    return Table("t", columns, dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC), **own)


@pytest.mark.parametrize(
    ("rule", "rows", "passed", "told"),
    [
        ({"unique": ["a", "b"]}, "VALUES (1, 1), (1, 2), (1, 2), (1, NULL), (1, NULL)", False, "2 of 5 rows share their a, b"),
        (
            {"column": "a", "minimum": 1, "maximum": 5},
            "VALUES (0, 1), (5, 1), (NULL, 1)",
            False,
            "1 of 3 rows have a value in a",
        ),
        ({"column": "a", "allowed": ["x"]}, "VALUES ('x', 1), ('y', 1), (NULL, 1)", False, "1 of 3"),
        (
            {"column": "a", "references": "main.u.k"},
            "VALUES (1, 1), (3, 1), (NULL, 1)",
            False,
            "1 of 3 rows have a a that is not",
        ),
        ({"sql": "select * from this where a > b", "at_most": 1}, "VALUES (2, 1), (1, 2)", True, "expected at most 1"),
        ({"sql": "select * from this where nothing"}, "VALUES (2, 1)", False, "it could not be tried: Binder Error"),
        ({"freshness": {"column": "a", "within_hours": 13}}, "SELECT DATE '2026-03-03', 1", True, "12.0 hours ago"),
        ({"freshness": {"column": "a", "within_hours": 11}}, "SELECT DATE '2026-03-03', 1", False, "12.0 hours ago"),
        ({"freshness": {"column": "a", "within_hours": 11}}, "SELECT TIMESTAMP '2026-03-09', 1", False, "in the future"),
        ({"freshness": {"column": "a", "within_hours": 11}}, "SELECT NULL::DATE, 1", False, "no row has a a"),
    ],
)
def test_a_rule_says_what_it_found_and_what_it_expected(rule, rows, passed, told):
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE u AS SELECT 1 AS k UNION ALL SELECT NULL")
        outcome = evaluate(connection, rule_of(rule), _table(connection, f"SELECT * FROM ({rows}) AS v(a, b)"))
        assert outcome.passed == passed
        assert told in outcome.told
        if outcome.failing:
            connection.execute(f"SELECT * FROM ({outcome.failing})")


def _days(rows: list[int], first: str = "2026-01-05") -> list[volume.Period]:
    start = dt.date.fromisoformat(first)
    return [volume.Period(str(start + dt.timedelta(n)), r, start + dt.timedelta(n)) for n, r in enumerate(rows) if r]


def test_a_saturday_is_compared_with_saturdays():
    week = [100, 100, 100, 100, 100, 400, 0]
    days = _days([*(week * 8)[:-2], 400])
    assert all(j.passed for j in volume.judge(days, VolumeSettings()))
    bad = volume.judge(_days([*(week * 8)[:-2], 100]), VolumeSettings())
    assert [(j.period.rows, j.expected) for j in bad if not j.passed] == [(100, 400.0)]
    weekday = volume.judge(_days([*(week * 8), 400]), VolumeSettings())
    assert [j.period.rows for j in weekday if not j.passed] == [400]


def test_a_day_that_is_missing_is_told_and_a_sunday_without_rows_is_not():
    week = [100, 100, 100, 100, 100, 400, 0]
    days = _days([*(week * 8), 100, 0, 100])
    assert [(j.period.rows, j.period.day.weekday()) for j in volume.judge(days, VolumeSettings()) if not j.passed] == [(0, 1)]


def test_with_little_history_nothing_is_judged():
    assert [j.expected for j in volume.judge(_days([100] * 7 + [5]), VolumeSettings())] == [None] * 7


def test_one_bad_day_does_not_move_the_bounds():
    days = _days([100, 102, 98, 101, 5000, 99, 100, 103, 97, 100, 101, 200])
    judged_days = volume.judge(days, VolumeSettings(weekdays=False, judged=1))
    assert [j.passed for j in judged_days] == [False]
    assert judged_days[0].expected == pytest.approx(100, abs=2)


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
def test_good_days_hardly_ever_raise_an_alarm(noise):
    chance, alarms, told = random.Random(7), 0, 0
    for _ in range(100):
        rows = [int((300 if n % 7 == 5 else 150) * chance.lognormvariate(0, noise)) for n in range(70)]
        found = volume.judge(_days(rows), VolumeSettings())
        alarms, told = alarms + sum(not j.passed for j in found), told + len(found)
    assert alarms / told < 0.005


def test_samples_of_one_population_are_alike_and_other_ones_are_not():
    settings, told = DistributionSettings(), []
    with duckdb.connect() as connection:
        connection.execute("SELECT setseed(0.3)")
        connection.execute(
            "CREATE TABLE old AS SELECT exp(2 * random()) AS x, (3 * random())::INT::VARCHAR AS c FROM range(9000)"
        )
        for factor, value in ((1, "c"), (100, "c"), (1, "'new' || c")):
            connection.execute(
                f"CREATE OR REPLACE TABLE new AS SELECT {factor} * exp(2 * random()) AS x, c.* FROM range(150), "
                f"LATERAL (SELECT {value} AS c FROM (SELECT (3 * random() + 0 * range)::INT::VARCHAR AS c)) AS c"
            )
            found = distribution.compare(connection, "old", "new", [("x", "DOUBLE"), ("c", "VARCHAR")], settings)
            told.append([c.column for c in found if c.changed])
    assert told == [[], ["x"], ["c"]]


def test_what_is_told_of_a_classified_column_holds_no_value_of_it():
    rows = "SELECT 'Ana' AS a, 1 AS b FROM range(300)"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE old AS SELECT 'Bo' AS a, 1 AS b FROM range(300)")
        table = _table(connection, rows, before="old", hidden=frozenset({"a"}))
        for line in ({"distribution": {}}, {"sql": "select * from this where a::integer > 1"}):
            outcome = evaluate(connection, rule_of(line), table)
            assert not outcome.passed
            assert "Ana" not in outcome.told + str(outcome.details)


def test_a_table_that_nothing_blocks_any_more_is_read_as_it_is(env, drop, load, declare):
    drop("stall/sales/b.csv", "item,units,buyer\nfig,0,Ana\n")
    load()
    assert judged.standing(env, load.dataset) is not None
    free = declare(path="*.csv")
    try_rules(env, free, 0, [])
    assert judged.version_to_read(env, free, 0) == 0
    assert judged.standing(env, load.dataset) is None


def test_what_names_things_is_not_compared():
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE old AS SELECT range AS id FROM range(1000)")
        connection.execute("CREATE TABLE new AS SELECT 1000 + range AS id FROM range(1000)")
        (found,) = distribution.compare(connection, "old", "new", [("id", "BIGINT")], DistributionSettings())
    assert (found.changed, found.told) == (False, "not compared: nearly each row has a value of its own")
