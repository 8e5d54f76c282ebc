"""A proposal as files of a company: `defs.yaml`, and the contract in `contracts/` beside it."""

from __future__ import annotations

from pathlib import Path

from caudal.store import write_atomically
from caudal.warehouse.propose.proposed import Proposal
from caudal.warehouse.propose.render import contract_yaml, defs_yaml


def texts(proposal: Proposal) -> dict[str, str]:
    """The text of each file, by its path."""
    return {"defs.yaml": defs_yaml(proposal), f"contracts/{proposal.name}.odcs.yaml": contract_yaml(proposal)}


def write(proposal: Proposal, into: Path, *, force: bool = False) -> list[Path]:
    """Write the files below `into`, all or none.

    Args:
        force: instead of those that are there.

    Raises:
        FileExistsError: which are there already.

    """
    written = {into / path: text for path, text in texts(proposal).items()}
    there = [path for path in written if path.exists()]
    if there and not force:
        listed = ", ".join(map(str, there))
        raise FileExistsError(f"{listed}: already there. Write elsewhere, or with --force instead of what is there")
    for path, text in written.items():
        with write_atomically(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return list(written)
