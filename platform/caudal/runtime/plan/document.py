"""A plan as JSON, for machines. The schema is told in docs/guide/plan.md; `format` changes when it does."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from caudal.runtime.plan import money
from caudal.runtime.plan.money import Costs
from caudal.runtime.plan.plan import Plan

FORMAT = "caudal.plan/1"


def document(plan: Plan) -> dict[str, Any]:
    """The plan as plain values."""
    return {
        "format": FORMAT,
        "before": plan.before,
        "after": plan.after,
        "is_breaking": bool(plan.breaking),
        "counts": {
            **{fate: len(plan.having(fate)) for fate in ("added", "removed", "changed")},
            "breaking": len(plan.breaking),
            "downstream": len(plan.downstream),
            "refreshed": len(plan.refreshed),
        },
        "changes": [{**asdict(change), "breaks": list(change.breaks)} for change in plan.changes],
        "downstream": [asdict(each) for each in plan.downstream],
        "timetable": list(plan.timetable),
        "rows_of": plan.rows_of,
        "rows": [asdict(each) for each in plan.rows],
        "costs": [asdict(each) for each in plan.costs],
    }


def to_json(plan: Plan, costs: Costs | None = None) -> str:
    """The plan as JSON text, with `estimates` of what it would cost, if that was asked for."""
    estimates = {} if costs is None else {"estimates": money.document(costs)}
    return json.dumps(document(plan) | estimates, indent=2, ensure_ascii=False)
