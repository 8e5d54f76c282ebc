"""Which steps of a run come first among those that could run: what people and applications wait for, then what is looked at.

Without this, a run takes them in the order of the alphabet, and a forecast waits for the plots of every table.
"""

from __future__ import annotations

#: By stage; the highest first. Dagster's tag of a step.
_PRIORITY = {"sources": 40, "warehouse": 30, "transform": 20, "models": 10, "serving": 10, "explore": -10}


def precedence(stage: str) -> dict[str, str]:
    """The tags of a step of the room `stage`."""
    return {"dagster/priority": str(_PRIORITY[stage])}
