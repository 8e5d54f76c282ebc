"""The API over real HTTP."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime

import httpx
import pytest

from caudal.environment import Environment
from caudal.serving.api import create_app, main
from caudal.serving.online import ForecastTable, KeyedTable, publish_online
from tests.conftest import ROOT
from tests.services.servers import answers, free_port, until
from tests.serving.conftest import publish_shop

FORECASTS = ForecastTable("predictions.demand")
TABLES = (
    KeyedTable("dim_product", "marts.dim_product", "product_id"),
    KeyedTable("household", "marts.dim_household", "name"),
)
START_TIMEOUT_S = 120


@contextmanager
def served(env: Environment) -> Generator[httpx.Client]:
    """The API on a free port of loopback, in a thread, until the block ends."""
    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(env), log_level="error"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=START_TIMEOUT_S) as client:
        yield client
    server.should_exit = True
    thread.join(START_TIMEOUT_S)
    assert not thread.is_alive()


@pytest.fixture
def client(env: Environment) -> Iterator[httpx.Client]:
    with served(env) as client:
        yield client


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment that is published, and that no test changes."""
    env = Environment("local", "shop", ROOT, tmp_path_factory.mktemp("shop"))
    publish_shop(env)
    return env


@pytest.fixture(scope="module")
def online(shop):
    return publish_online(shop, FORECASTS, TABLES)


@pytest.fixture(scope="module")
def reader(shop, online) -> Iterator[httpx.Client]:
    with served(shop) as client:
        yield client


def test_before_anything_is_published_every_answer_is_503_and_says_what_to_do(client):
    for path in ("/health", "/v1/forecasts", "/v1/forecasts/DRUG GM", "/v1/tables", "/v1/tables/dim_product/1"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "Company shop has nothing online yet. Materialize its asset" in answer.json()["detail"]
    assert client.get("/openapi.json").status_code == 200


def test_what_is_published_while_the_api_runs_is_served(env, client, publish):
    assert client.get("/health").status_code == 503
    publish()
    publish_online(env, FORECASTS, TABLES)
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("path", "series"),
    [
        ("/v1/forecasts/DRUG GM", "DRUG GM"),
        ("/v1/forecasts/DRUG%20GM", "DRUG GM"),
        ("/v1/forecasts/MEAT-PCKGD", "MEAT-PCKGD"),
        ("/v1/forecasts/COUPON/STORE", "COUPON/STORE"),
        ("/v1/forecasts/COUPON%2FSTORE", "COUPON/STORE"),
    ],
)
def test_a_forecast_is_answered_with_its_days_and_the_version_of_its_model(reader, online, path, series):
    answer = reader.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert (told["series"], told["model_version"], told["store_version"]) == (series, "demand/1", online.version)
    assert [day["date"] for day in told["forecast"]] == ["2024-06-01", "2024-06-02", "2024-06-03"]
    assert told["forecast"][1] == {"date": "2024-06-02", "value": 2.5, "lower": 1.5, "upper": 3.5}


def test_a_row_is_answered_with_every_column(reader, online):
    answer = reader.get("/v1/tables/dim_product/9007199254740994")
    assert answer.text == (
        '{"table":"dim_product","key":"9007199254740994","row":{"product_id":9007199254740994,'
        '"price":1234567890123.10,"brand":null,"weight":0.1,"listed_at":"2024-01-02T03:04:05"},'
        f'"store_version":"{online.version}"}}'
    )


@pytest.mark.parametrize(
    ("path", "name"), [("O'Neil/Smith", "O'Neil/Smith"), ("O%27Neil%2FSmith", "O'Neil/Smith"), ("Zoë", "Zoë")]
)
def test_a_key_may_hold_any_character(reader, online, path, name):
    assert reader.get(f"/v1/tables/household/{path}").json()["row"]["name"] == name


