"""The one place that every mutation passes: decides by role, writes the audit, and only then lets it happen.

It stands before the resolver of each field of the schema's mutation type. Whatever carries a mutation there (POST, GET, a
websocket) and however it is written (aliases, fragments, several operations in one document), the field is resolved by this.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from caudal.runtime.access.audit import Audit, AuditUnavailable
from caudal.runtime.access.identity import Identity
from caudal.runtime.access.redaction import LIMIT_DEPTH, redacted, tag_names, targets
from caudal.runtime.access.roles import BUDGET_TAGS, PLACEMENT_TAGS, REPORTS, Role, needed_for_mutation
from caudal.warehouse.bigquery.budgets import BUDGET_BY_TAG, BUDGET_TAG

if TYPE_CHECKING:
    from graphql import GraphQLError, GraphQLSchema
    from starlette.requests import HTTPConnection

#: Content types that a page of another site cannot send without asking first.
CONTENT_TYPES = frozenset({"application/json", "application/graphql"})
_log = logging.getLogger(__name__)


class Refused(Exception):
    """A mutation that does not happen. The message is for the person who asked for it.

    Attributes:
        status: of HTTP.
        extensions: what GraphQL adds to the error, for programs.
    """

    def __init__(self, message: str, code: str = "FORBIDDEN", status: int = 403) -> None:
        super().__init__(message)
        self.status = status
        self.extensions = {"code": code}


@dataclass(frozen=True)
class Asked:
    """A mutation somebody asks for.

    Attributes:
        name: of the mutation, or of the route.
        needed: the role.
        arguments: as they arrived.
        address: of the socket's other end: the person's machine, or the proxy before this webserver.
        forwarded_for: what `X-Forwarded-For` claims, None without it.
        how: `POST application/json`, `GET`, `websocket`.
        inherited: names of the tags of the run or backfill that is started again.
    """

    name: str
    needed: Role
    arguments: Mapping[str, Any]
    address: str | None
    forwarded_for: str | None
    how: str
    inherited: tuple[str, ...] = ()

    @classmethod
    def by(cls, connection: HTTPConnection, name: str, needed: Role, arguments: Mapping[str, Any]) -> Asked:
        """What the connection asks for."""
        how = "websocket"
        if connection.scope["type"] == "http":
            kind = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
            how = f"{connection.scope['method']} {kind}".strip()
        forwarded = connection.headers.get("x-forwarded-for")
        address = connection.client.host if connection.client else None
        return cls(name, needed, arguments, address, forwarded[:200] if forwarded else None, how)


@dataclass
class Attempt:
    """A mutation that was let through, until its outcome is written."""

    audit: Audit
    mark: str
    name: str
    who: str

    def ended(self, outcome: str, **more: object) -> None:
        """Write the outcome. The mutation has happened: if that cannot be written, the log says so."""
        try:
            self.audit.write({"id": self.mark, "who": self.who, "what": self.name, "outcome": outcome, **more})
        except AuditUnavailable:
            _log.exception("%s by %s ended (%s), and this could not be written to the audit", self.name, self.who, outcome)


@dataclass
class Gate:
    """Lets through what a role may do, and writes down everything that was asked for."""

    audit: Audit

    def open(self, identity: Identity, asked: Asked) -> Attempt:
        """Let the mutation happen.

        Raises:
            Refused: the role may not, it came in a way that a page of another site could use, or it cannot be written down.
        """
        refusal = _refusal(identity, asked)
        mark = uuid4().hex
        record = {
            "id": mark,
            "who": identity.name,
            "role": identity.role.value,
            "by": identity.source,
            "address": asked.address,
            "forwarded_for": asked.forwarded_for,
            "how": asked.how,
            "what": asked.name,
            "target": targets(asked.arguments),
            "arguments": redacted(asked.arguments),
            "outcome": "refused" if refusal else "asked",
        }
        if refusal:
            record["reason"] = str(refusal)
        try:
            self.audit.write(record)
        except AuditUnavailable as problem:
            _log.exception("%s by %s is refused, for it cannot be written to the audit", asked.name, identity.name)
            if refusal is None:
                raise Refused(
                    f"{asked.name} is refused: nothing is changed that cannot be written to the audit, and that fails at the "
                    "moment. Tell whoever runs this platform; the webserver's log says why.",
                    "AUDIT_UNAVAILABLE",
                    503,
                ) from problem
        if refusal:
            raise refusal
        return Attempt(self.audit, mark, asked.name, identity.name)

    def guard(self, schema: GraphQLSchema) -> None:
        """Put this gate before every mutation of the schema."""
        if schema.mutation_type is None:
            raise RuntimeError("Dagster's GraphQL schema has no mutation type; the gate does not know what to stand before")
        for name, field in schema.mutation_type.fields.items():
            if field.resolve is None:
                raise RuntimeError(f"Dagster's mutation {name} has no resolver of its own; the gate cannot stand before it")
            field.resolve = self._before(name, field.resolve)

    def _before(self, name: str, resolve: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(root: object, info: Any, **arguments: Any) -> Any:
            context = info.context
            asked = Asked.by(context.source, name, needed_for_mutation(name), arguments)
            attempt = self.open(context.identity, replace(asked, inherited=_inherited(context, arguments)))
            sign(arguments, context.identity.name)
            try:
                result = resolve(root, info, **arguments)
            except BaseException as problem:
                attempt.ended("failed", error=type(problem).__name__)
                raise
            if isawaitable(result):
                return _awaited(result, attempt)
            outcome, more = _outcome(result)
            attempt.ended(outcome, **more)
            return result

        return guarded


async def _awaited(result: Awaitable[Any], attempt: Attempt) -> Any:
    try:
        found = await result
    except BaseException as problem:
        attempt.ended("failed", error=type(problem).__name__)
        raise
    outcome, more = _outcome(found)
    attempt.ended(outcome, **more)
    return found


def _refusal(identity: Identity, asked: Asked) -> Refused | None:
    """Why the mutation does not happen, None if it may."""
    if not identity.role.covers(asked.needed):
        return Refused(f"{asked.name} needs the role {asked.needed.value}; {identity.name} is {identity.role.value} here.")
    placed = next((name for name in tag_names(asked.arguments) if name.strip().startswith(PLACEMENT_TAGS)), None)
    if placed is not None and not identity.role.covers(Role.ADMIN):
        return Refused(f"The tag {placed} decides where and as whom a run is executed, which needs the role admin.")
    ignores = any(name.strip() in BUDGET_TAGS for name in (*tag_names(asked.arguments), *asked.inherited))
    if ignores and not identity.role.covers(Role.ADMIN):
        return Refused(f"A run with the tag {BUDGET_TAG} spends whatever its budget says, which needs the role admin.")
    verb, _, kind = asked.how.partition(" ")
    if verb != "POST" or (kind not in CONTENT_TYPES and (kind or asked.name not in REPORTS)):
        return Refused(
            f"{asked.name} changes something: send it as POST with Content-Type: application/json (this was {asked.how}). "
            "Everything else could be sent by a page of another site.",
            "NOT_A_POST",
        )
    return None


def _inherited(context: Any, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the tags that a run or backfill has from the one that it repeats."""
    again = next((value for key, value in arguments.items() if key.lower() == "reexecutionparams"), None)
    if again is None:
        return ()
    parent = str(again.get("parentRunId") or again.get("parent_run_id") or "")
    found = context.instance.get_run_by_id(parent) or context.instance.get_backfill(parent)
    return tuple(found.tags) if found is not None else ()


