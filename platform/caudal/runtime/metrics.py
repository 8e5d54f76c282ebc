"""`/metrics`: figures about the platform in Prometheus' text format.

`render` is cheap: what has ended is counted once and kept by `caudal.runtime.tallies`, the rest are a few bounded queries, and
an answer is given again for some seconds. Labels are bounded: of more assets, jobs or datasets than that, the rest are left
out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from caudal.environment import Environment
from caudal.runtime.run_counts import LATENCY_BOUNDS, RUN_BOUNDS, count_ended
from caudal.runtime.tallies import Tallies, buckets

if TYPE_CHECKING:
    import dagster as dg
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: An answer is given again for so long; assets are read anew less often.
CACHED_S, ASSETS_CACHED_S = 5.0, 20.0
#: Values of a label beyond this are left out.
MOST_ASSETS, MOST_DATASETS = 2000, 500

_TALLIES = ("runs", "run_seconds", "run_seconds_sum", "file_to_mart", "file_to_mart_sum")

log = logging.getLogger("caudal.metrics")
_answers: dict[tuple[int, Environment], tuple[float, bytes]] = {}
_assets: dict[tuple[int, Environment], tuple[float, list[Metric]]] = {}
_one_at_a_time = threading.Lock()


def render(instance: dg.DagsterInstance, env: Environment) -> bytes:
    """Everything, as of some seconds ago at most. What cannot be read is left out, and the log says why."""
    key = (id(instance), env)
    with _one_at_a_time:
        made_s, answer = _answers.get(key, (0.0, b""))
        if answer and time.monotonic() - made_s < CACHED_S:
            return answer
        answer = _rendered(instance, env)
        _answers.clear()
        _answers[key] = (time.monotonic(), answer)
        return answer


def _rendered(instance: dg.DagsterInstance, env: Environment) -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    began = time.perf_counter()
    now_s = time.time()
    found: list[Metric] = []
    parts: dict[str, Callable[[], Iterable[Metric]]] = {
        "ended runs": lambda: _ended(instance, env),
        "runs": lambda: _going(instance, now_s),
        "assets": lambda: _of_assets(instance, env, now_s),
        "ledger": lambda: _ledger(env),
        "incidents": lambda: _incidents(env),
        "spending": lambda: _spending(env),
        "heartbeats": lambda: _heartbeats(instance, now_s),
    }
    failed = 0
    for name, part in parts.items():
        try:
            found += part()
        except Exception:
            log.exception("Metrics: the %s could not be read", name)
            failed += 1
    found.append(_gauge("metrics_failed", "Parts of this page that could not be read.", value=failed))
    found.append(_gauge("metrics_seconds", "What it took to make this page.", value=time.perf_counter() - began))

    class Found(Collector):
        def collect(self) -> Iterable[Metric]:
            return found

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Found())
    return generate_latest(registry)


# Runs ---------------------------------------------------------------------------------------------------------------------


def _ended(instance: dg.DagsterInstance, env: Environment) -> Iterable[Metric]:
    tallies = Tallies(env.state / "metrics.db")
    count_ended(instance, env, tallies)
    counts = tallies.read(_TALLIES)
    runs = _counter("runs", "Runs that ended, since the first look at this page.", "job", "status")
    for labels, value in counts["runs"].items():
        runs.add_metric(labels, value)
    yield runs
    yield _histogram("run_duration_seconds", "From the start of a run to its end.", ("job",), counts, "run_seconds", RUN_BOUNDS)
    text = "From when a lake file was seen to the materialization of a mart in the run that loaded it."
    yield _histogram("file_to_mart_seconds", text, ("asset",), counts, "file_to_mart", LATENCY_BOUNDS)


def _going(instance: dg.DagsterInstance, now_s: float) -> Iterable[Metric]:
    import dagster as dg

    status = dg.DagsterRunStatus
    going = _gauge("runs_in_progress", "Runs that have not ended, by status.", "status")
    for each in (status.NOT_STARTED, status.STARTING, status.STARTED, status.CANCELING):
        going.add_metric([each.value.lower()], instance.get_runs_count(dg.RunsFilter(statuses=[each])))
    queued = dg.RunsFilter(statuses=[status.QUEUED])
    depth = instance.get_runs_count(queued)
    oldest = instance.get_run_records(queued, limit=1, ascending=True) if depth else []
    age = max((now_s - record.create_timestamp.timestamp() for record in oldest), default=0.0)
    return [
        going,
        _gauge("queue_depth", "Runs that wait for their turn.", value=depth),
        _gauge("queue_oldest_seconds", "How long the first of them has waited.", value=age),
    ]


# Assets -------------------------------------------------------------------------------------------------------------------


def _of_assets(instance: dg.DagsterInstance, env: Environment, now_s: float) -> list[Metric]:
    made_s, found = _assets.get((id(instance), env), (0.0, []))
    if not found or time.monotonic() - made_s >= ASSETS_CACHED_S:
        found = list(_read_assets(instance, env))
        _assets.clear()
        _assets[id(instance), env] = (time.monotonic(), found)
    at, *others = found
    age = _gauge("asset_age_seconds", "Since the last materialization.", "asset")
    for sample in at.samples:
        age.add_metric([sample.labels["asset"]], now_s - sample.value)
    return [age, *others]


def _read_assets(instance: dg.DagsterInstance, env: Environment) -> Iterable[Metric]:
    """When each asset was made, and which are late: as Dagster's freshness daemon says, or the sensor `alerts`."""
    from dagster._core.definitions.freshness import FreshnessState

    keys = instance.get_asset_keys(limit=MOST_ASSETS)
    at = _gauge("asset_made", "Seconds since the epoch.", "asset")
    late = _gauge("asset_late", "1 if the asset is older than its freshness policy allows, 0 if it is not.", "asset")
    for record in instance.get_asset_records(keys) if keys else ():
        entry = record.asset_entry.last_materialization
        if entry is not None:
            at.add_metric(["/".join(record.asset_entry.asset_key.path)], entry.timestamp)
    judged = {FreshnessState.PASS: 0, FreshnessState.WARN: 0, FreshnessState.FAIL: 1}
    states = instance.get_freshness_state_records(list(keys)) if keys else {}
    values = {"/".join(k.path): judged[s.freshness_state] for k, s in states.items() if s.freshness_state in judged}
    for incident in _open_incidents(env):
        values |= dict.fromkeys(((incident.subject,) if incident.kind == "late" else ()) + incident.also, 1)
    for name, value in sorted(values.items()):
        late.add_metric([name], value)
    yield at
    yield late


