"""What a dbt build came to: which nodes may be published, and which are held back, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from caudal.transform.checks import Check
from caudal.transform.manifest import Manifest
from caudal.warehouse.quality.raw import Tried

if TYPE_CHECKING:
    from caudal.warehouse.bigquery.jobs import Job

#: Of a node: `success`, `no-op`, `error`, `partial success`, `skipped`. Of a test: `pass`, `warn`, `fail`, `error`, `skipped`.
Status = str

_BUILT = ("success", "no-op")
_FAILED = ("fail", "error")


@dataclass(frozen=True)
class FailingRows:
    """The first rows that a test selected. Values are text, cut to 200 characters; a missing one is None."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


@dataclass(frozen=True)
class NodeResult:
    """The outcome of one node or test.

    Attributes:
        status: see `Status`.
        message: dbt's words, of an error with file and line.
        failures: how many rows a test selected; None for what is not a test.
        rows_affected: as the database reports it; None where it does not.
        compiled: the file with the SQL that ran, or None.
        row_count, columns: what stands in the candidate after the build, with `(name, type)` of each column; None and empty
            if it was not built.
        failing_rows: of a test that failed or warned.
        tried: of a rule that is no test of dbt: what was found, expected and kept.
        days: of a test that looked at some days of its table alone: how many.
        jobs: the jobs in BigQuery that it took, those that failed left out, in the order in which they ended.

    """

    unique_id: str
    status: Status
    seconds: float = 0.0
    message: str | None = None
    failures: int | None = None
    rows_affected: int | None = None
    compiled: Path | None = None
    row_count: int | None = None
    columns: tuple[tuple[str, str], ...] = ()
    failing_rows: FailingRows | None = None
    tried: Tried | None = None
    days: int | None = None
    jobs: tuple[Job, ...] = ()

    @property
    def compiled_sql(self) -> str | None:
        """The SQL that ran, or None if it did not get so far."""
        return self.compiled.read_text(encoding="utf-8") if self.compiled and self.compiled.is_file() else None


@dataclass(frozen=True)
class BuildResult:
    """The outcome of a whole invocation.

    Attributes:
        results: by unique id, of nodes and tests.
        held_back: why each node that was selected must not be published, by unique id.
        seconds: from the start of the dbt process to its end.
        retested: tests whose results are those of a second time, by unique id, with what they ran beside; see `settling`.

    """

    manifest: Manifest
    results: Mapping[str, NodeResult]
    held_back: Mapping[str, str]
    seconds: float
    retested: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def passed(self) -> tuple[str, ...]:
        """The nodes that were built and may be published, parents first."""
        return tuple(u for u in self.manifest.nodes if u in self.results and u not in self.held_back)

    @cached_property
    def to_restore(self) -> tuple[str, ...]:
        """The relations that the build touched and that must be as they were, parents first."""
        touched = {u for u in self.held_back if u in self.results and self.results[u].status != "skipped"}
        return tuple(node.relation for u, node in self.manifest.nodes.items() if u in touched)

    @cached_property
    def failed_checks(self) -> tuple[Check, ...]:
        """The tests that failed as an error or could not run."""
        return _failed(self.manifest, self.results)

    @cached_property
    def failed_nodes(self) -> tuple[str, ...]:
        """The nodes whose own SQL failed."""
        ran = (u for u in self.manifest.nodes if u in self.results)
        return tuple(u for u in ran if self.results[u].status not in (*_BUILT, "skipped"))


def hold_back(
    manifest: Manifest,
    selected: Collection[str],
    results: Mapping[str, NodeResult],
    besides: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """Why each node that must not be published must not be, by unique id, parents first.

    A node is held back if it failed or was skipped; if a test that is attached to it failed as an error; if such a test that
    is attached to something that was not built now reads it; and if anything that it reads, itself or through views, is held
    back or is a source whose test failed.

    Args:
        besides: further nodes that are held back, each with the reason.

    """
    nodes = [u for u in manifest.nodes if u in selected or u in results]
    reasons = dict(besides) | _failures(nodes, selected, results) | _failed_tests(manifest, nodes, results)
    tainted = {u: manifest.nodes[u].relation for u in reasons} | _failed_sources(manifest, results)
    for unique_id, node in manifest.nodes.items():
        above = next((tainted[parent] for parent in node.parents if parent in tainted), None)
        if above is None or unique_id in tainted:
            continue
        if unique_id in nodes:
            reasons[unique_id] = f"{above}, which it reads, did not pass"
            tainted[unique_id] = node.relation
        elif node.is_virtual:
            tainted[unique_id] = above
    skipped = [u for u in nodes if u not in results or results[u].status == "skipped"]
    reasons = dict.fromkeys(skipped, "dbt did not come to it") | reasons
    return {u: reasons[u] for u in nodes if u in reasons}


def _failures(nodes: Collection[str], selected: Collection[str], results: Mapping[str, NodeResult]) -> dict[str, str]:
    reasons = {}
    for unique_id in nodes:
        if unique_id not in selected:
            reasons[unique_id] = "it was not asked for"
        elif unique_id in results and results[unique_id].status not in (*_BUILT, "skipped"):
            reasons[unique_id] = results[unique_id].message or "dbt gave no reason"
    return reasons


def _failed_tests(manifest: Manifest, nodes: Collection[str], results: Mapping[str, NodeResult]) -> dict[str, str]:
    reasons = {}
    for check in _failed(manifest, results):
        reasons |= dict.fromkeys(about(check, nodes), f"its test {check.name} failed")
    return reasons


def about(check: Check, nodes: Collection[str]) -> list[str]:
    """Which of `nodes` a failure of the test holds back."""
    return [check.attached_to] if check.attached_to in nodes else [u for u in check.reads if u in nodes]


def _failed_sources(manifest: Manifest, results: Mapping[str, NodeResult]) -> dict[str, str]:
    found = (check for check in _failed(manifest, results) if check.attached_to not in manifest.nodes)
    return {check.attached_to: "/".join(check.asset) for check in found}


def _failed(manifest: Manifest, results: Mapping[str, NodeResult]) -> tuple[Check, ...]:
    return tuple(c for u, c in manifest.checks.items() if u in results and results[u].status in _FAILED)
