"""Which columns get a picture, what it counts, and that it stays small."""

import datetime as dt
import io
from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib import rcParams
from PIL import Image

from caudal.explore import markdown
from caudal.explore.distributions import (
    Categories,
    Histogram,
    TimeSeries,
    distribution,
    main_columns,
    main_measure,
    main_time,
    time_series,
)
from caudal.explore.drawing import MAX_PNG_BYTES, TooLargeToShow, compact, fit_png, new_figure, to_png
from caudal.explore.findings import examine
from caudal.explore.graph import network_in_common
from caudal.explore.page import table_page
from caudal.explore.plots import distribution_grid, network_plot, series_plot
from caudal.explore.scan import profile_table


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def of_values(connection: duckdb.DuckDBPyConnection, select: str) -> Categories | Histogram | None:
    connection.execute(f"CREATE OR REPLACE TABLE t AS {select}")
    return distribution(connection, "t", profile_table(connection, "t").columns[0])


def series_of(connection: duckdb.DuckDBPyConnection, select: str, measure: str | None = None) -> TimeSeries | None:
    connection.execute(f"CREATE OR REPLACE TABLE t AS {select}")
    return time_series(connection, "t", profile_table(connection, "t"), measure)


def opened(png: bytes) -> Image.Image:
    assert len(png) <= MAX_PNG_BYTES
    return Image.open(io.BytesIO(png))


def test_identifiers_constants_free_texts_and_lineage_get_no_picture(connection):
    connection.execute("""CREATE TABLE t AS SELECT
        range AS basket_id, 'x' AS constant, 'note ' || range AS note, range AS _row, range % 7 AS store_id, [range] AS tags,
        (range % 3)::DECIMAL(10,2) AS sales, 'd' || range % 4 AS department, range % 2 = 0 AS is_fuel,
        DATE '2017-01-01' + range::INTEGER AS day, DATE '2017-01-01' + (range % 9)::INTEGER AS due FROM range(100)""")
    assert [c.name for c in main_columns(profile_table(connection, "t"))] == ["sales", "department", "is_fuel", "due"]


def test_the_date_of_the_main_time_is_not_shown_beside_it(connection):
    connection.execute("""CREATE TABLE t AS SELECT at_, at_::DATE AS day, at_::DATE + 30 AS due
        FROM (SELECT TIMESTAMP '2017-01-01' + INTERVAL (range) HOUR AS at_ FROM range(1000))""")
    assert [c.name for c in main_columns(profile_table(connection, "t"))] == ["due"]


def test_measures_come_before_categories_when_there_are_too_many(connection):
    texts = ", ".join(f"'v' || range % 3 AS c{i}" for i in range(10))
    connection.execute(f"CREATE TABLE t AS SELECT {texts}, range AS units FROM range(20)")
    chosen = [c.name for c in main_columns(profile_table(connection, "t"))]
    assert (len(chosen), chosen[-1]) == (9, "units")


def test_texts_are_counted_by_value_with_the_rest_together(connection):
    found = of_values(connection, "SELECT chr(97 + greatest(0, range - 40)::INTEGER) AS x FROM range(50) UNION ALL SELECT NULL")
    assert isinstance(found, Categories)
    assert (found.values[0], found.others, found.column.nulls) == (("a", 41), 2, 1)


def test_few_integers_are_counted_one_by_one(connection):
    found = of_values(connection, "SELECT unnest([0, 1, 1, 3, 3, 3]) AS x")
    assert isinstance(found, Histogram)
    assert (found.discrete, found.edges[:4], found.counts) == (True, (0, 1, 2, 3), (1, 2, 0, 3))


def test_bins_of_integers_hold_equally_many_of_them(connection):
    found = of_values(connection, "SELECT range AS x FROM range(1000)")
    assert isinstance(found, Histogram)
    assert not found.discrete
    assert set(found.counts[:-1]) == {32}
    assert sum(found.counts) == 1000


def test_extremes_are_left_out_and_counted(connection):
    found = of_values(connection, "SELECT range / 100.0 AS x FROM range(1000) UNION ALL SELECT 1e9 UNION ALL SELECT -1e9")
    assert isinstance(found, Histogram)
    assert (found.outside, sum(found.counts)) == (2, 1000)
    assert found.edges[-1] < 30


