"""Whose work a job is: within a block every job gets the block's labels, and the block knows them all when it ends.

Around a whole step, not handed from function to function: a job that nobody was told to count is how a budget comes to lie.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from caudal.warehouse.bigquery.jobs import Job


class Purse(Protocol):
    """Who is asked before something is paid for: `caudal.warehouse.bigquery.purse`."""

    def query(self, estimated_bytes: Callable[[], int], limit: int | None) -> int | None: ...
    def read(self, bytes_read: int) -> None: ...


@dataclass
class Account:
    """What one piece of work asks of BigQuery.

    Attributes:
        labels: of each of its jobs.
        purse: is asked before each query and read; None for no limit but that of the settings.
        jobs: those that have ended well, in order.

    """

    labels: Mapping[str, str] = field(default_factory=dict)
    purse: Purse | None = None
    jobs: list[Job] = field(default_factory=list)


_CURRENT: ContextVar[Account | None] = ContextVar("caudal_bigquery_account", default=None)


@contextmanager
def accounted(labels: Mapping[str, str], purse: Purse | None = None) -> Generator[Account]:
    """Each `BigQuery` made within works for this account, in whatever thread it is used. An inner block counts for itself.

    Do not yield to Dagster from within: what runs in between would be counted here too.
    """
    with working_for(Account(labels, purse)) as account:
        yield account


@contextmanager
def working_for(account: Account) -> Generator[Account]:
    """As `accounted`, for an account that has been opened before."""
    token = _CURRENT.set(account)
    try:
        yield account
    finally:
        _CURRENT.reset(token)


def current() -> Account:
    """The account that is open here; outside of all, a new one that nobody reads."""
    return _CURRENT.get() or Account()
