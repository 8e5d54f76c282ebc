"""Raw tables and rejects as loaders wrote them, for whoever reads them before, or newer than, they are published."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from caudal.warehouse.bigquery.catalog import Catalog
from caudal.warehouse.bigquery.explained import BigQueryRefused
from caudal.warehouse.bigquery.moment import Moment
from caudal.warehouse.bigquery.published import service_of
from caudal.warehouse.bigquery.raw_tables import BigQueryRawTables
from caudal.warehouse.bigquery.session import Session
from caudal.warehouse.quality import judged
from caudal.warehouse.raw_tables import raw

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.warehouse.bigquery.service import BigQuery

#: Schemas that hold what is loaded, and those whose datasets its rows are in.
_PLACES = {"raw": "loading", "quarantine": "quarantine"}


def newest_raw(env: Environment, dataset: Dataset) -> tuple[Session, int | None]:
    """A connection that reads the dataset's raw as it was loaded last and passed its rules; which version, None for no rows."""
    service = service_of(env)
    newest = BigQueryRawTables(service.cloud).version(raw(dataset))
    version = judged.version_to_read(env, dataset, newest)
    then = None if version in (None, newest) else datetime.fromtimestamp(version / 1000, UTC) + timedelta(milliseconds=1)
    moment = Moment(f"raw {version}", datetime.now(UTC), then)
    return Session(env, service, moment, Catalog(service, _PLACES)), version


def loaded_tables(env: Environment, service: BigQuery) -> tuple[Callable[[str, str], str | None], Callable[[str], str]]:
    """What relation a schema, maybe "", and a name mean, and `project.dataset.table` of a relation.

    The first raises `BigQueryRefused` for rows that have not passed the table's blocking rules.
    """
    catalog = Catalog(service, _PLACES)

    def relation_of(schema: str, name: str) -> str | None:
        relation = catalog.relation(schema, name)
        stands = judged.recorded(env, relation.removeprefix("raw.")) if relation else None
        if relation and relation.startswith("raw.") and stands is not None and not stands.holds:
            told = f"{relation}: its newest rows have not passed its blocking rules, and nothing is published yet"
            raise BigQueryRefused(f"{told}: {stands.because}", "invalid")
        return relation

    return relation_of, catalog.place
