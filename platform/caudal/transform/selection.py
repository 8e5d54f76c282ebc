"""Naming nodes and tests to dbt exactly.

dbt selects by `fqn`, and an `fqn` selects everything below it as well: the model `sales` also what lies in a folder `sales`, a
model also its unit tests. What would be selected so and was not asked for is excluded by its own `fqn`, unless that would
exclude something that was asked for: then dbt builds more than it was told to, and the build holds the surplus back.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection

from caudal.transform.lineage import Key
from caudal.transform.manifest import Manifest, read_through_views


def resolve(manifest: Manifest, select: Collection[str] | None) -> frozenset[str]:
    """The unique ids that `select` means, each a unique id, a node's name or a check's name; all for None.

    Raises:
        ValueError: something is not in the project, with what comes close to it.

    """
    known = {**manifest.nodes, **manifest.checks}
    if select is None:
        return frozenset(known)
    by_name: dict[str, list[str]] = {}
    for unique_id, node in manifest.nodes.items():
        by_name.setdefault(node.key[-1], []).append(unique_id)
    for unique_id, check in manifest.checks.items():
        by_name.setdefault(check.name, []).append(unique_id)
    found: set[str] = set()
    for wanted in select:
        if wanted not in known and wanted not in by_name:
            close = difflib.get_close_matches(wanted, [*by_name, *known], n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ValueError(f"The dbt project {manifest.project} has no node or test {wanted!r}{hint}")
        found.update([wanted] if wanted in known else by_name[wanted])
    return frozenset(found)


def what_to_run(manifest: Manifest, nodes: Collection[str], asked: Collection[str]) -> frozenset[str]:
    """The tests to run when `nodes` are built and the tests `asked` were asked for.

    Besides `asked`, whatever must be true of what will be published: tests of other assets that read one of `nodes`, and tests
    of the sources that `nodes` read. dbt then skips what is below a failure. Not so if the nodes have tests and none of them
    was asked for: then no tests are wanted.
    """
    asked = frozenset(asked)
    own = {u for u, check in manifest.checks.items() if check.attached_to in nodes}
    if not nodes or (own and not own & asked):
        return asked
    read = read_through_views(manifest, (parent for u in nodes for parent in manifest.nodes[u].parents))
    sources = {u for u in read if u not in manifest.nodes}
    about_others = {
        u
        for u, check in manifest.checks.items()
        if u not in own and (check.attached_to in sources or any(read in nodes for read in check.reads))
    }
    return asked | about_others


def selection_flags(manifest: Manifest, selected: Collection[str]) -> list[str]:
    """The `--select` and `--exclude` that mean exactly `selected`, which is not empty; none of them for all that there is."""
    fqns: dict[str, Key] = {u: _parts(resource.fqn) for u, resource in {**manifest.nodes, **manifest.checks}.items()}
    wanted = {fqns[u] for u in selected}
    unwanted = [fqn for u, fqn in fqns.items() if u not in selected] + [_parts(fqn) for fqn in manifest.unattached.values()]
    everything = len(selected) == len(fqns)
    above_wanted = {fqn[:end] for fqn in wanted for end in range(1, len(fqn))}
    swept_in = [fqn for fqn in unwanted if everything or (_below(fqn, wanted) and fqn not in above_wanted)]
    flags = []
    if not everything:
        flags += ["--select", *(f"fqn:{'.'.join(fqn)}" for fqn in sorted(wanted))]
    if swept_in:
        flags += ["--exclude", *(f"fqn:{'.'.join(fqn)}" for fqn in sorted(swept_in))]
    return flags


def _below(fqn: Key, wanted: Collection[Key]) -> bool:
    return any(fqn[:end] in wanted for end in range(1, len(fqn)))


def _parts(fqn: Key) -> Key:
    """Split at the dots too: dbt reads those in a name as further steps."""
    return tuple(part for step in fqn for part in step.split("."))
