"""An environment of its own in the BigQuery server, and what is to be seen there."""

import uuid

from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.warehouse.bigquery.service import BigQuery
from tests.conftest import ROOT


def environment(server, data):
    cloud = GoogleCloud(server.project, "US", "lakes", f"t{uuid.uuid4().hex[:8]}_", bigquery_url=server.rest_url)
    return Environment("gcp", "shop", ROOT, data, cloud=cloud)


def rows_of(env, relation):
    """What readers see of a relation, its rows in order."""
    found = BigQuery(env.cloud).client.query(f"SELECT * FROM `{env.cloud.table(relation)}`").result()
    return sorted(tuple(row) for row in found)


def datasets(env, beginning):
    listed = BigQuery(env.cloud).client.list_datasets()
    return [each.dataset_id for each in listed if each.dataset_id.startswith(env.cloud.dataset(beginning))]


def snapshots(env):
    listed = BigQuery(env.cloud).client.list_tables(f"{env.cloud.project}.{env.cloud.dataset('versions')}")
    return sorted(each.table_id for each in listed)
