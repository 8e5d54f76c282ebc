"""Rules about one row at a time, counted once for each data file of a raw table.

A data file of a Delta Lake table never changes: a count of it stays true for as long as the file is in the table. So a load
costs the scan of what it brought, whatever the table's size. Counts are kept beside the ledger; without them all is counted
again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import write_atomically
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    from caudal.warehouse.connection import Connection


def count(
    connection: Connection,
    files: Sequence[Path],
    conditions: Mapping[str, str],
    record: Path,
    absent: Mapping[str, str],
) -> dict[str, tuple[int, int]]:
    """For each named SQL condition, how many rows of the files it is true of, and how many rows they have.

    Args:
        record: where counts are kept from one call to the next.
        absent: columns that none of the files has, with their types.

    """
    if not conditions or not files:
        return {}
    wanted = hashlib.sha256(json.dumps(sorted(conditions.items())).encode()).hexdigest()
    known = _known(record, wanted)
    counts = {f.name: known[f.name] for f in files if f.name in known}
    new = [f for f in files if f.name not in counts]
    if new:
        listed = ", ".join(text(str(f)) for f in new)
        sums = ", ".join(f"count(*) FILTER ({condition})" for condition in conditions.values())
        nulls = "".join(f", CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in absent.items())
        rows_of = f"SELECT *{nulls} FROM read_parquet([{listed}], union_by_name = true, filename = true)"
        sql = f"SELECT parse_filename(filename), count(*), {sums} FROM ({rows_of}) GROUP BY 1"
        found = connection.execute(sql).fetchall()
        counts |= {f.name: [0] * (1 + len(conditions)) for f in new} | {name: list(row) for name, *row in found}
    with write_atomically(record) as temporary:
        temporary.write_text(json.dumps({"conditions": wanted, "counts": counts}))
    rows = sum(c[0] for c in counts.values())
    return {name: (sum(c[1 + i] for c in counts.values()), rows) for i, name in enumerate(conditions)}


def _known(record: Path, wanted: str) -> dict[str, list[int]]:
    try:
        found = json.loads(record.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found["counts"] if found.get("conditions") == wanted else {}
