"""Dagster's webserver with a door, roles, and an audit.

    python -m caudal.runtime.access serve --workspace workspace.yaml --host 127.0.0.1 --port 3000

Without `CAUDAL_ACCESS` it serves the person at this machine: no sign-in, and loopback only.
"""

from __future__ import annotations

import argparse
import ipaddress
import signal
import socket
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.declaration import DeclarationError
from caudal.environment import Environment
from caudal.runtime.access.sites import address_of, is_loopback

if TYPE_CHECKING:
    from caudal.runtime.access.settings import AccessSettings

#: How long requests that are going on may take when the server is told to end. The UI's websockets never end by themselves.
GRACE_S = 3
STATEMENT_TIMEOUT_MS, POOL_RECYCLE_S, POOL_OVERFLOW = 15_000, 3_600, 20


class CannotServe(RuntimeError):
    """The webserver does not start. The message says why and what to do."""


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m caudal.runtime.access serve", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True, help="Dagster's workspace file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--path-prefix", default="", help="the path under which a proxy has it, such as /dagster")
    given = parser.parse_args(argv)
    from caudal.runtime.access.settings import read_settings
    from caudal.runtime.access.tokens import LibraryMissing, require_library

    try:
        env = Environment.current()
        settings = read_settings(env.access) if env.access else None
        if settings is not None and settings.jwt is not None:
            require_library()
        with listening(given.host, given.port, loopback_only=settings is None) as listener, _signals_end():
            _serve(given.workspace, listener, env, settings, given.path_prefix.rstrip("/"))
    except (CannotServe, DeclarationError, LibraryMissing) as problem:
        print(f"The webserver does not start: {problem}", file=sys.stderr)  # noqa: T201
        return 1
    except _Ended:
        return 0
    return 0


@contextmanager
def listening(host: str, port: int, *, loopback_only: bool) -> Generator[socket.socket]:
    """A socket bound to `host` and `port`.

    Raises:
        CannotServe: the port is taken, the address is not this machine's, or it is not on loopback and has to be.
    """
    if loopback_only and not is_loopback(host):
        raise CannotServe(
            f"without a sign-in it serves the person at this machine only, and {host or 'every address'} can be reached by "
            "others. Use --host 127.0.0.1, or let CAUDAL_ACCESS name an access.yaml that says who may come in "
            "(docs/guide/operating.md, Roles)."
        )
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(kind)
    except OSError as problem:
        raise CannotServe(f"{host} is no address of this machine: {problem}") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as problem:
            raise CannotServe(f"{host}, port {port} cannot be had: {problem.strerror}") from None
        bound = address_of(listener.getsockname()[0]) or ipaddress.ip_address("0.0.0.0")  # noqa: S104
        if loopback_only and not bound.is_loopback:
            raise CannotServe(f"{host} leads to {bound} here, which is not loopback; use --host 127.0.0.1")
        yield listener


def _serve(workspace: Path, listener: socket.socket, env: Environment, settings: AccessSettings | None, prefix: str) -> None:
    import uvicorn
    from dagster import DagsterInstance
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.version import __version__

    from caudal.runtime.access.context import RoleProcessContext
    from caudal.runtime.access.server import build

    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MS, POOL_RECYCLE_S, POOL_OVERFLOW)
        with RoleProcessContext(instance, WorkspaceFileTarget([str(workspace)]), version=__version__) as process_context:
            config = uvicorn.Config(
                build(process_context, env, settings, prefix),
                log_level="warning",
                server_header=False,
                # The other end of the socket decides who may name a person: it is not rewritten by what a header claims.
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_S,
            )
            uvicorn.Server(config).run(sockets=[listener])


class _Ended(BaseException):
    """The process was asked to end."""


@contextmanager
def _signals_end() -> Generator[None]:
    """SIGTERM and SIGINT end what is within, in order; uvicorn raises them again when it has stopped serving."""

    def end(_signal: int, _frame: object) -> None:
        raise _Ended

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