@pytest.mark.parametrize(
    ("path", "detail", "closest"),
    [
        ("/v1/forecasts/drug", "No series 'drug' is forecast. There are: COUPON/STORE, DRUG GM, MEAT-PCKGD.", ["DRUG GM"]),
        ("/v1/forecasts/meat pckgd", "No series 'meat pckgd' is forecast.", ["MEAT-PCKGD"]),
        ("/v1/forecasts/x", "No series 'x' is forecast.", []),
        ("/v1/tables/dim_products/1", "There is no table 'dim_products'. There are: dim_product, household.", ["dim_product"]),
        ("/v1/tables/household/Bob", "Table household has no row whose name is 'Bob'; it has 3 rows.", ["O'Neil/Smith", "Zoë"]),
        ("/v1/tables/forecasts/DRUG GM", "There is no table 'forecasts'.", []),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(reader, online, path, detail, closest):
    answer = reader.get(path)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith(detail)
    assert answer.json()["closest"] == closest


def test_a_long_list_of_series_is_cut_short(env, client, publish):
    publish([f"s{number:03}" for number in range(50)])
    publish_online(env, FORECASTS, ())
    assert client.get("/v1/forecasts/t").json()["detail"].endswith("s019 and 30 more.")
    assert len(client.get("/v1/forecasts").json()["series"]) == 50


def test_a_store_without_forecasts_says_that_there_are_none(env, client, publish):
    publish()
    publish_online(env, None, TABLES)
    assert client.get("/v1/forecasts/a").json()["detail"] == "No series 'a' is forecast. There are none."


def test_the_lists_tell_what_there_is(reader, online):
    assert reader.get("/v1/forecasts").json()["series"] == ["COUPON/STORE", "DRUG GM", "MEAT-PCKGD"]
    assert reader.get("/v1/tables").json() == {
        "tables": [
            {"name": "dim_product", "relation": "marts.dim_product", "key": "product_id", "rows": 5},
            {"name": "household", "relation": "marts.dim_household", "key": "name", "rows": 3},
        ],
        "store_version": online.version,
    }


def test_health_tells_the_version_its_age_and_the_rows_of_each_table(reader, online):
    told = reader.get("/health").json()
    assert (told["status"], told["company"], told["version"]) == ("ok", "shop", online.version)
    assert told["rows"] == {"forecasts": 9, "dim_product": 5, "household": 3}
    assert 0 <= told["age_s"] < 3600
    assert datetime.fromisoformat(told["published_at"]).tzinfo is not None


def test_the_description_shows_examples_out_of_what_is_served_and_every_problem(reader, online):
    described = reader.get("/openapi.json").json()
    forecast = described["paths"]["/v1/forecasts/{series}"]["get"]
    assert forecast["parameters"][0]["example"] == "COUPON/STORE"
    example = forecast["responses"]["200"]["content"]["application/json"]["example"]
    assert example == reader.get("/v1/forecasts/COUPON/STORE").json()
    assert {"200", "404", "503"} <= set(forecast["responses"])
    row = described["paths"]["/v1/tables/{table}/{key}"]["get"]
    example = row["responses"]["200"]["content"]["application/json"]["example"]
    assert example == reader.get("/v1/tables/dim_product/9007199254740993").json()


def test_readers_never_fail_nor_see_half_a_version_while_versions_are_swapped(env, client, publish):
    publish(days=1, version="demand/1")
    publish_online(env, FORECASTS, TABLES)
    swaps, readers, stop = 12, 4, threading.Event()
    problems: list[str] = []
    count = [0] * readers

    def read(number: int) -> None:
        last = 0
        with httpx.Client(base_url=client.base_url, timeout=START_TIMEOUT_S) as mine:
            while not stop.is_set():
                answer = mine.get("/v1/forecasts/DRUG GM")
                told = answer.json()
                days = len(told.get("forecast", ()))
                if answer.status_code != 200 or told["model_version"] != f"demand/{days}" or days < last:
                    problems.append(f"{answer.status_code} {answer.text} after {last}")
                    return
                last = days
                count[number] += 1

    threads = [threading.Thread(target=read, args=(number,)) for number in range(readers)]
    for thread in threads:
        thread.start()
    try:
        for days in range(2, swaps + 2):
            publish(days=days, version=f"demand/{days}")
            publish_online(env, FORECASTS, TABLES)
    finally:
        stop.set()
        for thread in threads:
            thread.join(START_TIMEOUT_S)
    assert problems == []
    assert min(count) > swaps
    assert len(client.get("/v1/forecasts/DRUG GM").json()["forecast"]) == swaps + 1


def test_the_command_serves_a_company_and_ends_when_told(shop, online):
    port = free_port()
    command = [sys.executable, "-m", "caudal.serving.api", "--company", "shop", "--port", str(port)]
    variables = {**os.environ, "CAUDAL_DATA": str(shop.data), "CAUDAL_ROOT": str(shop.root)}
    process = subprocess.Popen(command, env=variables)
    try:
        until(lambda: answers(port), START_TIMEOUT_S, unless=lambda: process.poll() is not None)
        with httpx.Client(timeout=START_TIMEOUT_S) as client:
            assert client.get(f"http://127.0.0.1:{port}/health").json()["version"] == online.version
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_TIMEOUT_S)
    assert process.returncode in (0, -signal.SIGTERM)


def test_the_command_listens_on_loopback_unless_told_otherwise(env, monkeypatch):
    import uvicorn

    given = {}
    monkeypatch.setenv("CAUDAL_DATA", str(env.data))
    monkeypatch.setattr(uvicorn, "run", lambda app, **settings: given.update(settings, title=app.title))
    main([])
    assert (given["host"], given["port"], given["title"]) == ("127.0.0.1", 8765, "shop: forecasts and tables")
    main(["--company", "retail", "--host", "0.0.0.0", "--port", "80"])
    assert (given["host"], given["port"], given["title"]) == ("0.0.0.0", 80, "retail: forecasts and tables")
