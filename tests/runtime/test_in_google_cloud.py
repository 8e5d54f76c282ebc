"""The platform in the environment `gcp`, as far as it needs no server: definitions, resources, and what is said at the start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from caudal.google_cloud import GoogleCloud, WrongSettings
from caudal.runtime.google_cloud_resources import resources

ROOT = Path(__file__).resolve().parents[2]
RIGHT = {"CAUDAL_ENV": "gcp", "CAUDAL_GCP_PROJECT": "acme-data", "CAUDAL_GCP_BUCKET": "acme-data"}

#: Loads the definitions where no socket can be opened and no credentials are.
LOADED = """
import json, socket, sys
def refused(*_, **__): raise AssertionError("the definitions want a network")
socket.socket.connect = socket.getaddrinfo = refused
from caudal.runtime.location import load_definitions
defs = load_definitions("shop")
defs.resolve_asset_graph()
heavy = ["dagster_gcp", "google.cloud.bigquery", "google.cloud.storage", "gcsfs", "pandas", "duckdb", "dbt"]
print(json.dumps({"resources": sorted(defs.resources), "heavy": [name for name in heavy if name in sys.modules]}))
"""


def run(*command: str, data: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CAUDAL_", "GOOGLE_"))}
    given = kept | {"CAUDAL_DATA": str(data), "HOME": str(data), "CAUDAL_ROOT": str(ROOT)} | variables
    return subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        env=given,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_same_definitions_load_in_gcp_without_network_secret_or_heavy_library(tmp_path: Path):
    done = run("-c", LOADED, data=tmp_path, **RIGHT)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["heavy"] == []
    assert {"bigquery", "gcs"} <= set(told["resources"])


@pytest.mark.parametrize("command", [["up", "--once"], ["where"], ["sql", "select 1"], ["lake", "compact"]])
def test_a_command_says_what_is_wrong_with_the_settings_and_shows_no_stack(command: list[str], tmp_path: Path):
    done = run("-m", "caudal.cli", *command, data=tmp_path, CAUDAL_ENV="gcp", CAUDAL_GCP_LOCATION="Mars")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "caudal: CAUDAL_ENV is gcp, and its settings are not right:",
        "- CAUDAL_GCP_PROJECT is not set; expected a project's id, such as `acme-data`",
        "- CAUDAL_GCP_LOCATION is 'Mars'; expected `EU`, `US`, or a region such as `europe-west1`",
        "- CAUDAL_GCP_BUCKET is not set; expected a bucket's name without `gs://`, such as `acme-data`",
    ]


def test_where_tells_the_bucket_and_the_datasets(tmp_path: Path):
    done = run("-m", "caudal.cli", "where", data=tmp_path, **RIGHT)
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert (told["lake"], told["raw"]) == ("gs://acme-data/shop/lake", "shop_raw")
    assert "published" not in told


def test_a_code_location_with_wrong_settings_is_told_as_that_by_dagster(monkeypatch: pytest.MonkeyPatch):
    from dagster._utils.error import serializable_error_info_from_exc_info

    from caudal.runtime.location import code_location

    monkeypatch.setenv("CAUDAL_ENV", "gcp")
    monkeypatch.delenv("CAUDAL_GCP_PROJECT", raising=False)
    monkeypatch.setenv("CAUDAL_GCP_BUCKET", "acme-data")
    with pytest.raises(WrongSettings) as refused:
        code_location("shop")
    told = serializable_error_info_from_exc_info((refused.type, refused.value, refused.tb))
    assert told.cls_name == "WrongSettings"
    assert told.message.splitlines()[-1] == "- CAUDAL_GCP_PROJECT is not set; expected a project's id, such as `acme-data`"


def test_an_asset_of_a_company_is_given_the_clients_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    from dagster_gcp import BigQueryResource, GCSResource

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    seen = {}

    @dg.asset
    def own_table(bigquery: BigQueryResource, gcs: GCSResource) -> None:
        with bigquery.get_client() as client:
            seen["bigquery"] = (client.project, client.location, client._connection.API_BASE_URL)
        seen["gcs"] = (gcs.get_client().project, gcs.get_client()._connection.API_BASE_URL)

    cloud = GoogleCloud("acme-data", "europe-west1", "acme-data", "shop_", bigquery_url="http://127.0.0.1:2")
    assert dg.materialize([own_table], resources=resources(cloud)).success
    assert seen == {
        "bigquery": ("acme-data", "europe-west1", "http://127.0.0.1:2"),
        "gcs": ("acme-data", "http://127.0.0.1:1"),
    }
