"""What is known of a branch's environment."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import write_atomically

if TYPE_CHECKING:
    from caudal.environment import Environment


@dataclass(frozen=True)
class BranchRecord:
    """One company's environment of a branch.

    Attributes:
        branch: as git calls it.
        short: as its folders, datasets and labels are called.
        engines: `local` or `gcp`.
        version: of the warehouse that it started as, "" for none.
        lake_files: production's that are read.
        tables: raw tables and rejects, and those in BigQuery.
        own_bytes: on disk, that are not production's too.
        shared_bytes: on disk, that are production's too.
        seconds: that it took to make.

    """

    branch: str
    short: str
    company: str
    engines: str
    made_at: str = ""
    version: str = ""
    lake_files: int = 0
    tables: int = 0
    own_bytes: int = 0
    shared_bytes: int = 0
    seconds: float = 0.0

    @property
    def age_days(self) -> float:
        """How old it is; 0 where that is not known."""
        made = datetime.fromisoformat(self.made_at) if self.made_at else datetime.now(UTC)
        return (datetime.now(UTC) - made).total_seconds() / 86_400


def record_of(env: Environment) -> BranchRecord | None:
    """What is known of the environment of a branch; None if it is not there, or not whole."""
    return _read(env.branch_record)


def write_record(env: Environment, record: BranchRecord) -> BranchRecord:
    """Write down that the environment is whole."""
    said = replace(record, made_at=datetime.now(UTC).isoformat(timespec="seconds"))
    with write_atomically(env.branch_record) as temporary:
        temporary.write_text(json.dumps(asdict(said), indent=1))
    return said


def records(production: Environment) -> list[BranchRecord]:
    """The whole environments of this company that have data on this machine, in the order of their names."""
    found = (_read(path) for path in sorted(production.data.glob(f"branches/*/{production.company}/branch.json")))
    return [record for record in found if record]


def _read(path: Path) -> BranchRecord | None:
    try:
        return BranchRecord(**json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
