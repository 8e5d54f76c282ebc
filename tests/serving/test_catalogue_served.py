"""The catalogue over real HTTP: as the API keeps it, and how it comes to a newer one."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from caudal.serving.catalogue import kept as keeping
from caudal.serving.catalogue.kept import KeptCatalogue, make_elsewhere
from caudal.serving.catalogue.routes import add_catalogue
from caudal.serving.catalogue.values import Catalogue, Column, Profile, Table, catalogue_path, read_catalogue, write_catalogue
from caudal.warehouse import versions

WAIT_S = 60


def catalogue_of(env, version: str | None = None, age_s: float = 0, table: str = "marts.daily_sales") -> Catalogue:
    made_at = datetime.now(UTC) - timedelta(seconds=age_s)
    tables = (Table(table, "table", columns=(Column("day", "DATE"),)),)
    version = versions.current(env) or "" if version is None else version
    return Catalogue("shop", version, made_at.isoformat(), str(env.published), "http://127.0.0.1:3000", tables)


@contextmanager
def served(env, kept: KeptCatalogue) -> Generator[httpx.Client]:
    """Only the catalogue, on a free port of loopback, in a thread, until the block ends."""
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()
    add_catalogue(app, env, kept)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=WAIT_S) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(WAIT_S)
    assert not thread.is_alive()


def refuse() -> None:
    raise AssertionError("nobody should have made it")


def test_a_catalogue_that_is_as_it_should_be_is_served_without_being_made(env):
    write_catalogue(catalogue_of(env), catalogue_path(env))
    with served(env, KeptCatalogue(env, refuse)) as client:
        front = client.get("/catalogue", follow_redirects=True)
        assert (front.status_code, front.url.path) == (200, "/catalogue/")
        assert "daily_sales" in front.text
        assert client.get("/catalogue/tables/marts/daily_sales.html").status_code == 200
        types = [client.get(f"/catalogue/{name}").headers["content-type"] for name in ("search.js", "entries.js", "style.css")]
        assert types == ["text/javascript; charset=utf-8"] * 2 + ["text/css; charset=utf-8"]


def test_every_page_forbids_what_is_not_its_own(env):
    write_catalogue(catalogue_of(env), catalogue_path(env))
    with served(env, KeptCatalogue(env, refuse)) as client:
        for path in ("/catalogue/", "/catalogue/tables/marts/daily_sales.html", "/catalogue/nothing"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"


def test_nothing_of_a_report_runs(env, tmp_path):
    report = tmp_path / "r.html"
    report.write_text("<script>alert(1)</script>")
    profile = Profile("profile/sales/daily_sales", "2026-01-02T03:04:05+00:00", 3, (), str(report))
    catalogue = catalogue_of(env)
    write_catalogue(replace(catalogue, tables=(replace(catalogue.tables[0], profile=profile),)), catalogue_path(env))
    with served(env, KeptCatalogue(env, refuse)) as client:
        answer = client.get("/catalogue/reports/marts/daily_sales.html")
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "script-src" not in policy
        assert policy.startswith("default-src 'none'")
        assert "sandbox" in policy


@pytest.mark.parametrize(
    "path", ["tables/marts/gone.html", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "values.py", "catalogue.txt"]
)
def test_what_is_no_page_is_not_found(env, path):
    write_catalogue(catalogue_of(env), catalogue_path(env))
    with served(env, KeptCatalogue(env, refuse)) as client:
        assert client.get(f"/catalogue/{path}").status_code == 404


def test_the_first_who_looks_waits_and_sees_it(env):
    kept = KeptCatalogue(env, lambda: write_catalogue(catalogue_of(env), catalogue_path(env)), patience_s=WAIT_S)
    with served(env, kept) as client:
        assert "daily_sales" in client.get("/catalogue/").text


def test_while_it_is_being_made_for_long_the_page_says_so_and_asks_again(env):
    go_on = threading.Event()
    with served(env, KeptCatalogue(env, lambda: go_on.wait(WAIT_S) and None, patience_s=0.01)) as client:
        answer = client.get("/catalogue/")
        assert (answer.status_code, answer.headers["refresh"]) == (503, "3")
        assert "is being made" in answer.text
        go_on.set()


def until(true: Callable[[], bool]) -> None:
    """Wait for it, at most `WAIT_S`."""
    waiting = threading.Event()
    for _ in range(WAIT_S * 50):
        if true():
            return
        waiting.wait(0.02)
    raise AssertionError("it did not come")


def test_old_news_are_served_at_once_and_made_anew_behind(env):
    write_catalogue(catalogue_of(env, age_s=3600), catalogue_path(env))
    begun, go_on = threading.Event(), threading.Event()

    def make() -> None:
        begun.set()
        go_on.wait(WAIT_S)
        write_catalogue(catalogue_of(env, table="marts.newer"), catalogue_path(env))

    kept = KeptCatalogue(env, make, patience_s=WAIT_S)
    with served(env, kept) as client:
        assert "daily_sales" in client.get("/catalogue/").text
        assert begun.wait(WAIT_S)
        assert "daily_sales" in client.get("/catalogue/").text
        go_on.set()
        until(lambda: "newer" in client.get("/catalogue/").text)


def test_a_new_version_is_what_the_next_one_sees(env, publish):
    publish()
    made = []

    def make() -> None:
        made.append(versions.current(env))
        write_catalogue(catalogue_of(env), catalogue_path(env))

    kept = KeptCatalogue(env, make, patience_s=WAIT_S)
    assert kept.current().version == versions.current(env)
    assert kept.current() is kept.current()
    kept._tried_s = float("-inf")
    publish()
    assert kept.current().version == versions.current(env)
    assert len(made) == len(set(made)) == 2


def test_what_cannot_be_made_is_tried_again_only_after_a_pause(env, caplog):
    attempts = []

    def make() -> None:
        attempts.append(1)
        raise RuntimeError("no definitions")

    kept = KeptCatalogue(env, make, patience_s=WAIT_S)
    assert kept.current() is None
    assert "no definitions" in caplog.text
    kept._patience_s = 0.01
    assert [kept.current() for _ in range(5)] == [None] * 5
    assert len(attempts) == 1
    kept._tried_s -= keeping.PAUSE_S
    kept._patience_s = WAIT_S
    kept.current()
    until(lambda: len(attempts) == 2)


def test_the_command_line_makes_it_for_the_api_and_says_why_it_cannot(env):
    with pytest.raises(RuntimeError, match="no_such_company"):
        make_elsewhere(replace(env, company="no_such_company"))


def test_the_api_imports_neither_dagster_nor_duckdb_for_the_catalogue(env):
    write_catalogue(catalogue_of(env), catalogue_path(env))
    text = f"""
import sys
from pathlib import Path
from caudal.environment import Environment
from caudal.serving.api import create_app
from caudal.serving.catalogue.site import content, paths
from caudal.serving.catalogue.values import read_catalogue
create_app(Environment("local", "shop", Path("/"), Path("/tmp")))
catalogue = read_catalogue(Path({str(catalogue_path(env))!r}))
assert all(content(catalogue, path) for path in paths(catalogue))
print([m for m in ("dagster", "duckdb", "pyarrow", "pandas") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert read_catalogue(catalogue_path(env)).tables
