"""Dagster's own resources for Google Cloud, `bigquery` and `gcs`, for a company's Python assets. Only in the environment `gcp`.

They are dagster-gcp's, so that an asset declares `bigquery: BigQueryResource` as it would anywhere. Their clients are those of
the environment: its project, location, impersonated account, or the other server that its settings name. They hold no secret.
dagster-gcp takes a second and 130 MiB to import; that is done in a run whose assets use one of them, and by no definition.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from caudal.google_cloud import GoogleCloud, credentials

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


def resources(cloud: GoogleCloud) -> Mapping[str, dg.ResourceDefinition]:
    """The resources `bigquery` and `gcs` of this environment. Connects to nothing."""
    return {
        "bigquery": dg.ResourceDefinition(
            lambda _: _bigquery(cloud),
            description=f"BigQuery in {cloud.project}, {cloud.location}: dagster-gcp's BigQueryResource.",
        ),
        "gcs": dg.ResourceDefinition(
            lambda _: _storage(cloud), description=f"Cloud Storage, as {cloud.project}: dagster-gcp's GCSResource."
        ),
    }


def _bigquery(cloud: GoogleCloud) -> Any:
    from dagster_gcp import BigQueryResource

    from caudal.warehouse.bigquery.service import BigQuery

    class EnvironmentsBigQuery(BigQueryResource):
        @contextmanager
        def get_client(self) -> Generator[bigquery.Client]:
            with BigQuery(cloud).client as client:
                yield client

    return EnvironmentsBigQuery(project=cloud.project, location=cloud.location)


def _storage(cloud: GoogleCloud) -> Any:
    from dagster_gcp import GCSResource

    class EnvironmentsStorage(GCSResource):
        def get_client(self) -> storage.Client:
            from google.auth.credentials import AnonymousCredentials
            from google.cloud import storage
            from google.cloud.storage._helpers import _get_storage_emulator_override

            emulated = _get_storage_emulator_override() is not None
            return storage.Client(cloud.project, AnonymousCredentials() if emulated else credentials(cloud.impersonate))

    return EnvironmentsStorage(project=cloud.project)
