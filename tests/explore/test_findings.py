"""All that is found out about a table, held against pandas, on tables that are awkward."""

import html.parser

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.explore.allowance import ProfileTookTooLong
from caudal.explore.document import html_report
from caudal.explore.findings import Findings, examine
from caudal.explore.page import table_page
from caudal.explore.scan import profile_table

AWKWARD = """
    range AS id, NULL::INTEGER AS "all null", 'same' AS constant, 170141183460469231731687303715884105727 - range AS huge,
    (range / 3)::DECIMAL(38, 10) AS "dec""imal", timezone('UTC', TIMESTAMP '2020-01-01') + INTERVAL (range) HOUR AS "zoned at",
    {'a': range, 'b': [range]} AS struct, [range, NULL] AS list, map {'k': range} AS map, 'Zoë 💥 ' || range % 3 AS "ünï, |",
    '' AS "select", range % 2 = 0 AS flag, CASE range WHEN 1 THEN 'nan'::DOUBLE WHEN 2 THEN 'inf' ELSE range / 7 END AS odd,
    TIMESTAMP_NS '2020-01-01 00:00:00.123456789' AS nano, TIME '12:30' AS clock, 'x<script>alert(1)</script>' AS markup
"""


class Reader(html.parser.HTMLParser):
    """Which tags there are, that all that opens is closed, and what is loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.loaded = [], set(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in ("meta", "rect", "polyline"):
            self.open.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def found_in(select: str, **settings) -> Findings:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t AS {select}")
        return examine(connection, "t", **settings)


@pytest.mark.parametrize("rows", [0, 1, 300])
@pytest.mark.parametrize("exact_rows", [1_000_000, -1])
def test_an_awkward_table_has_findings_a_page_and_a_report(rows, exact_rows, monkeypatch, tmp_path):
    monkeypatch.setattr(profile_table, "__defaults__", (exact_rows, ()))
    for version in ("1", "2"):
        found = found_in(f"SELECT {AWKWARD} FROM range({rows})", history=tmp_path / "h.json", version=version)
    assert found.profile.rows == rows
    assert len(found.profile.columns) == 16
    assert found.drift == ()
    assert table_page(found)
    report = html_report(found, "What <it> is", "2026-01-01 00:00")
    reader = Reader(report)
    assert reader.loaded == []
    assert "script" not in reader.tags
    assert "What &lt;it&gt; is" in report
    if rows:
        remarks = {c.name: c.remark for c in found.profile.columns}
        assert remarks["all null"] == "empty"
        assert remarks["constant"] == ("constant" if rows > 1 else "")


def test_a_table_of_two_hundred_columns_is_examined():
    columns = ", ".join(f"hash(range * {i + 1}) % 1000 AS c{i}" for i in range(200))
    found = found_in(f"SELECT {columns} FROM range(200)")
    assert len(found.profile.columns) == 200
    assert len(found.drawn) == 60
    assert len(Reader(html_report(found, "", "")).tags) > 10


def test_of_classified_columns_no_value_is_told_anywhere():
    select = """SELECT 'ana' || range % 3 || '@example.org' AS Email, DATE '1984-07-21' + (range % 5)::INTEGER AS born,
        918273 + range % 4 AS salary, 'wicked'::ENUM('wicked') AS mood, range AS id, 'Rome' AS city FROM range(40)"""
    found = found_in(select, personal=frozenset({"email", "born", "salary", "mood"}))
    everything = table_page(found) + html_report(found, "", "") + found.profile.to_json()
    for value in ("ana", "example.org", "1984", "9182", "wicked"):
        assert value not in everything
    email = found.profile.columns[0]
    assert (email.masked, email.distinct, email.lengths) == (True, 3, (16, 16, 16.0))
    assert email.patterns == (("x9@x.x", 1.0),)
    assert found.series is None
    assert "Rome" in everything


def test_keys_are_single_columns_or_else_pairs_that_hold_in_the_table():
    assert [k.columns for k in found_in("SELECT range AS a, range % 5 AS b, -range AS c FROM range(50)").keys] == [
        ("a",),
        ("c",),
    ]
    pair = found_in("SELECT range // 10 AS store, range % 10 AS line, range % 3 AS kind, 0.5 * range AS sales FROM range(100)")
    assert [(k.columns, k.verified) for k in pair.keys] == [(("store", "line"), True)]
    none = found_in("SELECT range % 3 AS a, range % 2 AS b FROM range(100)")
    assert none.keys == ()


def test_keys_of_a_sampled_table_are_verified_in_the_table(monkeypatch):
    monkeypatch.setattr(profile_table, "__defaults__", (10, ()))
    monkeypatch.setattr("caudal.explore.scan.SAMPLE_ROWS", 200)
    once_twice = "SELECT range AS id, CASE range WHEN 1 THEN 0 ELSE range END AS nearly FROM range(20000)"
    found = found_in(once_twice)
    assert 100 < found.profile.sampled < 400
    assert [(k.columns, k.verified) for k in found.keys] == [(("id",), True)]
    monkeypatch.setattr("caudal.explore.keys.MOST_ROWS_VERIFIED", 10)
    assert ("id",) in [k.columns for k in found_in(once_twice).keys if not k.verified]
    assert "(in the sample)" in table_page(found_in(once_twice))


def test_a_sampled_table_tells_what_is_exact_and_what_is_not(monkeypatch):
    monkeypatch.setattr(profile_table, "__defaults__", (10, ()))
    monkeypatch.setattr("caudal.explore.scan.SAMPLE_ROWS", 2000)
    found = found_in("""SELECT range AS n, 'k' || range % 4 AS kind, DATE '2020-01-01' + (range % 30)::INTEGER AS day,
        CASE WHEN range % 4 > 0 THEN range END AS thin FROM range(40000)""")
    n, kind, _, thin = found.profile.columns
    assert (n.minimum, n.maximum, n.mean, thin.nulls) == (0, 39999, 19999.5, 10000)
    assert n.quantiles[2] == pytest.approx(20000, rel=0.15)
    assert dict(kind.top) == dict.fromkeys(("k0", "k1", "k2", "k3"), 10000)
    assert not kind.top_estimated
    assert sum(found.series.rows) == 40000
    assert found.correlations[0].r == pytest.approx(1)
    assert f"a sample of {found.profile.sampled:,} rows" in table_page(found)
    assert sum(found.drawn["n"].counts) == found.profile.sampled


def test_a_profile_that_takes_too_long_is_ended_and_says_what_to_do():
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS a, hash(range) AS b, range::VARCHAR AS c FROM range(900000)")
        with pytest.raises(ProfileTookTooLong, match=r"profile of t was not done after 0\.01 seconds"):
            examine(connection, "t", timeout_s=0.01)
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_parts_begun_too_late_are_left_out(monkeypatch):
    monkeypatch.setattr("caudal.explore.allowance.LATEST_BEGIN", 0.0)
    found = found_in("SELECT range AS a, range * 2 AS b FROM range(100)")
    assert "correlations" in found.left_out
    assert found.profile.rows == 100
    assert "Left out, for there was no time: the rows over time" in table_page(found)


numbers = st.one_of(st.none(), st.integers(-1000, 1000), st.floats(-1e6, 1e6).map(lambda v: round(v, 3)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(numbers, numbers, st.sampled_from([None, "a", "b", "ü"])), min_size=1, max_size=40))
def test_figures_are_those_of_pandas(rows):
    frame = pd.DataFrame(rows, columns=["x", "y", "s"]).astype({"x": "float64", "y": "float64"})
    with duckdb.connect() as connection:
        columns = [list(column) for column in zip(*rows, strict=True)]
        connection.execute(
            "CREATE TABLE t AS SELECT unnest(?::DOUBLE[]) AS x, unnest(?::DOUBLE[]) AS y, unnest(?::VARCHAR[]) AS s", columns
        )
        found = examine(connection, "t")
    for name in ("x", "y"):
        c = next(c for c in found.profile.columns if c.name == name)
        assert (c.nulls, c.distinct) == (frame[name].isna().sum(), frame[name].nunique())
        if c.filled:
            assert (c.minimum, c.maximum) == (frame[name].min(), frame[name].max())
            assert c.mean == pytest.approx(frame[name].mean(), rel=1e-9, abs=1e-6)
            shares = [0.05, 0.25, 0.5, 0.75, 0.95]
            assert list(c.quantiles) == list(np.quantile(frame[name].dropna(), shares, method="inverted_cdf"))
        if c.filled > 1:
            assert c.std == pytest.approx(frame[name].std(), rel=1e-6, abs=1e-6)
        if name in found.drawn:
            shown = found.drawn[name]
            assert sum(shown.counts) + shown.outside + shown.usual == c.filled
    counts = frame.s.value_counts()
    text = found.profile.columns[2]
    if text.top:
        assert dict(text.top) == counts.to_dict()
    with np.errstate(all="ignore"):
        both = frame[["x", "y"]].dropna()
        expected = both.x.corr(both.y) if len(both) >= 3 else float("nan")
    if found.correlations and np.isfinite(expected) and min(both.std()) > 1e-3 * max(frame[["x", "y"]].std()):
        assert found.correlations[0].r == pytest.approx(expected, abs=1e-6)
        assert found.correlations[0].rows == len(both)
    for key in found.keys:
        assert not frame.duplicated(list(key.columns)).any()
