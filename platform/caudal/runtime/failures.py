"""Which failures pass by themselves, and which stay until somebody changes something. Judged by the type of the error.

Here too: what a failure says at its innermost.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster._utils.error import SerializableErrorInfo


class Kind(Enum):
    """What trying again is worth."""

    #: The same will happen again: a wrong declaration, contract, query or program.
    PERMANENT = "permanent"
    #: Somebody else was not there or was busy: it passes in seconds or minutes.
    TRANSIENT = "transient"
    #: Nobody knows. One more attempt tells.
    UNKNOWN = "unknown"


#: How often a step tries again after a transient failure, within its run, and the seconds before each attempt.
WAITS_S = (2.0, 10.0)

# By name, for the libraries are not imported to judge an error that is none of theirs.
_PERMANENT = frozenset(
    {
        *(f"builtins.{name}" for name in ("SyntaxError", "ImportError", "NameError", "AttributeError", "TypeError")),
        *(f"builtins.{name}" for name in ("NotImplementedError", "AssertionError", "PermissionError", "NotADirectoryError")),
        "caudal.declaration.DeclarationError",
        "caudal.environment.NoSecret",
        "caudal.environment.UnknownEnvironment",
        "caudal.transform.nodes.ManifestError",
        "caudal.warehouse.check.UnknownDataset",
        "caudal.warehouse.loading.ChangedTypes",
        "caudal.warehouse.repairs.UnusableRepairs",
        "dagster._core.errors.DagsterInvariantViolationError",
        "dagster._core.errors.DagsterInvalidDefinitionError",
        "google.api_core.exceptions.BadRequest",
        "google.api_core.exceptions.Forbidden",
        *(f"_duckdb.{name}" for name in ("BinderException", "CatalogException", "ParserException", "SyntaxException")),
        *(f"duckdb.{name}" for name in ("BinderException", "CatalogException", "ParserException", "SyntaxException")),
        "sqlite3.ProgrammingError",
    }
)
_TRANSIENT = frozenset(
    {
        "builtins.ConnectionError",
        "builtins.TimeoutError",
        "botocore.exceptions.ConnectionError",
        "botocore.exceptions.HTTPClientError",
        "caudal.sources.sqlite.SourceUnavailable",
        "caudal.store.objects.StoreUnreachable",
        "caudal.store.remote.Transient",
        "deltalake.exceptions.CommitFailedError",
        "_internal.CommitFailedError",
        *(f"google.api_core.exceptions.{name}" for name in ("ServerError", "TooManyRequests", "RetryError")),
        "google.auth.exceptions.TransportError",
        "httpx.TransportError",
        "psycopg2.OperationalError",
        "requests.exceptions.ConnectionError",
        "requests.exceptions.Timeout",
        "urllib3.exceptions.ProtocolError",
        "urllib3.exceptions.TimeoutError",
    }
)
_PASSING_ERRNO = frozenset(
    {errno.EAGAIN, errno.EBUSY, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.ESTALE}
)
_PASSING_HTTP = frozenset({408, 425, 429, 500, 502, 503, 504})
_BUSY = ("locked", "busy", "could not set lock", "conflicting lock")


def judge(error: BaseException) -> Kind:
    """What `error`, or else what it says that it comes from (`raise ... from`), is.

    An error that says `allow_retries = False`, as Dagster's `Failure` may, is permanent.
    """
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        kind = _judge_alone(following)
        if kind is not Kind.UNKNOWN:
            return kind
        following = following.__cause__
    return Kind.UNKNOWN


def wait_s(attempt: int) -> float | None:
    """How long to wait before trying a transient failure again; None if it was tried often enough.

    Args:
        attempt: how many attempts there were before the one that has failed.

    """
    return WAITS_S[attempt] if attempt < len(WAITS_S) else None


def innermost_message(error: SerializableErrorInfo | None) -> str:
    """The message at the bottom of a chain of causes, as one line; empty without an error."""
    while error is not None and error.cause is not None:
        error = error.cause
    return " ".join(error.message.split()) if error is not None else ""


def _judge_alone(error: BaseException) -> Kind:
    if getattr(error, "allow_retries", None) is False:
        return Kind.PERMANENT
    if _is_busy(error) or _is_passing_answer(error):
        return Kind.TRANSIENT
    for ancestor in type(error).__mro__:  # the nearest that is known: `TimeoutError` is an `OSError`
        name = f"{ancestor.__module__}.{ancestor.__qualname__}"
        if name in _TRANSIENT:
            return Kind.TRANSIENT
        if name in _PERMANENT:
            return Kind.PERMANENT
    return Kind.UNKNOWN


def _is_busy(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _PASSING_ERRNO:
        return True
    of_a_database = any(c.__qualname__ in {"OperationalError", "IOException"} for c in type(error).__mro__)
    return of_a_database and any(word in str(error).lower() for word in _BUSY)


def _is_passing_answer(error: BaseException) -> bool:
    if not any(c.__qualname__ in {"HTTPError", "HTTPStatusError"} for c in type(error).__mro__):
        return False
    answer = getattr(error, "response", error)
    return {getattr(answer, name, None) for name in ("code", "status", "status_code")} & _PASSING_HTTP != set()
