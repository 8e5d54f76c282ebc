"""The sensor `alerts`: looks at what Dagster and the ledger say, notes it in the book, and sends what is owed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.runtime.alerts.book import Book
from caudal.runtime.alerts.conditions import failing_checks, late_assets, quarantined
from caudal.runtime.alerts.delivery import deliver
from caudal.runtime.alerts.facts import Ended, Facts, Kind, Problem
from caudal.runtime.alerts.outbox import Outbox
from caudal.runtime.alerts.runs import declared_names, ended_runs
from caudal.runtime.alerts.settings import LOGGER, Settings
from caudal.runtime.lateness import tell_late

NAME = "alerts"
EVERY_S = 20

log = logging.getLogger(LOGGER)
T = TypeVar("T")


def alerts_sensor(
    env: Environment,
    datasets: Sequence[Dataset],
    settings: Settings,
    *,
    running: bool,
    clock: Callable[[], float] = time.time,
) -> dg.SensorDefinition:
    """The sensor.

    Args:
        running: from the start on; else somebody may turn it on.

    """

    @dg.sensor(
        name=NAME,
        description="Tells owners when a run or check fails, an asset is late or a quarantine grows, and when it is over.",
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        repository = context.repository_def
        assert repository is not None
        origin = context.code_location_origin
        location = origin.location_name if origin is not None else env.company
        book = Book.of(env)
        now_s = clock()
        jobs = [job.name for job in repository.get_all_jobs()]
        facts = observe(context.instance, repository.asset_graph, jobs, location, env, datasets, settings, book, now_s)
        late = facts.holding.get("late")
        if late is not None:
            _seen("pages of late assets", lambda: tell_late(env, context.instance, late))
        book.look(facts, settings, now_s)
        deliver(book, settings, clock=clock)
        return dg.SkipReason(f"{len(book.incidents())} open incidents, {Outbox(book).unsent()} messages not sent yet")

    return alerts


def observe(
    instance: dg.DagsterInstance,
    graph: BaseAssetGraph,
    jobs: Sequence[str],
    location: str | None,
    env: Environment,
    datasets: Sequence[Dataset],
    settings: Settings,
    book: Book,
    now_s: float,
) -> Facts:
    """Everything there is to see. What cannot be looked at is left as it was, and the log says why."""
    cursor, awaited, known = book.place()
    targets = book.open_targets()
    look = _seen(
        "runs",
        lambda: ended_runs(
            instance, graph, location, cursor=cursor, awaited=awaited, known=known, open_targets=targets, now_s=now_s
        ),
    )
    checks = _seen("checks", lambda: failing_checks(instance, graph, warnings=settings.warnings))
    late = _seen("freshness", lambda: late_assets(instance, graph, now_s))
    holding: dict[Kind, Sequence[Problem]] = {}
    if checks is not None:
        holding["check"] = checks
    if late is not None:
        holding["late"] = late
    return Facts(
        ended=[_without_checks(ended, checks or []) for ended in look.ended] if look else (),
        holding=holding,
        quarantine=_seen("the ledger", lambda: quarantined(env, datasets)),
        declared=declared_names(graph, jobs),
        cursor=look.cursor if look else None,
        awaited=look.awaited if look else None,
        known=look.known if look else {},
    )


def _without_checks(ended: Ended, failing: Sequence[Problem]) -> Ended:
    """A step that failed because a blocking check did is told as the check."""
    told = {target.name for check in failing for target in check.targets}
    problems = tuple(p for p in ended.problems if not (p.detail.startswith(_CHECK_FAILED) and not told.isdisjoint(p.upstream)))
    return Ended(ended.run_id, ended.at_s, ended.succeeded, ended.made, problems)


#: How the error of a step begins in which a blocking check failed.
_CHECK_FAILED = "dagster._core.errors.DagsterAssetCheckFailedError"


def _seen(what: str, look: Callable[[], T]) -> T | None:
    try:
        return look()
    except Exception:
        log.exception("Alerts: %s could not be looked at; tried again in %d s", what, EVERY_S)
        return None