def test_one_value_that_nearly_all_rows_hold_does_not_hide_the_others(connection):
    found = of_values(connection, "SELECT 0.0 AS x FROM range(99) UNION ALL SELECT unnest([1.0, 2.0])")
    assert isinstance(found, Histogram)
    assert (found.usual, sum(found.counts), found.edges[0]) == (99, 2, 1.0)


@pytest.mark.parametrize("values", ["1e308, -1e308", "'nan'::DOUBLE, 'inf'", "NULL::DOUBLE, 5.0"])
def test_values_that_fit_on_no_axis_have_no_distribution(connection, values):
    assert of_values(connection, f"SELECT unnest([{values}]) AS x") is None


@pytest.fixture(scope="module")
def memory():
    """A database in memory, in which each example makes its own table `t`."""
    with duckdb.connect() as connection:
        yield connection


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.none() | st.integers(-(10**12), 10**12) | st.integers(0, 5), min_size=1, max_size=60))
def test_every_row_is_in_a_bin_or_is_told_to_be_elsewhere(memory, values):
    memory.execute("CREATE OR REPLACE TABLE t AS SELECT unnest(?::BIGINT[]) AS x", [values])
    column = profile_table(memory, "t").columns[0]
    found = distribution(memory, "t", column)
    if isinstance(found, Histogram):
        assert sum(found.counts) + found.outside + found.usual == column.filled
        assert len(found.edges) == len(found.counts) + 1 <= 34
        assert all(a < b for a, b in zip(found.edges, found.edges[1:], strict=False))


def test_the_fullest_time_and_the_measure_that_adds_up_are_chosen(connection):
    connection.execute("""CREATE TABLE t AS SELECT
        CASE WHEN range > 3 THEN DATE '2017-01-01' + range::INTEGER END AS ended, now() AS _loaded_at,
        TIMESTAMP '2017-01-01' + INTERVAL (range) HOUR AS started, range * 0.5 AS unit_price, range * 1.0 AS weight,
        range * 1.5 AS sales_value FROM range(10)""")
    profile = profile_table(connection, "t")
    assert main_time(profile).name == "started"
    assert main_measure(profile).name == "sales_value"


def test_days_without_rows_count_zero(connection):
    found = series_of(
        connection,
        "SELECT * FROM (VALUES (DATE '2017-12-24', 1.5), ('2017-12-24', 2), ('2017-12-26', 4), ('2017-12-27', 1)) AS t(day, sales)",
    )
    assert found == TimeSeries(
        "day", "day", tuple(dt.date(2017, 12, d) for d in range(24, 28)), (2, 0, 1, 1), "sales", (3.5, 0.0, 4.0, 1.0), 0
    )


def test_a_sentinel_date_does_not_stretch_the_picture(connection):
    select = "SELECT DATE '2017-01-01' + (range % 100)::INTEGER AS day FROM range(1000) UNION ALL SELECT DATE '9999-12-31'"
    found = series_of(connection, select)
    assert (found.unit, len(found.starts), found.outside, sum(found.rows)) == ("day", 100, 1, 1000)


@pytest.mark.parametrize(
    ("rows", "step", "unit"), [(500, "1 DAY", "day"), (1000, "3 DAY", "week"), (5000, "5 DAY", "year"), (20, "20 DAY", "month")]
)
def test_the_unit_keeps_the_number_of_points_readable(connection, rows, step, unit):
    found = series_of(connection, f"SELECT TIMESTAMP '1960-01-01' + range * INTERVAL {step} AS at_ FROM range({rows})")
    assert (found.unit, sum(found.rows)) == (unit, rows)
    assert len(found.starts) <= 800


def test_days_are_those_of_utc_where_there_is_a_zone(connection):
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    found = series_of(
        connection,
        "SELECT unnest(['2017-01-01 23:30:00+00', '2017-01-02 01:00:00+00', '2017-01-02 02:00:00+00'])::TIMESTAMPTZ AS x",
    )
    assert (found.starts, found.rows) == ((dt.date(2017, 1, 1), dt.date(2017, 1, 2)), (1, 2))


def test_a_table_without_times_has_no_series(connection):
    assert series_of(connection, "SELECT 1 AS x, DATE '2017-01-01' AS always FROM range(5)") is None


