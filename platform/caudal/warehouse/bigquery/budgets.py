"""How much a group of assets may spend, and whether one more piece of work fits. Asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

#: The name of the check that tells of a budget, and the tag of a run that goes ahead whatever it says.
WITHIN_BUDGET = "within_budget"
BUDGET_TAG, IGNORE = "caudal/budget", "ignore"
#: Who gave a run that tag: written by the web page's gate, and by nobody else.
BUDGET_BY_TAG = "caudal/budget_by"
_SOMEBODY = "somebody who started it outside of the web page"


@dataclass(frozen=True)
class Budget:
    """What a group of assets may spend in BigQuery, in US dollars; None for no limit. A day begins at 00:00 UTC."""

    usd_per_day: float | None = None
    usd_per_run: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a step fits into the budget of a group, when it was asked.

    Attributes:
        estimated_usd: what the step would spend in the group.
        billed_today_usd, reserved_usd: of the group today: what was billed, and what others that go on, or died, set aside.
        this_run_usd: what the run has been billed or has set aside for the group in earlier steps.
        ignored_by: who lets the run go ahead nevertheless, by its tag; "" for nobody.

    """

    group: str
    budget: Budget
    estimated_usd: float
    billed_today_usd: float = 0.0
    reserved_usd: float = 0.0
    this_run_usd: float = 0.0
    ignored_by: str = ""

    @cached_property
    def fits(self) -> bool:
        """It is within all limits of the group."""
        return not self._broken

    @property
    def may_start(self) -> bool:
        """It fits, or that is to be ignored."""
        return self.fits or bool(self.ignored_by)

    @property
    def left_usd(self) -> float | None:
        """What the step may spend besides its estimate; None for no limit."""
        today = self.billed_today_usd + self.reserved_usd + self.estimated_usd
        limits = ((self.budget.usd_per_day, today), (self.budget.usd_per_run, self.this_run_usd + self.estimated_usd))
        return min((max(0.0, limit - spent) for limit, spent in limits if limit is not None), default=None)

    @property
    def left_before_usd(self) -> float:
        """What was left before the step; nothing is below 0."""
        return replace(self, estimated_usd=0.0).left_usd or 0.0

    def sentence(self) -> str:
        """Which budget, what is spent, what the step would spend, and, if it does not fit, what to do."""
        told = f"The group `{self.group}` would spend {usd(self.estimated_usd)} in this step"
        parts = [self._of_day(), self._of_run()]
        told += ". " + ". ".join(part for part in parts if part)
        if self.fits:
            return f"{told}."
        if self.ignored_by:
            by = f"{self.ignored_by} lets it go ahead by the run's tag {BUDGET_TAG}: {IGNORE}"
            return f"{told}. That is over the budget, and {by}."
        names = " and ".join(self._broken)
        tomorrow = self._broken == ("usd_per_day",) and self.estimated_usd <= (self.budget.usd_per_day or 0.0)
        wait = ", wait until 00:00 UTC" if tomorrow else ""
        return (
            f"{told}. That is over the budget: nothing was started. Select less{wait}, raise `{names}` of `{self.group}` where "
            f"the budgets are declared, or have an admin start the run with the tag {BUDGET_TAG}: {IGNORE}. "
            "`caudal plan --cost` shows what each asset would cost."
        )

    @property
    def _broken(self) -> tuple[str, ...]:
        day, run = self.budget.usd_per_day, self.budget.usd_per_run
        today = self.billed_today_usd + self.reserved_usd + self.estimated_usd
        over = (("usd_per_day", day, today), ("usd_per_run", run, self.this_run_usd + self.estimated_usd))
        # Sums of floating point numbers: a millionth of a dollar is nothing.
        return tuple(name for name, limit, spent in over if limit is not None and spent > limit + 1e-6)

    def _of_day(self) -> str:
        if self.budget.usd_per_day is None:
            return ""
        reserved = f", {usd(self.reserved_usd)} set aside by other steps" if self.reserved_usd else ""
        return f"Its budget is {usd(self.budget.usd_per_day)} a day: {usd(self.billed_today_usd)} billed today{reserved}"

    def _of_run(self) -> str:
        if self.budget.usd_per_run is None:
            return ""
        before = f", of which the run has spent {usd(self.this_run_usd)}" if self.this_run_usd else ""
        return f"A run may spend {usd(self.budget.usd_per_run)}{before}"


def ignored_by(tags: Mapping[str, str]) -> str:
    """Who lets a run with these tags go ahead whatever budgets say; "" for nobody."""
    return (tags.get(BUDGET_BY_TAG) or _SOMEBODY) if tags.get(BUDGET_TAG) == IGNORE else ""


def usd(amount: float) -> str:
    """Dollars in words: cents, or four digits of less than a cent."""
    return f"{amount:,.2f} USD" if amount == 0 or amount >= 0.01 else f"{amount:.4f} USD"
