"""Dagster's webserver behind the door, with the gate before all that it changes."""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_webserver.webserver import DagsterWebserver
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from caudal.environment import Environment
from caudal.runtime.access import local_token
from caudal.runtime.access.audit import Audit, audit_folder
from caudal.runtime.access.context import RoleProcessContext, RoleRequestContext
from caudal.runtime.access.door import Door, Recognition, SignedIn, SingleUser
from caudal.runtime.access.gate import Asked, Gate, Refused, refused_by
from caudal.runtime.access.roles import REPORTS
from caudal.runtime.access.settings import AccessSettings
from caudal.runtime.access.subscriptions import mutations_in

if TYPE_CHECKING:
    from graphene import Schema
    from graphql import GraphQLError, GraphQLFormattedError
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.websockets import WebSocket

POLL_RATE_MS = 2000

#: Above all else on the page, and in the way of no click.
_BRANCH_MARK = (
    '<div id="caudal-branch" style="position:fixed;z-index:2147483647;bottom:0;left:50%;transform:translateX(-50%);'
    "pointer-events:none;padding:6px 20px;border-radius:8px 8px 0 0;background:#9a3412;color:#fff;"
    'font:600 14px system-ui,sans-serif">Branch {branch}: not production</div>'
)


class RoleWebserver(DagsterWebserver[RoleProcessContext, RoleRequestContext]):
    """Dagster's webserver, of which nothing is reached but through a `Door`, and nothing is changed but through a `Gate`."""

    def __init__(
        self,
        process_context: RoleProcessContext,
        env: Environment,
        recognition: Recognition,
        gate: Gate,
        *,
        prefix: str = "",
        metrics_token_file: Path | None = None,
    ) -> None:
        self._env = env
        self._recognition = recognition
        self._gate = gate
        self._prefix = prefix
        self._metrics_token_file = metrics_token_file
        super().__init__(process_context, prefix, POLL_RATE_MS)

    def build_graphql_schema(self) -> Schema:
        schema = super().build_graphql_schema()
        self._gate.guard(schema.graphql_schema)
        return schema

    def build_middleware(self) -> list[Middleware]:
        door = Middleware(
            Door,
            recognition=self._recognition,
            prefix=self._prefix,
            metrics_token=self._metrics_token,
            local_token=lambda: local_token.current(self._env.dagster_home),
        )
        return [door, *super().build_middleware()]

    def build_routes(self) -> list[Any]:
        return [Route(f"{self._prefix}/metrics", self.metrics_endpoint), *super().build_routes()]

    def index_html_endpoint(self, request: Request) -> HTMLResponse:
        """Dagster's page; in the environment of a branch it says so, wherever one is."""
        page = super().index_html_endpoint(request)
        if self._env.branch is None:
            return page
        said = _BRANCH_MARK.format(branch=html.escape(self._env.branch))
        headers = {name: value for name, value in page.headers.items() if name not in ("content-length", "content-type")}
        return HTMLResponse(bytes(page.body).decode().replace("</body>", f"{said}</body>", 1), headers=headers)

    # GraphQL

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """One operation a request, as Dagster does it; what is none is told so, and not answered with a stack trace."""
        if request.method == "POST" and "application/json" in request.headers.get("content-type", ""):
            try:
                body = await request.json()
            except ValueError:
                return PlainTextResponse("The request is no JSON.\n", 400)
            if not isinstance(body, dict) or not isinstance(body.get("query"), str):
                return PlainTextResponse('Expected one operation: {"query": "...", "variables": {...}}.\n', 400)
        return await super().graphql_http_endpoint(request)

    def handle_graphql_errors(self, errors: Sequence[GraphQLError]) -> list[Any]:
        """As Dagster does it, but a refusal comes without a stack trace."""
        return [
            error.formatted if refused_by(error) else super(RoleWebserver, self).handle_graphql_errors([error])[0]
            for error in errors
        ]

    def _determine_status_code(self, resolver_errors: list[GraphQLError] | None, captured_errors: list[Exception]) -> int:
        refusal = next(filter(None, map(refused_by, resolver_errors or ())), None)
        return refusal.status if refusal else super()._determine_status_code(resolver_errors, captured_errors)

    async def execute_graphql_subscription(
        self, websocket: WebSocket, operation_id: str, query: str, variables: dict[str, Any] | None, operation_name: str | None
    ) -> tuple[asyncio.Task[None] | None, GraphQLFormattedError | None]:
        """A websocket carries subscriptions. A mutation on it is refused to everybody, and written down."""
        for name, needed, arguments in mutations_in(query, variables):
            asked = Asked.by(websocket, name, needed, arguments)
            with self.request_context(websocket) as context:
                identity = context.identity
            try:
                await run_in_threadpool(self._gate.open, identity, asked)
            except Refused as refusal:
                return None, {"message": str(refusal), "extensions": refusal.extensions}
        return await super().execute_graphql_subscription(websocket, operation_id, query, variables, operation_name)

    # Routes that report events

    async def report_asset_materialization_endpoint(self, request: Request) -> JSONResponse:
        return await self._reported("report_asset_materialization", request, super().report_asset_materialization_endpoint)

    async def report_asset_check_endpoint(self, request: Request) -> JSONResponse:
        return await self._reported("report_asset_check", request, super().report_asset_check_endpoint)

    async def report_asset_observation_endpoint(self, request: Request) -> JSONResponse:
        return await self._reported("report_asset_observation", request, super().report_asset_observation_endpoint)

    async def _reported(
        self, name: str, request: Request, report: Callable[[Request], Awaitable[JSONResponse]]
    ) -> JSONResponse:
        asked = Asked.by(request, name, REPORTS[name], await _report_arguments(request))
        with self.request_context(request) as context:
            identity = context.identity
        try:
            attempt = await run_in_threadpool(self._gate.open, identity, asked)
        except Refused as refusal:
            return JSONResponse({"error": str(refusal)}, refusal.status)
        try:
            answer = await report(request)
        except BaseException as problem:
            attempt.ended("failed", error=type(problem).__name__)
            raise
        await run_in_threadpool(attempt.ended, "succeeded" if answer.status_code < 400 else "failed", status=answer.status_code)
        return answer

    # Metrics

    async def metrics_endpoint(self, _request: Request) -> Response:
        """What Prometheus scrapes."""
        try:
            from caudal.runtime import metrics
        except ImportError as problem:
            return PlainTextResponse(f"There are no metrics: {problem}\n", 404)
        content = await run_in_threadpool(metrics.render, self._process_context.instance, self._env)
        return Response(content, media_type=metrics.CONTENT_TYPE)

    def _metrics_token(self) -> bytes | None:
        """The token of the scraper, read each time: it may be rotated. None if there is none."""
        try:
            return self._metrics_token_file.read_bytes().strip() or None if self._metrics_token_file else None
        except OSError:
            return None


async def _report_arguments(request: Request) -> Mapping[str, Any]:
    """What a report says: the path's asset key, the query's parameters, the body's fields."""
    said: dict[str, Any] = dict(request.query_params)
    try:
        body = await request.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        said |= body
    key = request.path_params.get("asset_key")
    path = key.split("/") if key else said.get("asset_key")
    return said | ({"assetKey": {"path": path if isinstance(path, list) else [str(path)]}} if path else {})


def build(
    process_context: RoleProcessContext, env: Environment, settings: AccessSettings | None, prefix: str = ""
) -> Starlette:
    """The webserver as an ASGI application; for one person at this machine if there are no settings."""
    audit = Audit(audit_folder(env.logs))
    if settings is not None:
        audit = Audit(audit.folder, settings.audit.rotate_bytes, settings.audit.keep_files)
    server = RoleWebserver(
        process_context,
        env,
        SignedIn.by(settings) if settings else SingleUser(),
        Gate(audit),
        prefix=prefix,
        metrics_token_file=settings.metrics_token_file if settings else None,
    )
    return server.create_asgi_app(lifespan=_lifespan)


@asynccontextmanager
async def _lifespan(_app: object) -> AsyncGenerator[None]:
    yield
