"""Going back to a kept version: of one table or view, or of everything. That is a new version: nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.warehouse import versions
from caudal.warehouse.candidate import Candidate, open_candidate
from caudal.warehouse.versions import Cause

if TYPE_CHECKING:
    from caudal.environment import Environment

#: What is no table of the file: views of Delta Lake tables, and our own.
_NOT_OURS = ("raw", "quarantine", "caudal")

#: Problems of the candidate, each a sentence; none if it may be published.
Audit = Callable[[Candidate], list[str]]


class RefusedRollback(ValueError):
    """Nothing was published. The message says why, and what may be done."""


@dataclass(frozen=True)
class RolledBack:
    """What was done.

    Attributes:
        relation: `schema.name`, or None for everything.
        version: the new version, which readers see now.
        before: what they saw until then, to which one may return.
        to: the version that was gone back to.
        changed: in words, for each `schema.name` that is another one now.

    """

    relation: str | None
    version: str
    before: str
    to: str
    changed: dict[str, str]


def rollback(env: Environment, relation: str | None, to: str, by: str, audit: Audit | None = None) -> RolledBack:
    """Publish `relation`, or everything for None, as it is in the version `to`.

    Args:
        relation: `schema.name`.
        to: a kept version's name, or the beginning of it.
        by: who asks.
        audit: looks at the candidate before it is published.

    Raises:
        caudal.warehouse.versions.NoSuchVersion: that version is not kept.
        RefusedRollback: it does not have the table, a published view would break, or `audit` has found something.

    """
    if relation is not None and relation.split(".", 1)[0] in _NOT_OURS:
        raise RefusedRollback(
            f"{relation} is made of the lake's files and has no versions here: replace the file, or `caudal lake replay` it"
        )
    kept = versions.find(env, to)
    before = versions.current(env) or ""
    if relation is None and kept.name == before:
        raise RefusedRollback(f"{kept.name} is what readers see already")
    with open_candidate(env, start=kept if relation is None else None) as candidate:
        broken_before = candidate.broken_views(published=True)
        if relation is not None:
            try:
                candidate.bring(relation, kept)
            except LookupError as missing:
                raise RefusedRollback(str(missing)) from None
        broken = {name: why for name, why in candidate.broken_views().items() if name not in broken_before}
        if broken:
            what = relation or "everything"
            raise RefusedRollback(
                f"{what} cannot go back to {kept.name}, for these views could not be read any more:\n"
                + "\n".join(f"  {name}: {why}" for name, why in broken.items())
                + "\nRoll back what they need as well, or correct the views first"
            )
        problems = audit(candidate) if audit else []
        if problems:
            raise RefusedRollback(
                f"{relation or 'everything'} as of {kept.name} does not pass beside what is published now:\n"
                + "\n".join(f"  {problem}" for problem in problems)
                + "\nWith --force it is published nevertheless"
            )
        before = candidate.parent  # Under the lock: what was published while we waited for it.
        note = f"{relation or 'everything'} rolled back from {before} to {kept.name}"
        version = candidate.publish([relation] if relation else [], Cause(by, "", note))
    record = versions.named(env, version)
    return RolledBack(relation, version, before, kept.name, dict(record.changed) if record else {})


def relation_named(env: Environment, name: str) -> str:
    """The `schema.name` that a person means: that itself, a name alone, or an asset key such as `marts/sales/daily_sales`.

    Raises:
        LookupError: no kept version has it, or several schemas do.

    """
    known = {relation for kept in versions.kept(env) if kept.record for relation in kept.record.relations}
    if name in known:
        return name
    found = sorted(r for r in known if r.split(".", 1)[1] == name.rsplit("/", 1)[-1].rsplit(".", 1)[-1])
    if "/" in name:
        found = [r for r in found if r.split(".", 1)[0] == name.split("/", 1)[0]]
    elif "." in name:
        found = []
    if len(found) == 1:
        return found[0]
    if found:
        raise LookupError(f"{name} may be any of: {', '.join(found)}")
    ours = sorted(r for r in known if r.split(".", 1)[0] not in _NOT_OURS)
    raise LookupError(f"No kept version has a table {name!r}. There are: {', '.join(ours) or 'none'}")
