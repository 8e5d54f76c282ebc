"""The ledger in words."""

from __future__ import annotations

from caudal.environment import Environment
from caudal.lake.ledger import Ledger

_STATES = ("pending", "loading", "loaded", "quarantined", "deleted")


def report(env: Environment) -> str:
    """One line a dataset: files by state and rows; then the files in quarantine, each with its reason."""
    ledger = Ledger(env.state / "ledger.db")
    ids = ledger.dataset_ids()
    if not ids:
        return f"No lake file was seen yet. Files go to {env.lake}/<source>/<dataset>/."
    width = max(len("dataset"), *(len(i) for i in ids))
    lines = [f"{'dataset':<{width}}" + "".join(f"{s:>13}" for s in (*_STATES, "rows", "rejected"))]
    problems = []
    for dataset_id in ids:
        totals = ledger.totals(dataset_id)
        counts = [totals.files.get(s, 0) for s in _STATES] + [totals.rows_loaded, totals.rows_rejected]
        lines.append(f"{dataset_id:<{width}}" + "".join(f"{n:>13,}" for n in counts))
        problems += [f"{f.path}: {f.reason}" for f in ledger.files(dataset_id, "quarantined")]
    if problems:
        lines += ["", "In quarantine:", *(f"  {p}" for p in problems)]
    return "\n".join(lines)
