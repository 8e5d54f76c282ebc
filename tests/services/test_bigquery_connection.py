"""What rules and audits ask, in DuckDB's SQL, answered by DuckDB and by BigQuery: the same."""

import datetime as dt
import math
import random
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from caudal.contracts.rules import rule_of
from caudal.environment import Environment
from caudal.warehouse import connection as connections
from caudal.warehouse.audits import Audit, holds, judge, not_empty, not_null, unique
from caudal.warehouse.bigquery import versions
from caudal.warehouse.bigquery.connection import BigQueryConnection
from caudal.warehouse.bigquery.explained import BigQueryRefused
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.quality.published import try_on

ROWS = 400


def _rows(seed: int) -> pa.Table:
    """Numbers, texts and times with what is awkward in them: nulls, NaN, zeros of both signs, texts that read as NaN."""
    chance = random.Random(seed)
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=n // 10) for n in range(ROWS)]
    hours = [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=n) for n in range(ROWS)]
    return pa.table(
        {
            "id": [*range(ROWS - 2), 0, 1],
            "price": [None if n % 50 == 0 else round(chance.gauss(100, 15), 6) for n in range(ROWS)],
            "odd": [(math.nan, 0.0, -0.0, math.inf, None, 2.5)[n % 6] for n in range(ROWS)],
            "word": [("nan", "a'b", "ÄÖ\\d", "", None, "x\ny", "1")[n % 7] for n in range(ROWS)],
            "amount": pa.array([Decimal(n - 20) / 100 for n in range(ROWS)], pa.decimal128(10, 2)),
            "day": pa.array(days, pa.date32()),
            "moment": pa.array([hours[n].replace(tzinfo=None) for n in range(ROWS)], pa.timestamp("us")),
            "zoned": pa.array([hours[n] for n in range(ROWS)], pa.timestamp("us", "UTC")),
            "ahead": pa.array([dt.datetime(2999, 1, 1, tzinfo=dt.UTC)] * ROWS, pa.timestamp("us", "UTC")),
            "flag": [bool(n % 3) for n in range(ROWS)],
        }
    )


TABLES = {
    "marts.t": _rows(1),
    "marts.before": _rows(2),
    "marts.few": pa.table({"id": [0, 1, 2], "word": ["nan", "1", None]}),
    "marts.empty": _rows(1).slice(0, 0),
}


@pytest.fixture(scope="module")
def engines(bigquery, tmp_path_factory):
    """A connection of each engine to the same tables."""
    cloud = bigquery.settings()
    service = BigQuery(cloud)
    for schema in ("marts", "scratch"):
        versions.make_dataset(service, cloud.dataset(schema))
    with duckdb.connect() as local:
        local.execute("SET TimeZone = 'UTC'; CREATE SCHEMA marts")
        for relation, rows in TABLES.items():
            service.load_rows(rows, cloud.table(relation))
            local.register("rows", rows)
            local.execute(f"CREATE TABLE {relation} AS SELECT * FROM rows")
            local.unregister("rows")
        remote = BigQueryConnection(service, lambda relation, _: cloud.table(relation), scratch=cloud.dataset("scratch"))
        for connection in (local, remote):
            connections.search(connection, ["marts"])
        yield local, remote
        remote.close()


AUDITS = [
    not_empty("marts.t"),
    not_empty("marts.empty"),
    not_null("marts.t", "id"),
    *(not_null("marts.t", column) for column in ("price", "odd", "word", "amount", "day", "zoned", "flag")),
    not_null("marts.t", "odd", "word", "moment"),
    unique("marts.t", "id"),
    unique("marts.t", "id", "word"),
    unique("marts.t", "word", "flag"),
    unique("marts.empty", "id"),
    holds("marts.t", "small", "amount < 1.5"),
    holds("marts.t", "fine", "price BETWEEN 60 AND 140 AND word LIKE '%b'"),
    holds("marts.t", "named", "regexp_matches(word, '^[a-z]') OR length(word) = 0"),
    holds("marts.t", "shares", "id / 3 < 100 AND id // 7 < 50 AND id % 5 <> 4"),
    Audit("joined", "marts.t", "SELECT t.id FROM marts.t JOIN marts.few AS f USING (id) WHERE f.word IS NOT NULL"),
    Audit("except_all", "marts.t", "SELECT id FROM marts.t EXCEPT SELECT id FROM marts.few"),
    Audit("days", "marts.t", "WITH d AS (SELECT day, count(*) AS n FROM marts.t GROUP BY ALL) SELECT * FROM d WHERE n > 9"),
    Audit(
        "gaps",
        "marts.t",
        "SELECT date_diff('day', min(day), max(day)) AS days, max(moment)::DATE - min(day) AS same FROM marts.t",
    ),
    Audit(
        "cases",
        "marts.t",
        "SELECT CASE WHEN flag THEN 'y' END AS c, coalesce(word, '?') || '!' AS w FROM marts.t WHERE id < 20",
    ),
    Audit(
        "sums",
        "marts.t",
        "SELECT word, sum(id)::BIGINT AS s, count(DISTINCT day) FILTER (WHERE flag) AS d FROM marts.t GROUP BY word",
    ),
    Audit("month", "marts.t", "SELECT date_trunc('month', day)::DATE AS m, count(*) AS n FROM marts.t GROUP BY 1 HAVING n > 1"),
    Audit("rank", "marts.t", "SELECT id FROM marts.t QUALIFY row_number() OVER (PARTITION BY odd ORDER BY id) = 2"),
]


