"""A process to be killed, which looks at the lake and loads what it finds into BigQuery, over and over: or once."""

import sys
from pathlib import Path

from caudal.contracts import read_contract
from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.lake.dataset import Dataset
from caudal.warehouse.loading import load_pending

if __name__ == "__main__":
    times, data, contract, url, bucket, prefix, project = sys.argv[1:]
    cloud = GoogleCloud(project, "US", bucket, prefix, bigquery_url=url)
    env = Environment("gcp", "shop", Path(data), Path(data), cloud=cloud, lake_elsewhere=f"{data}/../lake")
    dataset = Dataset("stall", "sales", "csv", read_contract(Path(contract)), path="*", on_delete="remove")
    import google.cloud.bigquery  # noqa: F401

    print("ready", flush=True)
    done = 0
    while times == "over-and-over" or done < int(times):
        load_pending(env, dataset, "run", batch_files=3)
        done += 1
