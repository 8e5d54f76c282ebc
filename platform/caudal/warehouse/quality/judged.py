"""Which version of a raw table has passed its blocking rules: the one that a candidate reads.

A load commits, then its table is judged. What is not judged, or has failed, is in the raw table for whoever repairs it, and no
candidate reads it: it reads the version that passed last. A table without blocking rules, or that was never judged, is read as
it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import write_atomically

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset


@dataclass(frozen=True)
class Standing:
    """How a raw table stands: the version judged last, the one that passed last (None: none ever has), and why not."""

    judged: int
    passed: int | None
    because: str = ""

    @property
    def holds(self) -> bool:
        """Whether the version that was judged last has passed."""
        return self.passed == self.judged


def standing(env: Environment, dataset: Dataset) -> Standing | None:
    """How the dataset's table stands; None if nothing blocks it, or it was never judged."""
    return recorded(env, dataset.table) if any(rule.blocks for rule in dataset.contract.rules) else None


def recorded(env: Environment, table: str) -> Standing | None:
    """How a raw table stood when it was judged last, whatever blocks it now; None if it never was."""
    try:
        return Standing(**json.loads(_record(env, table).read_text()))
    except FileNotFoundError:
        return None


def note(env: Environment, dataset: Dataset, version: int, failures: list[str]) -> None:
    """Write down how a version was judged. What passed last stays, until another one passes."""
    before = standing(env, dataset)
    if before is not None and version < before.judged:
        before = None  # The table was made anew, under lower versions.
    passed = version if not failures else before.passed if before else None
    with write_atomically(_record(env, dataset.table)) as temporary:
        temporary.write_text(json.dumps({"judged": version, "passed": passed, "because": "; ".join(failures)}))


def forget(env: Environment, dataset: Dataset) -> None:
    """Nothing blocks the table any more: it is read as it is, and no version of it is kept for that."""
    _record(env, dataset.table).unlink(missing_ok=True)


def version_to_read(env: Environment, dataset: Dataset, newest: int | None) -> int | None:
    """The version of the raw table that a candidate reads; None: no rows.

    A table that was made anew, under lower versions, is read as it is until it is judged.
    """
    return _readable(standing(env, dataset), newest)


def version_of_table(env: Environment, table: str, newest: int | None) -> int | None:
    """As `version_to_read`, for whoever has no contract at hand."""
    return _readable(recorded(env, table), newest)


def _readable(stands: Standing | None, newest: int | None) -> int | None:
    return newest if stands is None or newest is None or newest < stands.judged else stands.passed


def pinned(env: Environment) -> dict[str, int]:
    """By table (`raw/...`), the version that passed last, which upkeep must keep."""
    home = env.state / "judged"
    found = {}
    for record in home.glob("*.json") if home.is_dir() else ():
        passed = json.loads(record.read_text())["passed"]
        if passed is not None:
            found[f"raw/{record.stem}"] = passed
    return found


def _record(env: Environment, table: str) -> Path:
    return env.state / "judged" / f"{table}.json"