def test_a_grid_has_a_row_for_every_three_columns_and_leaves_no_trace_in_pyplot(connection):
    before = dict(rcParams)
    shown = [of_values(connection, "SELECT range % 10 AS x FROM range(1000)")] * 4
    one, two = opened(distribution_grid(shown[:1])), opened(distribution_grid(shown))
    assert one.width == two.width
    assert two.height == pytest.approx(2 * one.height, rel=0.1)
    assert (plt.get_fignums(), dict(rcParams)) == ([], before)


def test_pictures_of_all_kinds_are_drawn_and_embedded(connection):
    connection.execute("""CREATE TABLE t AS SELECT DATE '2017-01-01' + (range % 400)::INTEGER AS day,
        DATE '2017-01-01' + (range % 90)::INTEGER AS due, range * 0.01 AS "price $x^2$ $", range % 2 = 0 AS flag,
        'a $b$ _c_ \n' || range % 12 AS text, NULL::INTEGER AS nothing FROM range(4000)""")
    profile = profile_table(connection, "t")
    drawn = [found for c in main_columns(profile) if (found := distribution(connection, "t", c))]
    assert [found.column.name for found in drawn] == ["due", "price $x^2$ $", "flag", "text"]
    for png in (distribution_grid(drawn), series_plot(time_series(connection, "t", profile))):
        opened(png)
        assert len(markdown.image(png, "a ] picture")) < markdown.MAX_BYTES


def test_the_page_of_a_table_of_very_many_columns_stays_small(connection):
    columns = ", ".join(
        f"range * {i} + 0.5 AS a_column_with_a_long_name_{i}, repeat('text ', 50) || range % 3 AS t{i}" for i in range(120)
    )
    connection.execute(f"CREATE TABLE wide AS SELECT DATE '2017-01-01' + range::INTEGER AS day, {columns} FROM range(50)")
    found = examine(connection, "wide")
    page = table_page(found)
    assert len(found.profile.to_dict()["columns"]) == 241
    assert "**50 rows, 241 columns**, 91 of which are not shown" in page
    assert len(page.encode()) < markdown.MAX_BYTES
    assert page.count("data:image/png") == 2


def test_a_grid_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no distributions"):
        distribution_grid([])


def test_a_network_is_drawn_even_if_no_path_leads_through_anyone():
    pair = pa.table({"h": [1, 2], "c": [5, 5]})
    opened(network_plot(network_in_common(pair, "h", "c"), "h"))


def noise(side: int) -> bytes:
    png = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(png, "PNG")
    return png.getvalue()


def test_a_picture_that_is_too_large_is_made_smaller_until_it_fits():
    fitted = fit_png(noise(600), 40_000)
    assert len(fitted) <= 40_000
    assert Image.open(io.BytesIO(fitted)).width == 150


def test_a_picture_that_cannot_be_made_small_enough_is_refused():
    with pytest.raises(TooLargeToShow, match="600 x 600 pixels takes more than 100 bytes"):
        fit_png(noise(600), 100)
    with pytest.raises(ValueError, match="at most"):
        markdown.image(b"x" * 300_000, "big")


def test_transparent_parts_become_white():
    png = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(png, "PNG")
    assert Image.open(io.BytesIO(fit_png(png.getvalue()))).convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_an_empty_figure_is_paper():
    assert opened(to_png(new_figure(1, 1))).convert("RGB").getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (950, "950"), (12_300, "12.3k"), (-4e6, "-4M"), (2.5e9, "2.5G"), (0.25, "0.25"), (3e12, "3T")],
)
def test_axis_numbers_are_compact(number, text):
    assert compact(number) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 5, "0 %"), (0, 0, "0 %"), (5, 5, "100 %"), (1, 10_000, "< 0.1 %"), (9_999, 10_000, "> 99.9 %"), (1, 3, "33.3 %")],
)
def test_a_share_is_none_or_all_only_if_it_is_exactly_that(part, whole, text):
    assert markdown.share(part, whole) == text


@pytest.mark.parametrize(
    ("number", "text"), [(None, ""), (0, "0"), (1234.56, "1,234.6"), (0.123456, "0.1235"), (1e-9, "1e-09"), (1e20, "1e+20")]
)
def test_measurements_are_rounded_to_what_can_be_read(number, text):
    assert markdown.measure(number) == text
