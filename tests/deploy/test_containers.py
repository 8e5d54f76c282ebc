"""The container files, as far as they can be tried without a container engine: what they say, and that their commands run."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "deploy" / "docker"
OURS = ("code", "webserver", "daemon", "api")
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
PASSWORD = "only-of-this-test"


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), continuation lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(words[0], words[1]) for words in (line.split(maxsplit=1) for line in lines) if words]


def test_every_container_restarts_is_watched_and_keeps_its_hands_off(compose: dict) -> None:
    for name in OURS:
        service = compose["services"][name]
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["image"] == "caudal:latest"


def test_dbts_project_is_parsed_when_the_image_is_built(instructions: list[tuple[str, str]]) -> None:
    runs = [arguments for instruction, arguments in instructions if instruction == "RUN"]
    assert ".venv/bin/caudal prepare --company ${COMPANY}" in runs


def test_nothing_listens_beyond_loopback_and_the_database_not_at_all(compose: dict) -> None:
    published = {name: service.get("ports", []) for name, service in compose["services"].items()}
    assert published.pop("webserver") == ["127.0.0.1:3000:3000"]
    assert published.pop("api") == ["127.0.0.1:8765:8765"]
    assert set(map(tuple, published.values())) == {()}


def test_no_secret_is_in_a_file_and_the_api_gets_none(compose: dict) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name:
                assert re.fullmatch(r"\$\{CAUDAL_POSTGRES_PASSWORD:\?.+\}", value)
    assert compose["services"]["api"]["environment"] == {"CAUDAL_COMPANY": "shop"}
    settings = yaml.safe_load((DOCKER / "dagster.yaml").read_text())
    assert settings["storage"]["postgres"]["postgres_db"]["password"] == {"env": "CAUDAL_POSTGRES_PASSWORD"}


def test_with_the_second_file_people_sign_in_and_nothing_else_changes(compose: dict) -> None:
    more = yaml.safe_load((DOCKER / "compose.access.yaml").read_text())["services"]
    assert set(more) == {"webserver"}
    webserver = more["webserver"]
    assert webserver["command"][:4] == ["python", "-m", "caudal.runtime.access", "serve"]
    named = dict(zip(webserver["command"][4::2], webserver["command"][5::2], strict=True))
    stock = compose["services"]["webserver"]["command"]
    assert named == dict(zip(stock[1::2], stock[2::2], strict=True))
    (mounted,) = webserver["volumes"]
    assert mounted.endswith(f":{webserver['environment']['CAUDAL_ACCESS']}:ro")
    assert "ports" not in webserver
    assert "/health'" in webserver["healthcheck"]["test"][-1]


def test_webserver_and_daemon_wait_for_the_database_and_the_code_location_that_they_name(compose: dict) -> None:
    (entry,) = yaml.safe_load((DOCKER / "workspace.yaml").read_text())["load_from"]
    at = entry["grpc_server"]
    command = compose["services"][at["host"]]["command"]
    assert command[command.index("--port") + 1] == str(at["port"])
    assert command[command.index("--location-name") + 1] == at["location_name"]
    for name in ("webserver", "daemon"):
        waited_for = {each: how["condition"] for each, how in compose["services"][name]["depends_on"].items()}
        assert waited_for == {"postgres": "service_healthy", at["host"]: "service_healthy"}


def test_what_is_not_about_places_is_as_on_one_machine() -> None:
    local = yaml.safe_load((ROOT / "deploy" / "local" / "dagster.yaml").read_text())
    containers = yaml.safe_load((DOCKER / "dagster.yaml").read_text())
    for place in ("storage", "local_artifact_storage"):
        containers.pop(place)
    for settings in (local, containers):
        settings.pop("storage", None)
        settings["compute_logs"].pop("config", None)
    # Where a run's process starts differs too: beside the daemon here, in the code location's container there.
    local.pop("run_launcher")
    local["run_queue"] = local.pop("run_coordinator")["config"]
    assert containers == local


@pytest.mark.parametrize("settings", ["local", "docker"])
def test_dagster_understands_its_settings(settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._core.instance.config import dagster_instance_config

    for name in ("HOST", "USER", "PASSWORD", "DB"):
        monkeypatch.setenv(f"CAUDAL_POSTGRES_{name}", "x")
    monkeypatch.setenv("CAUDAL_POSTGRES_PORT", "5432")
    shutil.copy(ROOT / "deploy" / settings / "dagster.yaml", tmp_path)
    understood, _ = dagster_instance_config(str(tmp_path))
    assert understood["telemetry"] == {"enabled": False}
    queue = understood.get("run_queue") or understood["run_coordinator"]["config"]
    assert queue["dequeue_interval_seconds"] == 1


def test_the_image_is_pinned_runs_as_nobody_special_and_holds_no_leftovers(instructions: list[tuple[str, str]]) -> None:
    default = dict(each.partition("=")[::2] for instruction, each in instructions if instruction == "ARG")["PYTHON_IMAGE"]
    assert re.fullmatch(r"python:3\.1[123]-slim-bookworm", default)
    assert {instruction for instruction, _ in instructions} <= {
        *("ARG", "CMD", "COPY", "ENV", "FROM", "RUN", "USER", "VOLUME", "WORKDIR"),
    }
    last_stage = max(i for i, (instruction, _) in enumerate(instructions) if instruction == "FROM")
    assert ("USER", "10001:10001") in instructions[last_stage:]
    for instruction, arguments in instructions:
        if instruction == "RUN" and "apt-get install" in arguments:
            assert "--no-install-recommends" in arguments
            assert "rm -rf /var/lib/apt/lists/*" in arguments
        if instruction == "RUN" and "pip install" in arguments:
            assert "--require-hashes" in arguments
        assert not re.search(r"PASSWORD|SECRET|TOKEN", arguments)


def test_everything_that_the_image_copies_is_there_and_not_ignored(instructions: list[tuple[str, str]]) -> None:
    ignored = {line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines()}
    for instruction, arguments in instructions:
        if instruction != "COPY" or "--from=" in arguments:
            continue
        for source in arguments.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert not ignored & {source, source.split("/")[0]}
    assert {".git", ".venv", "data", ".env"} <= ignored
