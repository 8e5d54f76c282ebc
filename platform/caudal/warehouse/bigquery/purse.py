"""What a step of Python may spend: what it has set aside, and more of its group's budget for as long as there is any.

Before each query a dry run says what it would be billed for, and a session of the Storage Read interface says what it reads
before rows come. What is more than the step has set aside is set aside before it is spent, so that steps which run at once
cannot spend the same money.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from caudal.warehouse.bigquery.budgets import BUDGET_TAG, IGNORE, Budget, usd
from caudal.warehouse.bigquery.costs import usd_of

if TYPE_CHECKING:
    from caudal.google_cloud import GoogleCloud
    from caudal.warehouse.bigquery.account import Account
    from caudal.warehouse.bigquery.spending import Reserved, Spending


class BudgetUsedUp(RuntimeError):
    """A query or read has not been started, for the budget has not enough left for it. The message says what to do."""


class StepPurse:
    """The money of one step of `group`. Several threads may ask at once.

    Args:
        reserved: what the step has set aside already, `set_aside_usd`.
        account: knows what the step has spent.

    """

    def __init__(
        self,
        cloud: GoogleCloud,
        spending: Spending,
        reserved: Reserved,
        account: Account,
        group: str,
        budget: Budget,
        set_aside_usd: float,
    ) -> None:
        self._cloud, self._spending, self._reserved, self._account = cloud, spending, reserved, account
        self._group, self._budget, self._set_aside_usd = group, budget, set_aside_usd
        self._asked = threading.Lock()

    def query(self, estimated_bytes: Callable[[], int], limit: int | None) -> int | None:
        """The bytes that a query may be billed for: what it is estimated at, `limit` at most.

        A statement of which a dry run says nothing, such as a script, may be billed for what is left.

        Raises:
            BudgetUsedUp: there is not enough left.

        """
        estimate = estimated_bytes()
        self._ask(self._cloud.usd(estimate), f"This query would be billed for {estimate:,} bytes")
        allowed = estimate or self._left_bytes()
        limits = [each for each in (allowed, limit) if each is not None]
        return min(limits, default=None)

    def read(self, bytes_read: int) -> None:
        """Let so many bytes be read.

        Raises:
            BudgetUsedUp: there is not enough left.

        """
        self._ask(self._cloud.usd_of_reading(bytes_read), f"This table's columns are {bytes_read:,} bytes to read")

    def _ask(self, wanted_usd: float, what: str) -> None:
        with self._asked:
            more = usd_of(self._cloud, self._account.jobs) + wanted_usd - self._set_aside_usd
            if more <= 0:
                return
            verdict = self._spending.add(self._reserved, self._group, more, self._budget)
            if not verdict.may_start:
                left = usd(verdict.left_before_usd)
                raise BudgetUsedUp(
                    f"{what}, {usd(wanted_usd)}, and the budget of the group `{self._group}` has {left} left for it: it was "
                    "not run. Read less, raise the budget where it is declared, wait until 00:00 UTC if it is one of a day, "
                    f"or have an admin start the run with the tag {BUDGET_TAG}: {IGNORE}."
                )
            self._set_aside_usd += more

    def _left_bytes(self) -> int | None:
        """What is left, as bytes of a query; at least 1, for BigQuery takes 0 as no limit."""
        (verdict,) = self._spending.look(self._reserved.run_id, {self._group: 0.0}, {self._group: self._budget})
        if verdict.left_usd is None or not self._cloud.usd_per_tib:
            return None
        unspent = max(0.0, self._set_aside_usd - usd_of(self._cloud, self._account.jobs))
        return max(1, int((verdict.left_usd + unspent) / self._cloud.usd_per_tib * 2**40))
