"""The catalogue at `/catalogue/`: the same pages as the site in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.serving.catalogue.frame import POLICY
from caudal.serving.catalogue.kept import KeptCatalogue
from caudal.serving.catalogue.site import FRONT, content, media_type

if TYPE_CHECKING:
    from fastapi import FastAPI

    from caudal.environment import Environment

ROOT = "/catalogue"

_HEADERS = {
    "Content-Security-Policy": f"{POLICY.replace(' file:', '')}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
#: A report brings its own style and pictures, and nothing that runs.
_OF_REPORTS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
}
_NOT_YET = (
    "<!doctype html><meta charset=utf-8><title>Catalogue</title><p>The catalogue is being made. This page asks again in some "
    "seconds. If it stays, the log of the API says why."
)


def add_catalogue(app: FastAPI, env: Environment, kept: KeptCatalogue | None = None) -> None:
    """Serve the catalogue of `env`. It is made when somebody looks."""
    from fastapi.responses import PlainTextResponse, RedirectResponse, Response

    source = kept or KeptCatalogue(env)

    @app.get(ROOT, include_in_schema=False)
    def front() -> Response:
        return RedirectResponse(f".{ROOT}/", 307)

    # No coroutine: it may wait for the process that makes the catalogue, and others are answered meanwhile.
    @app.get(f"{ROOT}/{{path:path}}", include_in_schema=False)
    def page(path: str) -> Response:
        catalogue = source.current()
        if catalogue is None:
            return Response(_NOT_YET, 503, {**_HEADERS, "Refresh": "3", "Retry-After": "3"}, "text/html; charset=utf-8")
        found = content(catalogue, path or FRONT)
        if found is None:
            return PlainTextResponse("The catalogue has no such page. The table may be gone: see /catalogue/.", 404, _HEADERS)
        headers = {**_HEADERS, **_OF_REPORTS} if path.startswith("reports/") else _HEADERS
        return Response(found, 200, headers, media_type(path or FRONT))
