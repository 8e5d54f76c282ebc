"""`dbt build` in a process of its own: results, failures, and what is left when a process dies."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import duckdb
import psutil
import pytest

from caudal.transform import build as module
from caudal.transform.build import BuildError, build
from caudal.transform.manifest import read_manifest
from caudal.transform.project import Project, prepare_manifest

FCT, SALES, REPORT = "model.stall.fct_sales", "model.stall.sales", "model.stall.report"
DIM, STAGING = "model.stall.dim_customer", "model.stall.stg_pos__sales"
NOT_PAID_TWICE = "test.stall.unique_fct_sales_sale_id.b56f71d5ff"


@pytest.fixture(params=["forked", "interpreter"])
def dbt_processes(request) -> Callable[..., list[psutil.Process]]:
    """The dbt processes that were started by a process, this one by default; either way of starting them."""
    if request.param == "interpreter":
        request.getfixturevalue("cold")
        return lambda by=None: [p for p in psutil.Process(by).children(recursive=True) if "dbt_child" in _command(p)]
    _, parent = request.getfixturevalue("warm_parent")
    return lambda by=None: psutil.Process(parent.pid).children()


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def by_name(manifest, result, name):
    return result.results[next(u for u, check in manifest.checks.items() if check.name == name)]


def test_everything_is_built_and_tested_and_described_and_nothing_is_written_into_the_project(
    unchanged, manifest, warehouse, query
):
    database = warehouse()
    seen = []
    before = {path: path.stat().st_mtime_ns for path in unchanged.folder.rglob("*")}
    result = build(unchanged, manifest, database=database, on_result=seen.append)
    assert {path: path.stat().st_mtime_ns for path in unchanged.folder.rglob("*")} == before

    assert result.passed == tuple(manifest.nodes)
    assert (result.held_back, result.failed_checks) == ({}, ())
    assert {u: result.results[u].status for u in manifest.checks} == dict.fromkeys(manifest.checks, "pass")
    fct = result.results[FCT]
    assert (fct.row_count, fct.columns) == (
        2,
        (("sale_id", "BIGINT"), ("customer_id", "BIGINT"), ("amount", "DECIMAL(10,2)"), ("cents", "BIGINT")),
    )
    assert result.results[REPORT].row_count == 1
    assert result.results["seed.stall.tariffs"].rows_affected == 2
    assert "cast(amount * 100 as bigint) as cents" in (fct.compiled_sql or "")
    assert by_name(manifest, result, "unique_fct_sales_sale_id").failures == 0
    order = [r.unique_id for r in seen]
    assert order.index(STAGING) < order.index(FCT) < order.index(NOT_PAID_TWICE) < order.index(SALES)
    assert len(set(order)) == len(order) == len(result.results)
    assert query(database, "SELECT amount, tariffs FROM marts.sales") == [(14.5, 2)]


def test_exactly_what_is_selected_is_built(unchanged, manifest, warehouse, query):
    database = warehouse()
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE SCHEMA marts; CREATE TABLE marts.fct_sales AS SELECT 5 AS amount")
        connection.execute("CREATE SCHEMA seeds; CREATE TABLE seeds.tariffs AS SELECT 'full' AS tariff")
    result = build(unchanged, manifest, database=database, select=["sales", "nothing_is_lost"])
    assert set(result.results) == {SALES, "test.stall.nothing_is_lost"}  # neither `sales/report` nor the unit test
    assert result.passed == (SALES,)
    assert query(database, "SELECT amount, tariffs FROM marts.sales") == [(5, 1)]


def test_nothing_selected_is_nothing_done(unchanged, manifest, tmp_path):
    result = build(unchanged, manifest, database=tmp_path / "warehouse.duckdb", select=[])
    assert (result.results, result.passed) == ({}, ())


def test_a_failed_test_holds_back_its_model_and_shows_the_rows(unchanged, manifest, warehouse):
    result = build(unchanged, manifest, database=warehouse("(1, 7, 10, true), (1, 7, 4, true), (2, 8, NULL, true)"))
    # The source's test fails first, and all that is below it is left out.
    unique = by_name(manifest, result, "source_unique_pos_sales_sale_id")
    assert (unique.status, unique.failures) == ("fail", 1)
    assert unique.message == "Got 1 result, configured to fail if != 0"
    assert unique.failing_rows is not None
    assert unique.failing_rows.columns == ("unique_field", "n_records")
    assert unique.failing_rows.rows == (("1", "2"),)
    assert "having count(*) > 1" in (unique.compiled_sql or "")
    assert result.passed == ("seed.stall.tariffs", "snapshot.stall.tariff_history")
    assert result.held_back[STAGING] == "raw/pos/sales, which it reads, did not pass"


def test_a_broken_model_is_told_with_its_file_and_what_is_beside_it_goes_on(stall, tmp_path, warehouse, query):
    (stall / "models/marts/sales/fct_sales.sql").write_text(
        "select sale_id, customer_id, amount,\n  no_such_column as cents\nfrom {{ ref('paid') }}\n"
    )
    project = Project(stall, tmp_path / "state")
    manifest = read_manifest(prepare_manifest(project))
    database = warehouse("(1, 7, NULL, true), (2, -8, 4, true)")
    result = build(project, manifest, database=database)

    broken = result.results[FCT]
    assert broken.status == "error"
    assert "Runtime Error in model fct_sales (models/marts/sales/fct_sales.sql)" in (broken.message or "")
    assert "no_such_column" in (broken.message or "")
    assert set(result.held_back) == {FCT, SALES, REPORT}
    assert result.held_back[SALES] == "marts.fct_sales, which it reads, did not pass"
    assert result.to_restore == ("marts.fct_sales",)
    assert DIM in result.passed
    assert query(database, "SELECT count(*) FROM marts.dim_customer") == [(2,)]
    assert query(database, "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE '%\\_\\_dbt%' ESCAPE '\\'") == []
    schemas = query(database, "SELECT schema_name FROM duckdb_schemas() WHERE NOT internal ORDER BY 1")
    assert [s for (s,) in schemas] == ["marts", "raw", "seeds", "snapshots", "staging"]


def test_warnings_and_failures_are_told_apart(unchanged, manifest, warehouse):
    result = build(unchanged, manifest, database=warehouse("(1, 7, NULL, true), (2, -8, 4, true)"))
    warned = by_name(manifest, result, "amount_is_known")
    assert (warned.status, warned.failures, warned.failing_rows.rows) == ("warn", 1, (("1", "7", None, None),))
    failed = by_name(manifest, result, "customers_have_numbers")
    assert (failed.status, failed.failing_rows.rows) == ("fail", (("-8", "2", "4.00", "400"),))
    assert set(result.held_back) == {DIM}
    assert FCT in result.passed


def test_only_the_newest_invocations_are_kept(tmp_path):
    for number in range(30):
        (tmp_path / f"20170101T{number:06}-a").mkdir()
    new = module._new_invocation(tmp_path)
    assert len(list(tmp_path.iterdir())) == 20
    assert new.is_dir()


def test_without_dbts_own_manifest_the_project_is_parsed_again(unchanged, manifest, warehouse, tmp_path):
    alone = tmp_path / "alone" / "manifest.json"
    alone.parent.mkdir()
    alone.write_text(manifest.path.read_text())
    result = build(unchanged, read_manifest(alone), database=warehouse(), select=["dim_customer", "stg_pos__sales"])
    assert result.passed == (STAGING, DIM)


def test_a_database_of_another_name_is_refused_since_views_would_not_find_it(unchanged, manifest, tmp_path):
    with pytest.raises(ValueError, match=r"expected a file named warehouse\.duckdb"):
        build(unchanged, manifest, database=tmp_path / "candidate.duckdb")


def test_dbts_refusal_to_run_at_all_is_an_error_in_its_words(unchanged, manifest, warehouse):
    with pytest.raises(BuildError, match=r"(?s)dbt could not run: .*does not have a target named 'nowhere'"):
        build(replace(unchanged, target="nowhere"), manifest, database=warehouse(), select=["tariffs"])


def test_a_dbt_process_that_is_killed_is_told_with_its_cause_and_leaves_nothing(
    dbt_processes, unchanged, manifest, warehouse, query
):
    database = warehouse()
    killed = []

    def kill(result):
        killed.extend(dbt_processes())
        for child in killed:
            child.kill()

    with pytest.raises(BuildError, match=r"killed by SIGKILL.*Nothing of this build is kept"):
        build(unchanged, manifest, database=database, on_result=kill)
    assert killed
    assert psutil.wait_procs(killed, timeout=60)[1] == []  # not even as a zombie
    assert query(database, "SELECT count(*) FROM raw.pos__sales") == [(3,)]


def test_an_interrupted_build_leaves_no_process_and_no_lock(dbt_processes, unchanged, manifest, warehouse, query):
    database = warehouse()

    def interrupt(result):
        assert dbt_processes()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(unchanged, manifest, database=database, on_result=interrupt)
    assert dbt_processes() == []
    assert query(database, "SELECT count(*) FROM raw.pos__sales") == [(3,)]


@pytest.fixture(scope="module")
def endless(unchanged, tmp_path_factory) -> Project:
    """The project with a `sales` that is never done."""
    root = tmp_path_factory.mktemp("endless")
    folder = shutil.copytree(unchanged.folder, root / "stall")
    (folder / "models/marts/sales/sales.sql").write_text(
        "select count(*) as n from range(100000000000) a(x), range(1000) b(y) where a.x % 7 = b.y"
    )
    return Project(folder, root / "state")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_when_who_asked_is_ended_in_a_long_query_no_dbt_and_no_lock_is_left(dbt_processes, endless, warehouse, query, how):
    manifest = prepare_manifest(endless)
    database = warehouse()
    program = textwrap.dedent(f"""
        from pathlib import Path
        from caudal.transform.build import build
        from caudal.transform.manifest import read_manifest
        from caudal.transform.project import Project
        project = Project(Path({str(endless.folder)!r}), Path({str(endless.state)!r}))
        build(project, read_manifest(Path({str(manifest)!r})), database=Path({str(database)!r}), select=["tariffs", "sales"])
    """)
    with (
        subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has told them to ignore interrupts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        ) as parent,
        contextlib.ExitStack() as at_the_end,
    ):
        at_the_end.callback(parent.kill)
        assert parent.stdout is not None
        for line in parent.stdout:
            if "START sql table model marts.sales" in line:
                break
        (child,) = dbt_processes(parent.pid)
        family = [child, *child.children(recursive=True)]
        parent.send_signal(how)
        parent.wait(60)
        _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    assert query(database, "SELECT count(*) FROM raw.pos__sales") == [(3,)]


def test_closing_its_input_ends_dbt_where_the_kernel_does_not(unchanged, warehouse):
    """As on systems without Linux's parent-death signal."""
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "caudal.transform.dbt_child", "serve", str(writing)],
        stdin=subprocess.PIPE,
        pass_fds=(writing,),
    ) as child:
        os.close(writing)
        assert child.stdin is not None
        child.stdin.write(b'{"asked_by": 1, "serialized": null, "arguments": ["debug"]}\n')
        child.stdin.close()
        assert child.wait(60) == 1
    os.close(reading)


