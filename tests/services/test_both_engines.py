"""Both engines make the same marts of the same raw rows, value by value.

The rows are the reference company's, of a real year of grocery retail. The server is DuckDB underneath, which translates
GoogleSQL: what the two engines write alike and mean differently, it may hide. So each dispatched macro is written by
GoogleSQL's documentation, `test_models_are_googlesql` has Google's own analyzer read all that dbt compiles, and
`test_awkward_values` compares with figures that were worked out by hand.
"""

import os
import shutil
from pathlib import Path

import duckdb
import pytest

from caudal.transform.project import Project
from shop.quickstart import land
from tests.services.both_engines import Engines, days, load_contracts, make_datasets, written_down
from tests.shop.conftest import contracts, load_raw, needs_quickstart, register_landed

__all__ = ["contracts", "load_raw", "needs_quickstart", "register_landed"]

DBT = Path(__file__).parents[2] / "dbt"


@pytest.fixture(scope="module")
def engines(bigquery, contracts, load_raw, needs_quickstart, tmp_path_factory) -> Engines:
    """Raw rows in both, nothing built yet."""
    root = tmp_path_factory.mktemp("engines")
    # A quarter of 300 households; CAUDAL_TEST_EXTENT=year takes all 1.5 million lines.
    land(root / "home", sample=os.environ.get("CAUDAL_TEST_EXTENT") != "year")
    cloud = bigquery.settings("EU")
    state = root / "state"
    made = Engines(
        cloud,
        Project(DBT, state / "local"),
        Project(DBT, state / "bigquery", target="bigquery", cloud=cloud),
        root / "warehouse.duckdb",
    )
    load_raw(made.database, root / "home")
    shutil.rmtree(root / "home")
    make_datasets(made, "loading", made.candidate)
    load_contracts(made, bigquery, contracts)
    return made


@pytest.fixture(scope="module")
def built(engines):
    """The results here and there."""
    whole = days(engines, {})
    assert {each.partitions for each in whole.values()} == {None}
    there = engines.build_there()
    engines.noted.update(written_down(engines, whole, there))
    return engines.build_locally(), there


def test_every_model_builds_and_every_test_passes_on_both(built):
    for result in built:
        bad = {u: r.message for u, r in result.results.items() if r.status not in ("success", "pass", "no-op")}
        assert bad == {}
        assert result.held_back == {}
    assert set(built[0].results) == set(built[1].results)


def test_each_table_has_the_same_rows_and_types_on_both(engines, built, bigquery, capsys):
    told, wrong = [], {}
    for node in built[0].manifest.nodes.values():
        if node.is_virtual:
            continue
        here, there, different = engines.differences(node.relation, bigquery)
        told.append(f"{node.relation:32} {here:>10,} {there:>10,} {len(different):>6}")
        local, remote = engines.types(node.relation)
        if different or local != remote or list(local) != list(remote):
            wrong[node.relation] = different, {c: (local[c], remote.get(c)) for c in local if local[c] != remote.get(c)}
        assert here
    with capsys.disabled():
        print(f"\n{'table':32} {'local':>10} {'bigquery':>10} {'differ':>6}", *told, sep="\n")
    assert wrong == {}


def test_what_each_model_cost_is_known_from_its_jobs(built):
    tables = [u for u, node in built[1].manifest.nodes.items() if not node.is_virtual]
    assert tables
    for unique_id in tables:
        jobs = built[1].results[unique_id].jobs
        assert sum(job.bytes_billed for job in jobs) > 0, unique_id
        assert {job.kind for job in jobs} == {"query"}
        assert built[1].results[unique_id].row_count
        assert built[1].results[unique_id].columns


def test_each_job_carries_its_asset_owner_and_run(engines, built):
    (job, *_) = built[1].results["model.shop.daily_sales"].jobs
    labels = engines.service.client.get_job(job.id).labels
    expected = {"asset": "marts-sales-daily_sales", "owner": "sales-analytics", "run": "run-1"}
    assert expected.items() <= labels.items()


