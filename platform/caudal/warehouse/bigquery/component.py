"""Budgets of asset groups, declared in YAML."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from caudal.warehouse.bigquery.budgets import Budget

_LIMITS = ("usd_per_day", "usd_per_run")


class Budgets(dg.Component, dg.Model, dg.Resolvable):
    """What groups of assets may spend in BigQuery. A step that would break a budget fails before it starts any job.

    In the environment `local`, where nothing costs money, they are read and not looked at.

    Attributes:
        budgets: by the group's name: `usd_per_day` (a day begins at 00:00 UTC), `usd_per_run`, or both, in US dollars.

    """

    budgets: dict[str, dict[str, Any]] = {}  # noqa: RUF012  a field of a pydantic model

    def read(self) -> dict[str, Budget]:
        """The budgets by group.

        Raises:
            ValueError: a line is not understood; with which.

        """
        return {group: _budget(group, said) for group, said in self.budgets.items()}

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """The lines are read here; they are kept where money is spent."""
        self.read()
        return dg.Definitions()


def declared_budgets(tree: dg.ComponentTree) -> dict[str, Budget]:
    """All budgets that YAML declares, by group.

    Raises:
        ValueError: a group has two.

    """
    found: dict[str, Budget] = {}
    for component in tree.get_all_components(Budgets):
        for group, budget in component.read().items():
            if group in found:
                raise ValueError(f"budgets: the group `{group}` has two; remove one declaration")
            found[group] = budget
    return found


def _budget(group: str, said: Mapping[str, Any]) -> Budget:
    unknown = sorted(set(said) - set(_LIMITS))
    if unknown or not said:
        named = f"`{unknown[0]}` is not known" if unknown else "it has no limit"
        raise ValueError(f"budgets, group `{group}`: {named}; expected {' or '.join(_LIMITS)}")
    for name, amount in said.items():
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < float("inf"):
            raise ValueError(f"budgets, group `{group}`: {name} is {amount!r}; expected US dollars, 0 or more")
    return Budget(**{name: float(amount) for name, amount in said.items()})
