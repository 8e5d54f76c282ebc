import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import pyarrow as pa
import pytest

from caudal.serving.online import ForecastTable, KeyedTable, UnservableTable, pointer_path, publish_online, version_path
from caudal.serving.reader import NothingOnline, OnlineReader
from caudal.warehouse.candidate import publish_tables, published_version
from caudal.warehouse.published import NothingPublished

FORECASTS = ForecastTable("predictions.demand")
PRODUCTS = KeyedTable("dim_product", "marts.dim_product", "product_id")
HOUSEHOLDS = KeyedTable("household", "marts.dim_household", "name")
PROCESS_TIMEOUT_S = 180


def publisher(env, script: str) -> subprocess.Popen:
    """Run `script`, which may call `publish()`, in a process of its own."""
    head = f"""
        import os, signal
        from pathlib import Path
        from caudal.environment import Environment
        from caudal.serving import online
        env = Environment({env.name!r}, {env.company!r}, Path({str(env.root)!r}), Path({str(env.data)!r}))
        def publish():
            online.publish_online(env, online.ForecastTable("predictions.demand"), ())
        def die(*given):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    source = textwrap.dedent(head) + textwrap.dedent(script)
    return subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.PIPE, text=True)


def test_a_version_holds_what_is_published_and_counts_it(env, publish):
    publish()
    done = publish_online(env, FORECASTS, (PRODUCTS, HOUSEHOLDS))
    assert done.rows == {"forecasts": 9, "dim_product": 5, "household": 3}
    assert done.size_bytes == version_path(env, done.version).stat().st_size > 0
    current = OnlineReader(env).current()
    assert current.version == done.version == pointer_path(env).read_text().strip()
    assert current.warehouse_version == published_version(env)
    assert current.series == ("COUPON/STORE", "DRUG GM", "MEAT-PCKGD")
    assert {name: table.rows for name, table in current.tables.items()} == {"dim_product": 5, "household": 3}


def test_a_forecast_is_json_by_date_and_what_is_not_finite_is_null(env, publish):
    publish()
    publish_online(env, FORECASTS, ())
    assert json.loads(OnlineReader(env).current().forecast("DRUG GM")) == {
        "series": "DRUG GM",
        "model_version": "demand/1",
        "made_at": "2024-06-01T05:30:00+00:00",
        "forecast": [
            {"date": "2024-06-01", "value": 1.5, "lower": 0.5, "upper": None},
            {"date": "2024-06-02", "value": 2.5, "lower": 1.5, "upper": 3.5},
            {"date": "2024-06-03", "value": 3.5, "lower": 2.5, "upper": 4.5},
        ],
    }


def test_a_row_keeps_every_digit_and_every_character(env, publish):
    publish()
    publish_online(env, None, (PRODUCTS, HOUSEHOLDS))
    current = OnlineReader(env).current()
    assert current.row("dim_product", "9007199254740993") == (
        '{"product_id":9007199254740993,"price":1234567890123.10,"brand":"Crème \\"1\\"","weight":null,'
        '"listed_at":"2024-01-02T03:04:05"}'
    )
    assert json.loads(current.row("household", "O'Neil/Smith")) == {"name": "O'Neil/Smith", "children": 2}
    assert current.row("household", "o'neil/smith") is None
    assert current.row("no_table", "Zoë") is None
    assert current.series == ()


def test_keys_near_one_that_is_missing_are_those_after_it_or_the_last(env, publish):
    publish()
    publish_online(env, None, (HOUSEHOLDS,))
    current = OnlineReader(env).current()
    assert current.keys_near("household", "B", limit=2) == ["O'Neil/Smith", "Zoë"]
    assert current.keys_near("household", "~", limit=2) == ["Zoë", "O'Neil/Smith"]


def test_columns_of_a_forecast_table_may_have_other_names(env):
    rows = pa.table({"shop": ["x"], "on": ["2024-01-01"], "y": [1.0], "lo": [0.0], "hi": [2.0], "by": ["m/3"], "at": ["now"]})
    publish_tables(env, {"predictions.other": rows})
    table = ForecastTable("predictions.other", "shop", "on", "y", "lo", "hi", "by", "at")
    publish_online(env, table, ())
    assert json.loads(OnlineReader(env).current().forecast("x")) == {
        "series": "x",
        "model_version": "m/3",
        "made_at": "now",
        "forecast": [{"date": "2024-01-01", "value": 1.0, "lower": 0.0, "upper": 2.0}],
    }


@pytest.mark.parametrize(
    ("forecasts", "tables", "problem"),
    [
        (None, (KeyedTable("t", "marts.nothing", "id"),), "marts.nothing cannot be read: Catalog Error"),
        (
            None,
            (KeyedTable("t", "marts.dim_product", "sku"),),
            "marts.dim_product has no column sku; expected one of: product_id,",
        ),
        (None, (KeyedTable("t", "predictions.demand", "series"),), "has 3 rows with the key 'COUPON/STORE'; expected one row"),
        (None, (KeyedTable("t", "marts.dim_product", "brand"),), "marts.dim_product has 1 rows with no key"),
        (ForecastTable("predictions.demand", value="yhat"), (), "predictions.demand has no column yhat"),
        (ForecastTable("marts.dim_household", *["name"] * 6, made_at="gone"), (), "marts.dim_household has no column gone"),
    ],
)
def test_a_table_that_cannot_be_served_is_refused_and_the_current_version_stays(
    env, publish, versions, forecasts, tables, problem
):
    publish()
    before = publish_online(env, FORECASTS, (PRODUCTS,))
    with pytest.raises(UnservableTable, match=problem):
        publish_online(env, forecasts, tables)
    assert OnlineReader(env).current().version == before.version
    assert versions() == [f"{before.version}.sqlite"]


def test_a_day_that_is_forecast_twice_is_refused(env, publish):
    publish(["A", "A"])
    with pytest.raises(UnservableTable, match="has 2 rows with the key 'A on 2024-06-01'"):
        publish_online(env, FORECASTS, ())


def test_nothing_is_served_before_anything_is_published(env):
    with pytest.raises(NothingPublished):
        publish_online(env, FORECASTS, ())
    with pytest.raises(NothingOnline, match=r"Company shop has nothing online yet\. Materialize its asset"):
        OnlineReader(env).current()


def test_a_reader_follows_to_the_new_version_and_only_the_last_versions_are_kept(env, publish, versions):
    publish()
    reader = OnlineReader(env)
    published = [publish_online(env, FORECASTS, ()).version for _ in range(2)]
    assert reader.current().version == published[-1]
    held = reader.current()
    assert reader.current() is held
    published += [publish_online(env, FORECASTS, ()).version for _ in range(4)]
    assert json.loads(held.forecast("DRUG GM"))["series"] == "DRUG GM"
    assert reader.current().version == published[-1]
    assert versions() == [f"{version}.sqlite" for version in published[-3:]]


def test_a_version_cannot_be_written_to(env, publish):
    publish()
    publish_online(env, FORECASTS, ())
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        OnlineReader(env).current().connection.execute("DELETE FROM forecasts")


def test_a_pointer_to_a_file_that_is_gone_says_what_to_do(env, publish):
    publish()
    version_path(env, publish_online(env, FORECASTS, ()).version).unlink()
    with pytest.raises(NothingOnline, match=r"cannot be opened.*Materialize the asset `online/...` again"):
        OnlineReader(env).current()


@pytest.mark.parametrize(
    "moment",
    [
        "online._store_forecasts = die",
        "online.pointer_path = die",
        "Path.replace = die",
        "online._remove_old = die",
    ],
)
def test_a_publisher_killed_at_any_moment_leaves_a_whole_version_and_the_next_one_clears_up(env, publish, versions, moment):
    publish()
    before = publish_online(env, FORECASTS, ()).version
    publish(days=5)
    killed = publisher(env, f"{moment}\npublish()")
    killed.communicate(timeout=PROCESS_TIMEOUT_S)
    assert killed.returncode == -signal.SIGKILL
    current = OnlineReader(env).current()
    days = len(json.loads(current.forecast("DRUG GM"))["forecast"])
    assert days == (3 if current.version == before else 5)
    after = publish_online(env, FORECASTS, ()).version
    assert OnlineReader(env).current().version == after
    assert f"{before}.sqlite" in versions()
    for name in versions():
        with closing(sqlite3.connect(env.online / "versions" / name)) as store:
            assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not [path for path in env.online.rglob(".*") if path.is_file()]


def test_publishers_at_the_same_time_take_turns(env, publish, versions):
    publish()
    several = [publisher(env, "for _ in range(5): publish()") for _ in range(3)]
    errors = [process.communicate(timeout=PROCESS_TIMEOUT_S)[1] for process in several]
    assert [process.returncode for process in several] == [0, 0, 0], errors
    assert len(versions()) == 3
    assert OnlineReader(env).current().version == versions()[-1].removesuffix(".sqlite")