def sign(arguments: Any, who: str, depth: int = LIMIT_DEPTH) -> None:
    """Have each list of tags that ignores a budget say who asked for it, in place; what else it says of that goes."""
    if depth == 0:
        return
    if isinstance(arguments, list):
        names = [each["key"].strip() for each in arguments if isinstance(each, Mapping) and set(each) == {"key", "value"}]
        if any(name in BUDGET_TAGS for name in names):
            arguments[:] = [each for each in arguments if each["key"].strip() != BUDGET_BY_TAG]
            arguments.append({"key": BUDGET_BY_TAG, "value": who})
            return
    inner = arguments.values() if isinstance(arguments, Mapping) else arguments if isinstance(arguments, list) else ()
    for each in inner:
        sign(each, who, depth - 1)


def _outcome(result: Any) -> tuple[str, dict[str, Any]]:
    """Whether a resolver's result means that it happened, its type, and the run that came of it."""
    kind = getattr(getattr(type(result), "_meta", None), "name", None)
    more: dict[str, Any] = {} if kind is None else {"result": kind}
    run = getattr(getattr(result, "run", None), "runId", None) or getattr(getattr(result, "run", None), "run_id", None)
    if isinstance(run, str):
        more["run"] = run
    backfill = getattr(result, "backfill_id", None)
    if isinstance(backfill, str):
        more["backfill"] = backfill
    interfaces = [interface._meta.name for interface in getattr(getattr(type(result), "_meta", None), "interfaces", None) or ()]  # noqa: SLF001
    failed = result is None or "Error" in interfaces or (kind or "").endswith("Error")
    return ("failed" if failed else "succeeded"), more


def refused_by(error: GraphQLError) -> Refused | None:
    """The refusal that the error tells of, None if it is about something else."""
    return error.original_error if isinstance(error.original_error, Refused) else None
