"""An environment of its own in the BigQuery server, and what is to be seen there."""

from caudal.environment import Environment
from caudal.warehouse.bigquery.service import BigQuery
from tests.conftest import ROOT


def environment(server, data, **given):
    """Args: given: of `server.settings`."""
    return Environment("gcp", "shop", ROOT, data, cloud=server.settings(**given))


def rows_of(env, relation):
    """What readers see of a relation, its rows in order."""
    found = BigQuery(env.cloud).query(f"SELECT * FROM `{env.cloud.table(relation)}`")
    return sorted(tuple(row) for row in found)


def datasets(env, beginning=""):
    listed = BigQuery(env.cloud).client.list_datasets()
    return sorted(each.dataset_id for each in listed if each.dataset_id.startswith(env.cloud.dataset(beginning)))


def snapshots(env):
    listed = BigQuery(env.cloud).client.list_tables(f"{env.cloud.project}.{env.cloud.dataset('versions')}")
    return sorted(each.table_id for each in listed)