def test_a_forked_build_is_told_like_one_in_a_new_interpreter(unchanged, manifest, warehouse, request):
    told = []
    for _ in ("forked", "forked again", "interpreter"):
        if len(told) == 2:
            request.getfixturevalue("cold")
        database = warehouse("(1, 7, NULL, true), (2, -8, 4, true)")
        seen = []
        result = build(unchanged, manifest, database=database, on_result=seen.append)
        outcomes = {u: replace(r, seconds=0.0, compiled=None) for u, r in result.results.items()}
        told.append(
            ([r.unique_id for r in seen], outcomes, result.held_back, [r.compiled_sql for r in result.results.values()])
        )
        assert [path.name for path in database.parent.glob("warehouse*")] == [database.name]  # no log beside it
        database.unlink()
    assert told[0] == told[1] == told[2]


def test_two_builds_on_two_databases_do_not_meet(unchanged, manifest, warehouse, tmp_path):
    first = warehouse()
    second = (
        Path(shutil.copytree(first.parent, tmp_path / "second", ignore=lambda folder, names: {"second", "stall"})) / first.name
    )
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        found = list(
            pool.map(
                lambda d: build(unchanged, manifest, database=d, select=["stg_pos__sales", "dim_customer"]), (first, second)
            )
        )
    assert [r.passed for r in found] == [(STAGING, DIM)] * 2
    assert time.monotonic() - began < sum(r.seconds for r in found)
