"""What `caudal doctor` says of this machine."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.runtime.doctor import machine
from caudal.runtime.doctor.checks import State
from caudal.runtime.doctor.examining import examined
from caudal.runtime.doctor.machine import machine_checks

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Environment:
    return Environment("local", "shop", ROOT, tmp_path / "data")


def failing(env: Environment) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {check.name: (check.found, check.to_do) for check in machine_checks(env) if check.state is State.FAILED}


def test_locally_it_needs_no_account_and_its_answer_is_a_document_too(tmp_path: Path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CAUDAL_")}
    command = [sys.executable, "-W", "ignore", "-m", "caudal.cli", "doctor", "--json"]
    given = kept | {"CAUDAL_DATA": str(tmp_path), "CAUDAL_ROOT": str(ROOT)}
    done = subprocess.run(command, env=given, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert told["healthy"] is True
    assert [check["name"].split()[0] for check in told["checks"]] == [
        "Python",
        "packages",
        "DuckDB",
        "checkout",
        "data",
        "lake",
    ]


def test_a_company_that_the_checkout_does_not_have_is_told(home: Environment):
    found, to_do = failing(replace(home, company="stall"))["checkout"]
    assert found == f"{ROOT} has shop, not stall"
    assert to_do == ("set CAUDAL_COMPANY",)


def test_a_folder_of_data_that_cannot_be_there_is_told(home: Environment, tmp_path: Path):
    (tmp_path / "file").write_text("")
    data = tmp_path / "file" / "data"
    assert failing(replace(home, data=data))[f"data {data}"][1] == ("set CAUDAL_DATA to a folder that this user may write",)


def test_a_disk_that_is_nearly_full_is_told(home: Environment, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "_FREE_BYTES", 10**18)
    assert "GiB free" in failing(home)[f"data {home.data}"][0]


def test_packages_of_google_cloud_that_are_missing_are_named(home: Environment, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "_CLOUD", ("google.cloud.bigquery", "google.cloud.unheard_of"))
    env = replace(home, cloud=GoogleCloud("acme-data", "EU", "acme-data", "shop_"))
    assert failing(env)["packages"] == (
        "not installed: google.cloud.unheard_of",
        ("uv sync --extra gcp, or pip install 'caudal[gcp]'",),
    )


def test_a_lake_elsewhere_that_cannot_be_reached_is_told(home: Environment):
    found, _ = failing(replace(home, lake_elsewhere="ftp://nowhere/lake"))["lake ftp://nowhere/lake"]
    assert "a lake is a folder, or gs://bucket/prefix" in found


def test_without_the_packages_of_google_cloud_nothing_more_is_asked(home: Environment, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "_CLOUD", ("google.cloud.unheard_of",))
    env = replace(home, cloud=GoogleCloud("acme-data", "EU", "acme-data", "shop_"), lake_elsewhere=str(home.lake))
    last = list(examined(env))[-1]
    assert (last.state, last.found) == (State.SKIPPED, "nothing can be asked without the packages")
