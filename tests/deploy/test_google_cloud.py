"""What is deployed to Google Cloud says the same as the code that needs it."""

import re
from pathlib import Path

import pytest
import yaml

from caudal.google_cloud import GoogleCloud
from caudal.runtime.doctor.permissions import APIS, IMPERSONATION_API, NOTIFICATIONS_API, On, on, roles, table
from caudal.runtime.verify.trial import STEPS

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guide" / "google-cloud.md").read_text()
TERRAFORM = (ROOT / "deploy" / "terraform" / "main.tf").read_text()


def listed(name: str) -> set[str]:
    found = re.search(rf"\b{name}\s*=\s*\[(.*?)\]", TERRAFORM, re.DOTALL)
    assert found
    return set(re.findall(r'"([^"]+)"', found[1]))


def test_the_guide_has_the_permissions_that_the_doctor_asks_for():
    assert table() in GUIDE, "write caudal.runtime.doctor.permissions.table() into docs/guide/google-cloud.md"


def test_the_guide_has_the_steps_of_verify_and_what_no_other_server_answers():
    for step in STEPS:
        other = f"not answered: {step.only_google}" if step.only_google else "yes"
        assert f"| {step.name} | {step.proves} | {other} |" in GUIDE


def test_terraform_grants_the_roles_that_are_needed_and_no_others():
    assert listed("project_roles") == set(roles(on(On.PROJECT)))
    assert listed("bucket_roles") == set(roles(on(On.BUCKET)))
    assert set(re.findall(r"roles/[\w.]+", TERRAFORM)) == {
        *roles(on(On.PROJECT)),
        *roles(on(On.BUCKET)),
        *roles(on(On.ACCOUNT)),
        "roles/iam.workloadIdentityUser",
    }


def test_terraform_enables_every_api_that_is_needed():
    assert listed("apis") == {*APIS, IMPERSONATION_API, NOTIFICATIONS_API, "serviceusage.googleapis.com"}


def test_the_example_of_settings_is_right():
    lines = (ROOT / "deploy" / "gcp" / "env.example").read_text().splitlines()
    given = dict(line.lstrip("# ").split("=", 1) for line in lines if re.match(r"(# )?CAUDAL_\w+=", line))
    cloud = GoogleCloud.of(given, "shop")
    assert (cloud.project, cloud.bucket, cloud.maximum_bytes) == ("acme-data", "acme-data", 2**40)
    assert cloud.impersonate == "caudal@acme-data.iam.gserviceaccount.com"


@pytest.mark.parametrize("name", ["code", "webserver", "daemon", "api"])
def test_in_containers_every_process_of_ours_has_the_settings_and_no_secret(name: str):
    over = yaml.safe_load((ROOT / "deploy" / "gcp" / "compose.yaml").read_text())["services"]
    assert set(over) <= set(yaml.safe_load((ROOT / "deploy" / "docker" / "compose.yaml").read_text())["services"])
    given = over[name]["environment"]
    known = {"CAUDAL_ENV", "CAUDAL_LAKE_NOTIFICATIONS"} | {v for v in given if v.startswith("CAUDAL_GCP_")}
    assert set(given) == known
    values = {v: re.sub(r"\$\{\w+(?::-(\w*)|:\?[^}]*)?\}", r"\1", str(text)) or "acme-data" for v, text in given.items()}
    values |= {"CAUDAL_GCP_IMPERSONATE": "", "CAUDAL_GCP_MAXIMUM_BYTES": ""}
    assert GoogleCloud.of(values, "shop").location == "EU"
    assert "gcp" in over[name]["build"]["args"]["EXTRAS"].split()
