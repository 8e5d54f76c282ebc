"""What is published in BigQuery, for `caudal.warehouse.published`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from caudal.warehouse.bigquery import versions
from caudal.warehouse.bigquery.moment import Moment, published_moment
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.bigquery.session import Session

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.environment import Environment


def connect_session(env: Environment, service: BigQuery | None = None) -> Session:
    """A connection to the newest version.

    Raises:
        caudal.warehouse.published.NothingPublished: there is none.

    """
    service = service or service_of(env)
    return Session(env, service, newest(service))


def service_of(env: Environment) -> BigQuery:
    """BigQuery as `env` has it.

    Raises:
        ValueError: the environment is another one than `gcp`.

    """
    if env.cloud is None:
        raise ValueError(f"the environment is {env.name}; expected gcp")
    return BigQuery(env.cloud)


def newest(service: BigQuery) -> Moment:
    """The newest version, and the moment at which it is read.

    Raises:
        caudal.warehouse.published.NothingPublished: there is none.

    """
    from caudal.warehouse.published import NothingPublished

    moment = published_moment(service)
    if moment is None:
        raise NothingPublished(
            f"Nothing is published in BigQuery yet: {versions.published(service.cloud)} does not exist or is empty. "
            "Materialize a mart first, and see that CAUDAL_GCP_PROJECT and CAUDAL_GCP_DATASETS name the right place."
        )
    return moment


def stream_batches(
    env: Environment, relation: str, columns: Sequence[str], where: str, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """See `caudal.warehouse.published.arrow_batches`."""
    with closing(connect_session(env)) as session:
        yield from session.stream(relation, columns, where, batch_rows)
