"""The ledger in words."""

from __future__ import annotations

from caudal.environment import Environment
from caudal.lake.ledger import Ledger
from caudal.lake.records import LedgerFile

_STATES = ("pending", "loading", "loaded", "quarantined", "deleted")

#: Files in quarantine of one dataset that are told among all.
_SHOWN = 20


def report(env: Environment, dataset_id: str | None = None) -> str:
    """One line a dataset: files by state and rows; then the files in quarantine, each with its reason.

    Args:
        dataset_id: tell of this one only, and of each of its files.

    """
    ledger = Ledger(env.state / "ledger.db")
    ids = ledger.dataset_ids()
    if not ids:
        return f"No lake file was seen yet. Files go to {env.lake_url}/<source>/<dataset>/."
    if dataset_id is not None and dataset_id not in ids:
        return f"No file of a dataset `{dataset_id}` was seen yet; there are: {', '.join(ids)}"
    shown = ids if dataset_id is None else [dataset_id]
    width = max(len("dataset"), *(len(i) for i in shown))
    lines = [f"{'dataset':<{width}}" + "".join(f"{s:>13}" for s in (*_STATES, "rows", "rejected"))]
    for name in shown:
        totals = ledger.totals(name)
        counts = [totals.files.get(s, 0) for s in _STATES] + [totals.rows_loaded, totals.rows_rejected]
        lines.append(f"{name:<{width}}" + "".join(f"{n:>13,}" for n in counts))
    if dataset_id is not None:
        lines += ["", *_columns(ledger, dataset_id), *(_line(f) for f in ledger.files(dataset_id))]
    else:
        lines += _problems(ledger, ids)
    return "\n".join(lines)


def _problems(ledger: Ledger, ids: list[str]) -> list[str]:
    told = []
    for name in ids:
        faulty = ledger.faulty(name, _SHOWN + 1)
        told += [f"  {f.path}: {f.reason or f.note}" for f in faulty[:_SHOWN]]
        if len(faulty) > _SHOWN:
            told.append(f"  and more of {name}: caudal lake status {name}")
    return ["", "In quarantine:", *told] if told else []


def _columns(ledger: Ledger, dataset_id: str) -> list[str]:
    evolved = ledger.evolved(dataset_id)
    told = [f"  {e.name}: since {e.at[:19]}, first in {e.first_file}" for e in evolved]
    return ["Columns that files brought:", *told, ""] if told else []


def _line(f: LedgerFile) -> str:
    rows = f"{f.rows_loaded:>12,} rows" + (f", {f.rows_rejected:,} rejected" if f.rows_rejected else "")
    told = f"  {f.state:<12}{rows}  {f.path}" + (f"  ({f.dialect})" if f.dialect else "")
    why = f.reason or f.note
    return f"{told}\n{'':14}{why}" if why else told