@pytest.mark.parametrize("audit", AUDITS, ids=lambda audit: f"{audit.name}-{audit.relation}")
def test_an_audit_finds_the_same(engines, audit):
    local, remote = (judge(connection, [audit])[0] for connection in engines)
    assert (remote.failures, remote.problem, remote.columns) == (local.failures, local.problem, local.columns)
    assert local.problem == ""


RULES = [
    {"name": "missing", "column": "price", "not_null": True},
    {"name": "some_missing", "column": "price", "not_null": True, "at_most_percent": 5},
    {"name": "range", "column": "price", "minimum": 70, "maximum": 130},
    {"name": "words", "column": "word", "allowed": ["nan", "a'b", "x\ny"]},
    {"name": "shape", "column": "word", "pattern": r"^\w*$"},
    {"name": "backslash", "column": "word", "pattern": r"\\d$"},
    {"name": "decimals", "column": "amount", "minimum": 0},
    {"name": "number_shape", "column": "id", "pattern": "^[0-9]{1,2}$"},
    {"name": "early", "column": "day", "minimum": "2024-01-15"},
    {"name": "key", "unique": ["id"]},
    {"name": "float_key", "unique": ["price", "day"]},
    {"name": "two", "unique": ["word", "flag"]},
    {"name": "known", "column": "id", "references": "marts.few.id"},
    {"name": "own", "sql": "select t.* from t left join few using (id) where few.id is null and t.id > 390"},
    {"name": "this_one", "sql": "select * from this where amount::double / nullif(id, 0) > 1 or id = 3"},
    {"name": "fresh_day", "freshness": {"column": "day", "within_hours": 24}},
    {"name": "fresh_zoned", "freshness": {"column": "zoned", "within_hours": 1e9}},
    {"name": "future", "freshness": {"column": "ahead", "within_hours": 24}},
    {"name": "volume", "volume": {"by": "day"}},
    {"name": "volume_of_moments", "volume": {"by": "moment"}},
    {"name": "distribution", "distribution": {}},
]


@pytest.mark.parametrize("line", RULES, ids=lambda line: line["name"])
def test_a_rule_finds_and_keeps_the_same(engines, line, tmp_path):
    found = []
    for connection, name in zip(engines, ("local", "remote"), strict=True):
        env = Environment("local", "shop", Path(), tmp_path / name)
        before = "marts.before" if line["name"] == "distribution" else None
        (tried,) = try_on(connection, env, ("marts", "x", "t"), "marts.t", [rule_of(line)], before=before)
        kept = tried.kept
        found.append(
            (
                tried.outcome.passed,
                {key: round(value, 3) for key, value in tried.outcome.numbers.items() if key != "hours"},
                tried.outcome.details,
                kept and (kept.rows, kept.columns),
                "" if "freshness" in line else tried.outcome.found,
            )
        )
    assert found[1] == found[0]
    assert "could not be tried" not in found[0][4]


def test_columns_and_kinds_are_told_in_duckdbs_words(engines):
    told = [connections.columns_of(connection, '"marts"."t"') for connection in engines]
    assert told[1] == told[0]
    assert [connections.kind_of(engines[1], name) for name in ("marts.t", "marts.none")] == ["TABLE", None]


def test_rows_come_as_values_as_arrow_and_one_by_one_with_parameters(engines):
    sql = "SELECT id, amount, day, moment, zoned, word FROM marts.t WHERE id > ? AND word = ? ORDER BY id LIMIT 3"
    local, remote = (connection.execute(sql, [200, "nan"]) for connection in engines)
    expected = local.fetchall()
    assert [c[0] for c in remote.description] == [c[0] for c in local.description]
    assert (remote.fetchone(), remote.fetchmany(1), remote.fetchall()) == (expected[0], expected[1:2], expected[2:])
    assert remote.fetchone() is None
    arrow = [
        c.execute("SELECT id, zoned FROM marts.t ORDER BY id, zoned LIMIT 2").to_arrow_table().to_pylist() for c in engines
    ]
    assert arrow[1] == arrow[0]


def test_registered_rows_are_a_table_until_they_are_not(engines):
    _, remote = engines
    remote.register("given", pa.table({"n": [1, 2]}))
    assert remote.execute("SELECT sum(n) FROM given").fetchone() == (3,)
    remote.unregister("given")
    with pytest.raises(BigQueryRefused, match="no table given"):
        remote.execute("SELECT * FROM given")


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT FROM WHERE", "no SQL that DuckDB would take"),
        ("SELECT nothing FROM marts.t", "nothing"),
        ("SELECT * FROM marts.none", "none"),
        ("SELECT word, median(id) FROM marts.t GROUP BY word", "approx_quantile"),
        ("CREATE TABLE marts.made AS SELECT 1 AS n", "cannot be written"),
        ("TRUNCATE TABLE marts.t", "expected one statement"),
        ("SELECT 1; DELETE FROM marts.t WHERE true", "expected one statement"),
        ("DELETE FROM marts.t WHERE true", "cannot be written"),
        ("DROP TABLE marts.t", "expected one statement"),
    ],
)
def test_a_wrong_statement_is_refused_and_a_rule_or_audit_made_of_it_is_broken(engines, sql, why):
    _, remote = engines
    with pytest.raises(BigQueryRefused, match=why):
        remote.execute(sql)
    if sql.startswith("SELECT"):
        (outcome,) = judge(remote, [Audit("wrong", "marts.t", sql)])
        assert outcome.failures is None
        assert outcome.problem.startswith("it could not be run: ")
    assert remote.execute("SELECT count(*) FROM marts.t").fetchone() == (ROWS,)
