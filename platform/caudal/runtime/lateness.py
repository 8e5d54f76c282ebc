"""What makes an asset late, on the asset's own page: an observation when it becomes late, and when the reason changes.

An observation of an asset that is materialized is no update: nothing is refreshed by it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from caudal.store import write_atomically

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.runtime.alerts.facts import Problem


def tell_late(env: Environment, instance: dg.DagsterInstance, problems: Sequence[Problem]) -> list[str]:
    """Tell of each asset that is late for a reason that was not told yet; their names.

    Args:
        problems: all assets that are late now.

    """
    record = env.state / "late.json"
    try:
        told = json.loads(record.read_text())
    except (FileNotFoundError, ValueError):
        told = {}
    now = {problem.subject: problem.detail for problem in problems}
    new = [name for name, detail in now.items() if told.get(name) != detail]
    if now != told:  # Before the events: told twice is worse than told by the alert alone.
        with write_atomically(record) as temporary:
            temporary.write_text(json.dumps(now))
    for name in new:
        instance.report_runless_asset_event(
            dg.AssetObservation(
                dg.AssetKey(name.split("/")),
                description=f"Late. {now[name]}",
                metadata={"late": dg.MetadataValue.text(now[name])},
            )
        )
    return new
