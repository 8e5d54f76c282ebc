"""The HTTP API: forecasts and rows by key, out of the online store.

    python -m caudal.serving.api --company shop --host 127.0.0.1 --port 8765

A request reads one SQLite row of an immutable file; it never opens the warehouse. Names may hold slashes and
spaces: `COUPON/STORE` is asked for as it is or as `COUPON%2FSTORE`. Interactive documentation is at `/docs`.
"""

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from caudal.environment import Environment
from caudal.serving.answers import (
    ForecastAnswer,
    HealthAnswer,
    Problem,
    RowAnswer,
    SeriesAnswer,
    TableAnswer,
    TablesAnswer,
)
from caudal.serving.catalogue.routes import add_catalogue
from caudal.serving.reader import NothingOnline, OnlineReader, OpenVersion

if TYPE_CHECKING:
    from fastapi import FastAPI

SHOWN_NAMES = 20


class NotFound(LookupError):
    """There is no such series, table or row. `closest` are names that exist."""

    def __init__(self, detail: str, closest: Sequence[str]) -> None:
        super().__init__(detail)
        self.detail = detail
        self.closest = list(closest)


def create_app(env: Environment) -> "FastAPI":
    """The API of one company in one environment. It starts before anything is published, and then answers
    503.
    """
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse

    reader = OnlineReader(env)
    app = FastAPI(
        title=f"{env.company}: forecasts and tables",
        description="Reads the online store, which the last stage of the platform publishes.",
        version="1",
        responses={503: {"model": Problem, "description": "Nothing has been published yet."}},
    )

    @app.exception_handler(NothingOnline)
    async def nothing_online(_request: object, problem: NothingOnline) -> JSONResponse:
        return JSONResponse(Problem(detail=str(problem)).model_dump(), 503)

    @app.exception_handler(NotFound)
    async def not_found(_request: object, problem: NotFound) -> JSONResponse:
        return JSONResponse(Problem(detail=problem.detail, closest=problem.closest).model_dump(), 404)

    _add_routes(app, env, reader)
    add_catalogue(app, env)
    app.openapi = lambda: _with_examples(app, reader)
    return app


def _add_routes(app: "FastAPI", env: Environment, reader: OnlineReader) -> None:
    from fastapi import Response

    missing: dict[int | str, dict[str, Any]] = {
        404: {"model": Problem, "description": "There is no such thing; says what there is."}
    }

    @app.get("/health", response_model=HealthAnswer, tags=["health"])
    async def health() -> HealthAnswer:
        """What is served and how old it is. 503 until something is."""
        current = reader.current()
        age = datetime.now(UTC) - datetime.fromisoformat(current.published_at)
        return HealthAnswer(
            status="ok",
            company=env.company,
            version=current.version,
            warehouse_version=current.warehouse_version,
            published_at=current.published_at,
            age_s=round(age.total_seconds(), 3),
            rows={name: content.rows for name, content in current.contents.items()},
        )

    @app.get("/v1/forecasts", response_model=SeriesAnswer, tags=["forecasts"])
    async def all_series() -> SeriesAnswer:
        """The series that are forecast."""
        current = reader.current()
        return SeriesAnswer(series=list(current.series), store_version=current.version)

    @app.get("/v1/forecasts/{series:path}", response_model=ForecastAnswer, tags=["forecasts"], responses=missing)
    async def forecast(series: str) -> Response:
        """The forecast of one series, such as a department: every day ahead, with bounds and the model's
        version.
        """
        current = reader.current()
        body = current.forecast(series)
        if body is None:
            raise NotFound(
                f"No series {series!r} is forecast. {_exist(current.series)}",
                _closest(series, current.series),
            )
        return _json(Response, body, store_version=current.version)

    @app.get("/v1/tables", response_model=TablesAnswer, tags=["tables"])
    async def all_tables() -> TablesAnswer:
        """The tables that rows can be looked up in."""
        current = reader.current()
        tables = [TableAnswer(name=t.name, relation=t.relation, key=t.key, rows=t.rows) for t in current.tables.values()]
        return TablesAnswer(tables=tables, store_version=current.version)

    @app.get("/v1/tables/{table}/{key:path}", response_model=RowAnswer, tags=["tables"], responses=missing)
    async def row(table: str, key: str) -> Response:
        """One row of a table, by its key."""
        current = reader.current()
        content = current.tables.get(table)
        if content is None:
            names = sorted(current.tables)
            raise NotFound(f"There is no table {table!r}. {_exist(names)}", _closest(table, names))
        body = current.row(table, key)
        if body is None:
            raise NotFound(
                f"Table {table} has no row whose {content.key} is {key!r}; it has {content.rows} rows.",
                current.keys_near(table, key),
            )
        answer = f'{{"table":{json.dumps(table)},"key":{json.dumps(key)},"row":{body}}}'
        return _json(Response, answer, store_version=current.version)


def _json(response: type, body: str, store_version: str) -> Any:
    """`body`, a JSON object, with one more field; its numbers are passed on as they are written."""
    return response(f'{body[:-1]},"store_version":{json.dumps(store_version)}}}', media_type="application/json")


def _closest(name: str, names: Sequence[str]) -> list[str]:
    by_upper = {known.upper(): known for known in names}
    return [by_upper[match] for match in get_close_matches(name.upper(), by_upper, n=3, cutoff=0.5)]


def _exist(names: Sequence[str]) -> str:
    if not names:
        return "There are none."
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"There are: {', '.join(names[:SHOWN_NAMES])}{more}."


def _with_examples(app: "FastAPI", reader: OnlineReader) -> dict[str, Any]:
    """The OpenAPI description, its examples taken from what is served now."""
    from fastapi.openapi.utils import get_openapi

    described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    try:
        current = reader.current()
    except NothingOnline:
        return described
    if current.series:
        series = current.series[0]
        operation = described["paths"]["/v1/forecasts/{series}"]["get"]
        _show(operation, {"series": series}, json.loads(current.forecast(series) or "{}"), current)
    for table in current.tables.values():
        key = current.keys_near(table.name, "", limit=1)
        if key:
            operation = described["paths"]["/v1/tables/{table}/{key}"]["get"]
            row = json.loads(current.row(table.name, key[0]) or "{}")
            _show(
                operation,
                {"table": table.name, "key": key[0]},
                {"table": table.name, "key": key[0], "row": row},
                current,
            )
            break
    return described


def _show(operation: dict[str, Any], parameters: dict[str, str], answer: dict[str, Any], current: OpenVersion) -> None:
    for parameter in operation["parameters"]:
        parameter["example"] = parameters[parameter["name"]]
    content = operation["responses"]["200"]["content"]["application/json"]
    content["example"] = {**answer, "store_version": current.version}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve one company until the process is told to end."""
    import uvicorn

    parser = argparse.ArgumentParser(prog="python -m caudal.serving.api", description=__doc__.partition("\n")[0])
    parser.add_argument("--company", default=None, help="the code location whose store is served")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args(arguments)
    uvicorn.run(create_app(Environment.current(given.company)), host=given.host, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
