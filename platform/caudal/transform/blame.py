"""What held each model back in the end: the tests that failed, on it or above it, with how many rows."""

from __future__ import annotations

from caudal.transform.checks import Check
from caudal.transform.outcome import BuildResult, about
from caudal.warehouse.held_back import Why


def blame(result: BuildResult) -> dict[str, tuple[Why, ...]]:
    """The reasons of each node that is held back and was asked for, by unique id."""
    manifest, held = result.manifest, result.held_back
    nodes = [u for u in manifest.nodes if u in held or u in result.results]
    own: dict[str, tuple[Why, ...]] = {}
    for check in result.failed_checks:
        why = _of_check(check, result)
        for unique_id in about(check, nodes) or [check.attached_to]:
            own[unique_id] = (*own.get(unique_id, ()), why)
        if check.attached_to not in manifest.nodes:
            own.setdefault(check.attached_to, (why,))
    # By unique id of a node or source: where it began, and why.
    roots: dict[str, dict[Why, str]] = {
        u: dict.fromkeys(whys, "/".join(next(c.asset for c in result.failed_checks if c.attached_to == u)))
        for u, whys in own.items()
        if u not in manifest.nodes
    }
    for unique_id, node in manifest.nodes.items():
        whys = own.get(unique_id, ())
        if unique_id in result.failed_nodes:
            whys = (Why(result.results[unique_id].message or "dbt gave no reason"), *whys)
        if whys and unique_id in held:
            roots[unique_id] = dict.fromkeys(whys, node.relation)
        elif unique_id in held or (node.is_virtual and unique_id not in result.results):
            above = {why: root for parent in node.parents for why, root in roots.get(parent, {}).items()}
            if above or unique_id in held:
                roots[unique_id] = above or {Why(held[unique_id]): node.relation}
    return {u: tuple(_seen_from(why, root, result, u) for why, root in roots[u].items()) for u in held if _was_asked(result, u)}


def _was_asked(result: BuildResult, unique_id: str) -> bool:
    return result.held_back[unique_id] != "it was not asked for"


def _of_check(check: Check, result: BuildResult) -> Why:
    done = result.results[check.unique_id]
    beside = f" beside {result.retested[check.unique_id]}" if check.unique_id in result.retested else ""
    rows = f"{done.failures:,} rows" if done.failures else done.message or done.status
    return Why(f"its test {check.name} failed{beside}: {rows}", f"{'/'.join(check.asset)}: {check.name}", done.failures)


def _seen_from(why: Why, root: str, result: BuildResult, unique_id: str) -> Why:
    node = result.manifest.nodes[unique_id]
    return (
        why
        if root == node.relation
        else Why(f"{root}, which it is made of, did not pass: {why.reason}", why.check, why.failures)
    )
