"""Every container's command, run on this machine against a real PostgreSQL."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.services.servers import ROOT, free_port, until

DOCKER = ROOT / "deploy" / "docker"
OURS = ("code", "webserver", "daemon", "api")
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
PASSWORD = "only-of-this-test"


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


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


@pytest.fixture
def postgres() -> Iterator[int]:
    """A PostgreSQL of this test's own; its port."""
    if not POSTGRES:
        pytest.fail("there is no PostgreSQL server below /usr/lib/postgresql; tests/services/install brings it")
    programs, port = POSTGRES[-1].parent, free_port()
    folder = Path(tempfile.mkdtemp(prefix="caudal-postgres-"))
    # The server refuses to be root.
    other_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if other_user:
        folder.chmod(0o755)
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
    try:
        until(lambda: subprocess.run(create, env=login, check=False, capture_output=True).returncode == 0, within_s=120)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


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
    import dagster_postgres  # noqa: F401 - the extra `postgres`, which `make services` installs

    started = {}
    try:
        for name in OURS:
            with (host.home / f"{name}.log").open("wb") as log:
                command = host.command(compose["services"][name]["command"])
                started[name] = subprocess.Popen(
                    command, env=host.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
                )
            if name == "code":
                until(lambda: healthy("code", compose, host), within_s=240)
        for name in OURS:
            until(lambda name=name: healthy(name, compose, host), within_s=240)
        assert {name: process.poll() for name, process in started.items()} == dict.fromkeys(OURS)
    except AssertionError as unhealthy:
        for name in started:
            unhealthy.add_note(f"{name}:\n{(host.home / f'{name}.log').read_text()[-2000:]}")
        raise
    finally:
        for process in started.values():
            os.killpg(process.pid, signal.SIGTERM)
        for process in started.values():
            stopped(process)
    for name in OURS:
        assert PASSWORD not in (host.home / f"{name}.log").read_text()


def stopped(process: subprocess.Popen) -> None:
    """Wait for the end as Docker does, which kills what a signal did not end: Dagster's code server misses one now and then."""
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def healthy(name: str, compose: dict, host: Host) -> bool:
    check = host.command(compose["services"][name]["healthcheck"]["test"][1:])
    return subprocess.run(check, env=host.environment, cwd=ROOT, check=False, capture_output=True).returncode == 0