def test_days_that_changed_are_built_anew_and_come_to_what_a_whole_build_comes_to(engines, built, bigquery, capsys):
    raw = f"`{engines.cloud.table('loading.pos__transactions')}`"
    changes = [
        # A file of a day that was thought to be done comes late, another is replaced, and the newest one is removed.
        "INSERT INTO {raw} SELECT * REPLACE (basket_id + 900000000000 AS basket_id) FROM {raw} WHERE DAY = DATE '2017-01-05'",
        "UPDATE {raw} SET sales_value = sales_value + 1 WHERE DAY = DATE '2017-02-10'",
        "DELETE FROM {raw} WHERE DAY = DATE '2017-04-02'",
    ]
    with duckdb.connect(str(engines.database)) as connection:
        for change in changes:
            told = change.replace("DAY", "CAST(transaction_timestamp AS DATE)")
            connection.execute(told.format(raw="raw.pos__transactions"))
            engines.service.query(told.format(raw=raw))
    engines.build_locally()
    placed = days(engines, engines.noted)
    changed, newest_left = {f"date '{day}'" for day in ("2017-01-05", "2017-02-10", "2017-04-02")}, "date '2017-04-01'"
    chosen = {u: each.partitions for u, each in placed.items()}
    assert {u: set(days) for u, days in chosen.items()} == {
        "model.shop.fct_basket_lines": changed,
        "model.shop.fct_baskets": changed,
        "model.shop.daily_totals": changed,
        # Nothing uncatalogued was sold on the day that is gone: there is nothing to remove.
        "model.shop.uncatalogued_sales": changed - {"date '2017-04-02'"},
        # Whether its last day is complete is said by which one is the last.
        "model.shop.daily_sales": changed | {newest_left},
    }
    tables = [u for u, node in built[1].manifest.nodes.items() if not node.is_virtual]
    carried = {u: each.carried for u, each in placed.items() if each.carried}
    assert carried == {"model.shop.daily_sales": (newest_left,)}
    result = engines.build_there(select=tables, days=placed)
    assert {u: r.message for u, r in result.results.items() if r.status != "success"} == {}
    for unique_id in tables:
        relation = result.manifest.nodes[unique_id].relation
        here, there, different = engines.differences(relation, bigquery)
        assert (here, different) == (there, []), relation
    with capsys.disabled():
        print(f"\n{'bytes processed':32} {'4 days':>12} {'whole':>12}")
        for unique_id in tables:
            some, whole = (sum(j.bytes_processed for j in r.results[unique_id].jobs) for r in (result, built[1]))
            print(f"{result.manifest.nodes[unique_id].relation:32} {some:>12,} {whole:>12,}")
    # Nothing changed since; there is no build of no day.
    again = days(engines, written_down(engines, placed, result))
    assert {u: each.partitions for u, each in again.items()} == dict.fromkeys(placed, (newest_left,))


def test_a_bad_row_of_a_day_that_is_built_is_found_and_one_of_another_day_by_a_test_that_looks_at_all(engines, built, capsys):
    lines, table = "model.shop.fct_basket_lines", engines.table("marts.fct_basket_lines")
    raw = f"`{engines.cloud.table('loading.pos__transactions')}`"
    names = ("basket_lines_have_no_negative_amount", "basket_lines_sell_what_the_transactions_sold")
    tests = {check.name: u for u, check in built[1].manifest.checks.items() if check.name in names}

    def again():
        """The results of both tests once the days that changed are built, and written down."""
        placed = {lines: days(engines, engines.noted)[lines]}
        result = engines.build_there(select=[lines, *tests.values()], days=placed)
        engines.noted.update(written_down(engines, placed, result))
        return [result.results[tests[name]] for name in names]

    def rows(day: str) -> int:
        return next(iter(engines.service.query(f"SELECT count(*) FROM {table} WHERE day = DATE '{day}'")))[0]

    engines.noted.clear()
    whole = again()
    assert [(each.status, each.days) for each in whole] == [("pass", None)] * 2
    engines.service.query(f"UPDATE {table} SET sales = -5 WHERE day = DATE '2017-03-01'")
    bad = f"UPDATE {raw} SET sales_value = {{}} WHERE CAST(transaction_timestamp AS DATE) = DATE '2017-01-05'"
    engines.service.query(bad.format(-1))
    negative, total = some = again()
    assert (negative.status, negative.days, negative.failures) == ("fail", 1, rows("2017-01-05"))
    assert negative.failing_rows is not None
    assert (total.status, total.days) == ("pass", 1)
    # A test that failed is not written down, and looks at all of the table.
    engines.service.query(bad.format(1))
    negative, total = again()
    assert (negative.status, negative.days, negative.failures) == ("fail", None, rows("2017-03-01"))
    assert (total.status, total.days) == ("pass", 1)
    read = [[sum(job.bytes_processed for job in each.jobs) for each in tested] for tested in (some, whole)]
    with capsys.disabled():
        print(f"\n{'bytes processed':48} {'1 day':>12} {'whole':>12}")
        for name, day, all_days in zip(names, *read, strict=True):
            print(f"{name:48} {day:>12,} {all_days:>12,}")
            assert day < all_days / 10
