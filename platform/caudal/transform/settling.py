"""What is published is tested as it is published.

When a build is published in part, tables of this build stand beside tables that keep their last good rows. A test that reads
both was run when both were new, or was skipped. So it runs again once the others are restored; what it then fails for is held
back too, and so on until every such test has passed on what will be published. Each round holds more back, so it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from caudal.transform.checks import Check
from caudal.transform.manifest import read_through_views
from caudal.transform.outcome import BuildResult, hold_back

_FAILED = ("fail", "error")

Restore = Callable[[Iterable[str]], None]
Holds = Callable[[Iterable[str]], set[str]]
Run = Callable[[Collection[str]], BuildResult]


def settle(result: BuildResult, selected: Collection[str], restore: Restore, holds: Holds, run: Run) -> BuildResult:
    """Restore what `result` holds back, and test again beside it; the result of which all that passed may be published.

    Args:
        selected: the unique ids of what was built and tested.
        restore: puts relations back to what is published; `holds` says which of some relations are there then.
        run: runs tests, by unique id.

    """
    manifest, besides = result.manifest, {}
    restored: set[str] = set()
    settled: set[str] = set()
    while result.passed:
        restore([name for name in result.to_restore if name not in restored])
        restored.update(result.to_restore)
        newly_held, settled = set(result.held_back) - settled, set(result.held_back)
        tests = _mixed(result, selected, newly_held, holds)
        if not tests:
            break
        again = run(list(tests))
        results = {**result.results, **again.results}
        for unique_id, beside in tests.items():
            if unique_id in results and results[unique_id].status in _FAILED:
                check = manifest.checks[unique_id]
                new = [u for u in _read(result, check) if u in result.passed]
                besides |= dict.fromkeys(new, f"its test {check.name} fails beside {beside}")
        result = replace(
            result,
            results=results,
            held_back=hold_back(manifest, selected, results, besides),
            seconds=result.seconds + again.seconds,
            retested={**result.retested, **tests},
        )
        if set(result.held_back) == settled:
            break
    return result


def _mixed(result: BuildResult, selected: Collection[str], newly_held: Collection[str], holds: Holds) -> dict[str, str]:
    """The tests that read something new and something newly held back, each with what that is.

    What was never published cannot be read: a test of it has only the verdict that it has.
    """
    found: dict[str, list[str]] = {}
    for unique_id, check in result.manifest.checks.items():
        done = result.results.get(unique_id)
        if unique_id not in selected or not check.has_rows or (done and done.status in _FAILED):
            continue
        read = _read(result, check)
        held = [u for u in read if u in newly_held]
        if held and any(u in result.passed for u in read):
            found[unique_id] = [result.manifest.nodes[u].relation for u in read if u in result.held_back]
    there = holds({name for names in found.values() for name in names}) if found else set()
    return {
        unique_id: f"{', '.join(names)} as published before" for unique_id, names in found.items() if there.issuperset(names)
    }


def _read(result: BuildResult, check: Check) -> list[str]:
    """The nodes that the test reads, by itself and through views."""
    return [u for u in read_through_views(result.manifest, check.reads) if u in result.manifest.nodes]