def _ledger(env: Environment) -> Iterable[Metric]:
    from caudal.lake.ledger import Ledger

    loaded = _gauge("rows_loaded", "Rows of live lake files in the raw table.", "dataset")
    rejected = _gauge("rows_rejected", "Rows of live lake files that the contract refused.", "dataset")
    files = _gauge("files", "Lake files, by state.", "dataset", "state")
    path = env.state / "ledger.db"
    ledger = Ledger(path) if path.exists() else None
    for name in ledger.dataset_ids()[:MOST_DATASETS] if ledger else ():
        totals = ledger.totals(name) if ledger else None
        if totals is not None:
            loaded.add_metric([name], totals.rows_loaded)
            rejected.add_metric([name], totals.rows_rejected)
            for state in ("pending", "loading", "loaded", "quarantined", "deleted"):
                files.add_metric([name, state], totals.files.get(state, 0))
    return [loaded, rejected, files]


def _open_incidents(env: Environment) -> list:
    from caudal.runtime.alerts.book import Book, book_path

    return Book.of(env).incidents() if book_path(env).exists() else []


def _incidents(env: Environment) -> Iterable[Metric]:
    incidents = _open_incidents(env)
    opened = _gauge("incidents_open", "Causes of failure, lateness or growing quarantine that last, by kind.", "kind")
    for kind in ("run", "check", "late", "quarantine"):
        opened.add_metric([kind], sum(incident.kind == kind for incident in incidents))
    failing = _gauge("check_failing", "1 for each check that fails, as the sensor `alerts` saw it.", "check")
    for incident in incidents[:MOST_ASSETS]:
        if incident.kind == "check":
            failing.add_metric([incident.subject], 1)
    return [opened, failing]


def _spending(env: Environment) -> Iterable[Metric]:
    from caudal.warehouse.bigquery.spending import Spending, path_of

    billed = _counter("bytes_billed", "Bytes that BigQuery billed jobs for, by asset group, as each job said.", "group")
    money = _counter("billed_usd", "What these cost by the settings' price, in US dollars.", "group")
    jobs = _counter("bigquery_jobs", "Jobs in BigQuery, by asset group.", "group")
    totals = Spending.of(env).totals() if path_of(env).exists() else {}
    for group, total in totals.items():
        billed.add_metric([group], total.bytes_billed)
        money.add_metric([group], total.usd)
        jobs.add_metric([group], total.jobs)
    return [billed, money, jobs]


def _heartbeats(instance: dg.DagsterInstance, now_s: float) -> Iterable[Metric]:
    from dagster._core.definitions.run_request import InstigatorType

    daemons = _gauge("daemon_heartbeat_age_seconds", "Since a daemon last said that it lives.", "daemon")
    for name, heartbeat in sorted(instance.get_daemon_heartbeats().items()):
        daemons.add_metric([name.lower()], now_s - heartbeat.timestamp)
    sensors = _gauge("sensor_tick_age_seconds", "Since the last tick of a running sensor.", "sensor")
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        tick_s = getattr(state.instigator_data, "last_tick_timestamp", None)
        if state.is_running and tick_s:
            sensors.add_metric([state.name], now_s - tick_s)
    return [daemons, sensors]


# Families -----------------------------------------------------------------------------------------------------------------


def _gauge(name: str, text: str, *labels: str, value: float | None = None):  # noqa: ANN202  the library is imported lazily
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(f"caudal_{name}", text, value=value, labels=None if value is not None else labels)


def _counter(name: str, text: str, *labels: str):  # noqa: ANN202
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(f"caudal_{name}", text, labels=labels)


def _histogram(name: str, text: str, labels: tuple[str, ...], counts: dict, tally: str, bounds: tuple[float, ...]):  # noqa: ANN202
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(f"caudal_{name}", text, labels=labels)
    for of_labels, row in list(buckets(counts[tally], bounds).items())[:MOST_ASSETS]:
        family.add_metric(of_labels, row, sum_value=counts[f"{tally}_sum"].get(of_labels, 0.0))
    return family
