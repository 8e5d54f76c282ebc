"""The door: no request comes past it without an identity, and none that another site's page made a browser send."""

from __future__ import annotations

import asyncio
import hmac
import html
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from caudal.runtime.access.identity import (
    SCOPE_KEY,
    Headers,
    Identity,
    NotAdmitted,
    admitted,
    from_proxy,
    local_user,
    only,
)
from caudal.runtime.access.roles import REPORTS, Role
from caudal.runtime.access.settings import AccessSettings
from caudal.runtime.access.sites import address_of, cross_site, host_of, is_loopback
from caudal.runtime.access.tokens import Tokens

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

READING = frozenset({"GET", "HEAD", "OPTIONS"})
#: Closes a websocket whose sign-in has expired; the UI opens a new one with a new sign-in.
EXPIRED = 4401
_log = logging.getLogger(__name__)


class Recognition(Protocol):
    """How people are recognized."""

    @property
    def origins(self) -> frozenset[str]:
        """Addresses under which browsers know this webserver, besides the `Host` that they send."""
        ...

    def identity(self, headers: Headers, address: str | None) -> Identity:
        """Who asks.

        Raises:
            NotAdmitted: nobody who may come in.
        """
        ...


@dataclass(frozen=True)
class SingleUser:
    """No sign-in: who reaches this machine's loopback is its user. A name that leads here by somebody else's DNS is not."""

    user: Identity = field(default_factory=local_user)
    origins: frozenset[str] = frozenset()

    def identity(self, headers: Headers, address: str | None) -> Identity:
        peer = address_of(address or "")
        if peer is None or not peer.is_loopback:
            raise NotAdmitted("This webserver serves the person at its machine only.", 403)
        host = host_of(only(headers, "host") or "")
        if host is None or not is_loopback(host):
            raise NotAdmitted("This webserver answers to localhost and 127.0.0.1 only, and was called by another name.", 403)
        return self.user


@dataclass(frozen=True)
class SignedIn:
    """People are recognized as `access.yaml` says."""

    settings: AccessSettings
    tokens: Tokens | None
    origins: frozenset[str]

    @classmethod
    def by(cls, settings: AccessSettings) -> SignedIn:
        return cls(settings, Tokens(settings.jwt) if settings.jwt else None, frozenset(settings.origins))

    def identity(self, headers: Headers, address: str | None) -> Identity:
        person = self.tokens.person(headers) if self.tokens else None
        if person is None and self.settings.proxy is not None:
            person = from_proxy(self.settings.proxy, headers, address)
        if person is None:
            raise NotAdmitted("Nobody is signed in. Open this page through your company's sign-in; this server has none.")
        return admitted(person, self.settings.roles)


@dataclass
class Door:
    """ASGI middleware, outside of everything else.

    Attributes:
        app: the webserver.
        recognition: how people are recognized.
        prefix: the path under which the webserver is, such as `/dagster`; empty at the root.
        metrics_token: with it, `/metrics` can be read by a program that is nobody.
        local_token: with it, a program of this machine is a viewer; see `caudal.runtime.access.local_token`.
    """

    app: App
    recognition: Recognition
    prefix: str = ""
    metrics_token: Callable[[], bytes | None] = lambda: None
    local_token: Callable[[], bytes | None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"] == f"{self.prefix}/health":
            await _answer(send, HTTPStatus.OK, "text/plain", "ok\n")
            return
        try:
            identity = await self._identity(scope)
            self._from_own_page(scope)
        except NotAdmitted as refusal:
            _log.info("Not admitted to %s from %s: %s", scope["path"], _address(scope), refusal)
            await _refuse(scope, receive, send, refusal)
            return
        scope[SCOPE_KEY] = identity
        if scope["type"] == "websocket" and identity.expires_s is not None:
            receive = _until(identity.expires_s, receive, send)
        await self.app(scope, receive, _unframed(send))

    async def _identity(self, scope: Scope) -> Identity:
        from starlette.concurrency import run_in_threadpool

        if scope["type"] not in ("http", "websocket"):
            raise NotAdmitted(f"{scope['type']} is not spoken here.", 400)
        headers: Headers = scope["headers"]
        if scope["type"] == "http" and scope["path"] == f"{self.prefix}/metrics" and await _bears(headers, self.metrics_token):
            return Identity("metrics", Role.VIEWER, "metrics_token")
        peer = address_of(_address(scope) or "")
        if peer is not None and peer.is_loopback and await _bears(headers, self.local_token):
            return Identity("caudal", Role.VIEWER, "local_token")
        return await run_in_threadpool(self.recognition.identity, headers, _address(scope))

    def _from_own_page(self, scope: Scope) -> None:
        """Raises NotAdmitted if a page of another site makes the browser change something, or listen on a websocket."""
        if scope["type"] == "http":
            if scope["method"] in READING:
                return
            if scope["method"] != "POST" or not self._takes_posts(scope["path"]):
                raise NotAdmitted(f"{scope['method']} is not possible here.", 405)
        headers: Headers = scope["headers"]
        problem = cross_site(
            site=only(headers, "sec-fetch-site"),
            origin=only(headers, "origin"),
            host=only(headers, "host"),
            origins=self.recognition.origins,
        )
        if problem:
            raise NotAdmitted(
                f"Refused: {problem}. If that is an address of this webserver, name it below origins in access.yaml.", 403
            )

    def _takes_posts(self, path: str) -> bool:
        if not path.startswith(f"{self.prefix}/"):
            return False
        first, _, rest = path.removeprefix(f"{self.prefix}/").partition("/")
        return first in REPORTS or (first == "graphql" and path.endswith("/graphql") and not rest)


async def _bears(headers: Headers, token: Callable[[], bytes | None]) -> bool:
    """Whether the request brings the token; how long the answer takes does not tell how much of it was right."""
    from starlette.concurrency import run_in_threadpool

    scheme, _, given = (only(headers, "authorization") or "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    expected = await run_in_threadpool(token)
    return expected is not None and hmac.compare_digest(given.strip().encode(), expected)


def _address(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def _until(expires_s: float, receive: Receive, send: Send) -> Receive:
    """`receive` of a websocket, which ends with the sign-in."""

    async def received() -> Message:
        try:
            return await asyncio.wait_for(receive(), max(0.0, expires_s - time.time()))
        except TimeoutError:
            await send({"type": "websocket.close", "code": EXPIRED, "reason": "The sign-in has expired"})
            return {"type": "websocket.disconnect", "code": EXPIRED, "reason": "The sign-in has expired"}

    return received


def _unframed(send: Send) -> Send:
    """No page of another site shows this one in a frame, where a person could be made to click without seeing it."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-frame-options", b"SAMEORIGIN")]
        await send(message)

    return sent


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: NotAdmitted) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": EXPIRED, "reason": "Not signed in"})
        return
    if scope["type"] != "http":
        return
    status = HTTPStatus(refusal.status)
    accepted = b",".join(value for name, value in scope["headers"] if name.lower() == b"accept")
    if b"text/html" in accepted:
        page = (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{status.phrase}</title>"
            f"<body style='font-family:sans-serif;max-width:40em;margin:4em auto'><h1>{status.phrase}</h1>"
            f"<p>{html.escape(str(refusal))}</p></body></html>\n"
        )
        await _answer(send, status, "text/html; charset=utf-8", page)
    else:
        await _answer(send, status, "text/plain; charset=utf-8", f"{refusal}\n")


async def _answer(send: Send, status: HTTPStatus, kind: str, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if status is HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
