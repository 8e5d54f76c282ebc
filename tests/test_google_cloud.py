"""The settings of the environment `gcp`: each variable, and what is said of each that cannot be right."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from caudal import google_cloud
from caudal.cli import app
from caudal.environment import Environment, UnknownEnvironment
from caudal.google_cloud import GoogleCloud, WrongSettings, label
from caudal.warehouse.bigquery.explained import BigQueryUnreachable

ENOUGH = {"CAUDAL_GCP_PROJECT": "acme-data", "CAUDAL_GCP_BUCKET": "acme-lake"}


def problems(**wrong: str) -> list[str]:
    with pytest.raises(WrongSettings) as refused:
        GoogleCloud.of(ENOUGH | {f"CAUDAL_GCP_{name}": value for name, value in wrong.items()}, "shop")
    first, *rest = str(refused.value).split("\n- ")
    assert first == "CAUDAL_ENV is gcp, and its settings are not right:"
    return rest


def test_a_project_and_a_bucket_are_enough():
    cloud = GoogleCloud.of(ENOUGH, "shop")
    assert cloud == GoogleCloud("acme-data", "EU", "acme-lake", "shop_")
    assert cloud.dataset("marts") == "shop_marts"
    assert cloud.table("marts.daily_sales") == "acme-data.shop_marts.daily_sales"
    assert cloud.folder("parts") == "gs://acme-lake/shop/parts"


def test_every_variable_is_read():
    given = {
        "PROJECT": "example.com:acme-data",
        "LOCATION": "europe-west1",
        "BUCKET": "acme.lake",
        "DATASETS": "dev_{company}_",
        "IMPERSONATE": "caudal@acme-data.iam.gserviceaccount.com",
        "MAXIMUM_BYTES": "1e12",
        "USD_PER_TIB": "7.5",
        "READ_USD_PER_TIB": "1.3",
        "CANDIDATE_HOURS": "48",
        "BIGQUERY_URL": "http://127.0.0.1:9050/",
        "BIGQUERY_READ_HOST": "127.0.0.1:9060",
    }
    assert GoogleCloud.of({f"CAUDAL_GCP_{name}": value for name, value in given.items()}, "stall") == GoogleCloud(
        project="example.com:acme-data",
        location="europe-west1",
        bucket="acme.lake",
        datasets="dev_stall_",
        impersonate="caudal@acme-data.iam.gserviceaccount.com",
        maximum_bytes=10**12,
        usd_per_tib=7.5,
        read_usd_per_tib=1.3,
        candidate_hours=48.0,
        bigquery_url="http://127.0.0.1:9050",
        bigquery_read_host="127.0.0.1:9060",
    )


@pytest.mark.parametrize("location", ["EU", "US", "europe-west1", "us-central1", "northamerica-northeast2"])
def test_a_location_is_a_multi_region_or_a_region(location: str):
    assert GoogleCloud.of(ENOUGH | {"CAUDAL_GCP_LOCATION": location}, "shop").location == location


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PROJECT", "Acme Data", "a project's id, such as `acme-data`"),
        ("PROJECT", "12345", "a project's id, such as `acme-data`"),
        ("LOCATION", "Europe", "`EU`, `US`, or a region such as `europe-west1`"),
        ("LOCATION", "europe-west1-b", "`EU`, `US`, or a region such as `europe-west1`"),
        ("BUCKET", "gs://acme-data", "a bucket's name without `gs://`, such as `acme-data`"),
        ("BUCKET", "Acme", "a bucket's name without `gs://`, such as `acme-data`"),
        ("DATASETS", "shop-", "letters, digits and `_`"),
        ("IMPERSONATE", "ann@example.com", "a service account's address"),
        ("MAXIMUM_BYTES", "10 GB", "a number, 0 or more"),
        ("MAXIMUM_BYTES", "-1", "a number, 0 or more"),
        ("USD_PER_TIB", "nan", "a number, 0 or more"),
        ("USD_PER_TIB", "inf", "a number, 0 or more"),
        ("CANDIDATE_HOURS", "0", "a number, 1 or more"),
        ("BIGQUERY_URL", "localhost:9050", "`http://host:port` or `https://host`"),
        ("BIGQUERY_URL", "http://ann:secret@host", "`http://host:port` or `https://host`"),
        ("BIGQUERY_READ_HOST", "http://localhost:9060", "`host:port`"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(name: str, value: str, expected: str):
    assert problems(**{name: value}) == [f"CAUDAL_GCP_{name} is {value!r}; expected {expected}"]


def test_everything_that_is_wrong_is_told_at_once():
    with pytest.raises(WrongSettings) as refused:
        GoogleCloud.of({"CAUDAL_GCP_LOCATION": "Mars", "CAUDAL_GCP_MAXIMUM_BYTES": "much"}, "shop")
    said = str(refused.value)
    assert re.findall(r"CAUDAL_GCP_(\w+)", said) == ["PROJECT", "LOCATION", "BUCKET", "MAXIMUM_BYTES"]
    assert "CAUDAL_GCP_PROJECT is not set" in said


def test_a_misspelt_variable_is_not_passed_over():
    assert problems(MAX_BYTES="1000") == ["CAUDAL_GCP_MAX_BYTES is no setting; did you mean CAUDAL_GCP_MAXIMUM_BYTES?"]


def test_every_variable_is_in_the_table_that_people_read():
    table = set(re.findall(r"^\| `(CAUDAL_GCP_\w+)`", google_cloud.__doc__ or "", re.MULTILINE))
    source = Path(google_cloud.__file__).read_text()
    read = {f"CAUDAL_GCP_{name}" for name in re.findall(r'reader\.(?:text|number)\("(\w+)"', source)}
    assert read == table


def test_a_label_is_made_fit_for_bigquery():
    assert label("Ann@Example.com/Marts Daily") == "ann_example_com_marts_daily"
    assert len(label("x" * 100)) == 63


def test_the_lake_is_in_the_bucket_unless_another_place_is_named(monkeypatch: pytest.MonkeyPatch):
    for name, value in ENOUGH.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CAUDAL_ENV", "gcp")
    monkeypatch.delenv("CAUDAL_LAKE", raising=False)
    assert Environment.current("shop").lake_url == "gs://acme-lake/shop/lake"
    monkeypatch.setenv("CAUDAL_LAKE", "gs://elsewhere/{company}")
    assert Environment.current("shop").lake_url == "gs://elsewhere/shop"


def test_an_environment_that_does_not_exist_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CAUDAL_ENV", "aws")
    with pytest.raises(UnknownEnvironment, match="expected one of: local, gcp") as refused:
        Environment.current("shop")
    assert isinstance(refused.value, WrongSettings)
    monkeypatch.setenv("CAUDAL_ENV", "local")
    monkeypatch.setenv("CAUDAL_KEPT_DAYS", "some")
    with pytest.raises(WrongSettings, match="CAUDAL_KEPT_DAYS is 'some'"):
        Environment.current("shop")


@pytest.mark.parametrize(
    "command", [["trace", "daily_sales", "--where", "true"], ["versions"], ["sql", "select 1"], ["lake", "status"]]
)
def test_what_bigquery_refuses_is_told_by_every_command_without_a_stack_trace(command, monkeypatch):
    def refused(company):
        raise BigQueryUnreachable(f"BigQuery was not reached for {company}. Ask again later")

    monkeypatch.setattr(Environment, "current", refused)
    told = CliRunner().invoke(app, [*command, "--company", "shop"])
    assert (told.exit_code, told.stderr) == (2, "caudal: BigQuery was not reached for shop. Ask again later\n")
