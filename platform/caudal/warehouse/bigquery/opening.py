"""Opening a candidate in BigQuery: what others left is finished or removed first."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from caudal.store import exclusive_lock
from caudal.warehouse import versions
from caudal.warehouse.bigquery import candidate_raw, names, publishing
from caudal.warehouse.bigquery import versions as in_bigquery
from caudal.warehouse.bigquery.candidate import BigQueryCandidate
from caudal.warehouse.bigquery.explained import explained
from caudal.warehouse.bigquery.service import BigQuery

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.warehouse.versions import Kept


@contextmanager
def open_bigquery_candidate(
    env: Environment, datasets: Sequence[Dataset] = (), start: Kept | None = None
) -> Generator[BigQueryCandidate]:
    """As `caudal.warehouse.candidate.open_candidate`. The lock is one machine's; see `publishing` for several."""
    cloud = in_bigquery.cloud_of(env)
    with exclusive_lock(env.state / "locks" / "candidate.lock"):
        service = BigQuery(cloud)
        publishing.finish(service)
        clear_abandoned(env, service)
        published = in_bigquery.rows(service, "record")
        if not published:
            in_bigquery.make_tables(service)
        seen = published[-1].read() if published else None
        parent = seen.version if seen else ""
        version, begun_as = versions.next_name(env, parent), start.name if start else parent
        candidate = BigQueryCandidate(env, service, version, begun_as, parent, start.record if start else seen, seen)
        in_bigquery.make_dataset(service, candidate.dataset, timedelta(hours=cloud.candidate_hours), builder=_builder(env))
        try:
            if start is None:
                candidate_raw.pin(candidate, datasets)
            else:
                _bring_all(candidate, start)
            yield candidate
        finally:
            remove(service, candidate.dataset)


def clear_abandoned(env: Environment, service: BigQuery) -> list[str]:
    """Remove the candidates of processes of this machine that died, and of others once they have expired; their datasets.

    Whoever calls holds the lock.
    """
    beginning = names.candidate_dataset(service.cloud, "")
    with explained(service.cloud, "list the candidates"):
        listed = list(service.client.list_datasets(service.cloud.project, retry=service.busy))
    expired = datetime.now(UTC) - timedelta(hours=service.cloud.candidate_hours)
    found = []
    for each in listed:
        version = each.dataset_id.removeprefix(beginning)
        if version == each.dataset_id:
            continue
        if each.labels.get("builder") == _builder(env) or versions.moment_of(version) < expired:
            remove(service, each.dataset_id)
            found.append(each.dataset_id)
    return found


def _builder(env: Environment) -> str:
    """Tells apart who may hold the lock at one time: this folder on this machine."""
    return hashlib.sha256(f"{socket.gethostname()} {env.state.resolve()}".encode()).hexdigest()[:32]


def remove(service: BigQuery, dataset: str) -> None:
    """Remove a candidate's dataset and all that is in it."""
    with explained(service.cloud, f"remove the dataset {dataset}"):
        service.client.delete_dataset(f"{service.cloud.project}.{dataset}", delete_contents=True, not_found_ok=True)


def _bring_all(candidate: BigQueryCandidate, start: Kept) -> None:
    """Whatever is another one in the version to start as than in what readers see."""
    before = candidate.seen.relations if candidate.seen else {}
    wanted = start.record.relations if start.record else {}
    tables = [n for n, r in wanted.items() if r.kind == "TABLE" and (n not in before or before[n].since != r.since)]
    views = {n: r.definition for n, r in wanted.items() if r.kind == "VIEW" and before.get(n) != r}
    for name in [*tables, *publishing.ordered(candidate.service.cloud, views)]:
        candidate.bring(name, start)
