"""The container files, as far as they can be tried without a container engine: what they say, and that their commands run."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    for place in ("storage", "local_artifact_storage", "compute_logs"):
        containers.pop(place)
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
    assert understood["run_queue"]["dequeue_interval_seconds"] == 1


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


@dataclass(frozen=True)
class Host:
    """This machine in the containers' place: where they find each other, and the environment that they get."""

    home: Path
    places: dict[str, str]
    environment: dict[str, str]

    def command(self, words: list[str]) -> list[str]:
        """A command of the compose file with the places of this machine."""
        command = [self.places.get(word, word) for word in words]
        for inside, here in self.places.items():
            command = [word.replace(f"127.0.0.1:{inside}/", f"127.0.0.1:{here}/") for word in command]
        scripts = Path(sys.executable).parent
        return [str(scripts / command[0]), *command[1:]] if (scripts / command[0]).exists() else command


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(true: Callable[[], object], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A PostgreSQL of this test's own; its port."""
    if not POSTGRES:
        pytest.skip("no PostgreSQL server below /usr/lib/postgresql")
    programs, port = POSTGRES[-1].parent, free_port()
    folder = tmp_path_factory.mktemp("postgres")
    # The server refuses to be root.
    other_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if other_user:
        for parent in (folder, *folder.parents[:2]):
            parent.chmod(0o755)
        shutil.chown(folder, "postgres")
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    initialize = ["initdb", "-D", folder / "data", "-U", "caudal", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}"]
    subprocess.run([*other_user, programs / initialize[0], *initialize[1:]], check=True, stdout=subprocess.DEVNULL, cwd="/")
    options = ["-D", folder / "data", "-k", folder, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([*other_user, programs / "postgres", *options], stderr=log, cwd="/", start_new_session=True)
    login = {"PGPASSWORD": PASSWORD, "PGUSER": "caudal", "PGHOST": "127.0.0.1", "PGPORT": str(port)}
    create = [programs / "psql", "-qc", "create database caudal", "postgres"]
    until(lambda: subprocess.run(create, env=login, check=False, capture_output=True).returncode == 0, within_s=30)
    yield port
    os.killpg(server.pid, signal.SIGINT)
    server.wait(30)


@pytest.fixture
def host(postgres: int, tmp_path: Path, compose: dict) -> Host:
    ports = {port: str(free_port()) for port in ("4000", "3000", "8765")}
    places = {**ports, "0.0.0.0": "127.0.0.1", "/etc/caudal/workspace.yaml": str(tmp_path / "etc" / "workspace.yaml")}
    (tmp_path / "etc").mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        text = (DOCKER / name).read_text().replace("/var/lib/caudal", str(tmp_path / "data"))
        (tmp_path / "etc" / name).write_text(text.replace("host: code", "host: 127.0.0.1").replace("4000", ports["4000"]))
    (tmp_path / "etc").chmod(0o555)
    told = compose["services"]["webserver"]["environment"]
    environment = {
        **os.environ,
        **told,
        "CAUDAL_POSTGRES_HOST": "127.0.0.1",
        "CAUDAL_POSTGRES_PORT": str(postgres),
        "CAUDAL_POSTGRES_PASSWORD": PASSWORD,
        "CAUDAL_DATA": str(tmp_path / "data"),
        "CAUDAL_ROOT": str(ROOT),
        "DAGSTER_HOME": str(tmp_path / "etc"),
    }
    return Host(tmp_path, places, environment)


def test_each_container_s_command_runs_and_its_health_check_passes_on_a_real_database(compose: dict, host: Host) -> None:
    pytest.importorskip("dagster_postgres", reason="the extra `postgres` is not installed")
    started = {}
    try:
        for name in OURS:
            with (host.home / f"{name}.log").open("wb") as log:
                command = host.command(compose["services"][name]["command"])
                started[name] = subprocess.Popen(
                    command, env=host.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
                )
            if name == "code":
                until(lambda: healthy("code", compose, host), within_s=90)
        for name in OURS:
            until(lambda name=name: healthy(name, compose, host), within_s=90)
        assert {name: process.poll() for name, process in started.items()} == dict.fromkeys(OURS)
    except AssertionError as unhealthy:
        for name in started:
            unhealthy.add_note(f"{name}:\n{(host.home / f'{name}.log').read_text()[-2000:]}")
        raise
    finally:
        for process in started.values():
            os.killpg(process.pid, signal.SIGTERM)
        for process in started.values():
            process.wait(60)
    for name in OURS:
        assert PASSWORD not in (host.home / f"{name}.log").read_text()


def healthy(name: str, compose: dict, host: Host) -> bool:
    check = host.command(compose["services"][name]["healthcheck"]["test"][1:])
    return subprocess.run(check, env=host.environment, cwd=ROOT, check=False, capture_output=True).returncode == 0
