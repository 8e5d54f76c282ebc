"""Where the steps are tried: datasets, a folder of a bucket and a folder of this machine, of this run alone.

All names begin with `caudal_verify_` (those of buckets with `caudal-verify-`) and the moment up to which the run may go on.
What a run that was killed has left is removed by the next one after that moment; the tables have expired by then.
"""

from __future__ import annotations

import re
import secrets
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.contracts import read_contract
from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.warehouse.bigquery.service import BigQuery

if TYPE_CHECKING:
    from caudal.google_cloud import GoogleCloud

#: How long a run may take, and its tables stand: the shortest expiration that BigQuery knows.
LASTS_S = 3600
_NAME = re.compile(r"caudal[_-]verify[_-](\d{10})[_-]")
#: The datasets of an environment that are made before anything else, so that their tables expire.
SCHEMAS = ("loading", "quarantine", "raw", "marts", "caudal", "versions")

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
schema:
  - name: sales
    properties:
      - {name: day, logicalType: date, required: true}
      - {name: item, logicalType: string, required: true}
      - {name: units, logicalType: integer}
      - {name: amount, logicalType: number, physicalType: "DECIMAL(10,2)"}
customProperties:
  - {property: driftPolicy, value: evolve}
  - {property: partitionBy, value: day}
  - {property: clusterBy, value: [item]}
  - {property: requirePartitionFilter, value: true}
"""


@dataclass(frozen=True)
class Ground:
    """The place of one run.

    Attributes:
        env: an environment like any other, whose company is `verify`.
        cloud: its settings.
        dataset: a dataset of its lake, under `CONTRACT`.
        service: BigQuery as steps ask it directly.

    """

    env: Environment
    cloud: GoogleCloud
    dataset: Dataset
    service: BigQuery = field(compare=False)

    @property
    def is_google(self) -> bool:
        """Whether BigQuery is Google's own, and not another server in its place."""
        return self.cloud.bigquery_url is None

    @cached_property
    def table(self) -> str:
        """The raw table, quoted."""
        return f"`{self.cloud.table('loading.verify__sales')}`"

    def drop(self, name: str, text: str) -> None:
        """Put a file into the lake, replacing one of that name."""
        from caudal.store import open_store

        with open_store(self.env.lake_url, self.env.acts_as).write(f"verify/sales/{name}") as temporary:
            temporary.write_text(text, encoding="utf-8")

    def load(self) -> Any:
        """Load what is new in the lake."""
        from caudal.warehouse.loading import load_pending

        return load_pending(self.env, self.dataset, "verify")

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a statement, in which `{t}` is the raw table."""
        return [tuple(row.values()) for row in self.service.query(sql.replace("{t}", self.table))]


@contextmanager
def prepared(cloud: GoogleCloud, root: Path, *, own_bucket: bool, now: float | None = None) -> Generator[Ground]:
    """A place to try things, removed at the end.

    Args:
        cloud: the settings; prefixes of datasets and objects are replaced.
        root: the checkout.
        own_bucket: make a bucket, instead of using a folder of the one that the settings name.
        now: instead of this moment, in seconds since 1970.

    """
    until, mark = int((now or time.time()) + LASTS_S), secrets.token_hex(3)
    prefix = f"caudal_verify_{until}_{mark}_"
    bucket = prefix.strip("_").replace("_", "-") if own_bucket else cloud.bucket
    cloud = replace(cloud, datasets=prefix, bucket=bucket, candidate_hours=1, maximum_bytes=None)
    with tempfile.TemporaryDirectory(prefix="caudal-verify-") as folder:
        contract = Path(folder) / "sales.odcs.yaml"
        contract.write_text(CONTRACT, encoding="utf-8")
        env = Environment("gcp", "verify", root, Path(folder) / "data", cloud=cloud)
        dataset = Dataset(source="verify", name="sales", format="csv", path="*.csv", contract=read_contract(contract))
        service = BigQuery(cloud, {"asset": "verify", "run": mark})
        try:
            if own_bucket:
                storage(cloud).create_bucket(bucket, location=cloud.location)
            _make_datasets(service)
            yield Ground(env, cloud, dataset, service)
        finally:
            remove(service, own_bucket=own_bucket)


def leftovers(service: BigQuery, *, now: float | None = None) -> list[str]:
    """Remove what runs that were killed have left, and may not be going on; the names of what is gone.

    Args:
        service: whose settings name the bucket to look in; where they name none, buckets that such runs made are looked for.
        now: instead of this moment, in seconds since 1970.

    """
    client, gone = service.client, []
    for listed in client.list_datasets(retry=service.busy):
        if _is_past(listed.dataset_id, now):
            client.delete_dataset(listed.reference, delete_contents=True, not_found_ok=True, retry=service.busy)
            gone.append(f"dataset {listed.dataset_id}")
    storages, bucket = storage(service.cloud), service.cloud.bucket
    if bucket:
        for blob in storages.list_blobs(bucket, prefix="caudal_verify_"):
            if _is_past(blob.name, now):
                blob.delete()
                gone.append(f"object gs://{bucket}/{blob.name}")
    else:
        for made in storages.list_buckets(prefix="caudal-verify-"):
            if _is_past(made.name, now):
                made.delete(force=True)
                gone.append(f"bucket {made.name}")
    return gone


def remove(service: BigQuery, *, own_bucket: bool) -> None:
    """Remove everything of one run."""
    client, cloud = service.client, service.cloud
    for listed in client.list_datasets(retry=service.busy):
        if listed.dataset_id.startswith(cloud.datasets):
            client.delete_dataset(listed.reference, delete_contents=True, not_found_ok=True, retry=service.busy)
    bucket = storage(cloud).bucket(cloud.bucket)
    folder = cloud.folder("x").partition(f"{cloud.bucket}/")[2].rpartition("/")[0]
    for blob in bucket.list_blobs(prefix=f"{folder}/"):
        blob.delete()
    if own_bucket:
        bucket.delete()


def storage(cloud: GoogleCloud) -> Any:
    """Google's client of Cloud Storage, or of the server that `STORAGE_EMULATOR_HOST` names."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage as google_storage
    from google.cloud.storage._helpers import _get_storage_emulator_override

    from caudal.google_cloud import credentials

    emulated = _get_storage_emulator_override() is not None
    return google_storage.Client(cloud.project, AnonymousCredentials() if emulated else credentials(cloud.impersonate))


def _make_datasets(service: BigQuery) -> None:
    from google.cloud import bigquery

    for schema in SCHEMAS:
        made = bigquery.Dataset(f"{service.cloud.project}.{service.cloud.dataset(schema)}")
        made.location, made.labels = service.cloud.location, {**service.labels, "caudal_verify": "temporary"}
        made.default_table_expiration_ms = LASTS_S * 1000
        service.client.create_dataset(made, retry=service.busy)


def _is_past(name: str, now: float | None) -> bool:
    found = _NAME.match(name)
    return found is not None and int(found[1]) < (now or time.time())
