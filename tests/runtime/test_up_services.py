"""What is run, where it listens, and that there is one platform at a time on the same data."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from caudal.environment import Environment
from caudal.runtime import services, sockets
from caudal.runtime.changes import Watch, package_folder
from caudal.runtime.lock import AlreadyUp, holder, only_one
from caudal.runtime.services import Addresses, CodeLocation, WorkspaceError

SHOP = CodeLocation("shop", "shop.definitions")


@pytest.fixture
def here(tmp_path: Path) -> Environment:
    settings = tmp_path / "deploy" / "local" / "dagster.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("telemetry:\n  enabled: false\n")
    return Environment("local", "shop", tmp_path, tmp_path / "data")


def test_code_locations_are_the_modules_of_the_workspace(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(
        "load_from:\n  - python_module: {module_name: shop.definitions, location_name: shop}\n  - python_module: bakery\n"
    )
    assert services.code_locations(workspace) == (SHOP, CodeLocation("bakery", "bakery"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "does not exist"),
        ("", "names no code location"),
        ("load_from:\n  - python_file: shop.py\n", r'found \{"python_file": "shop.py"\}; expected `python_module:`'),
    ],
)
def test_a_workspace_that_cannot_be_run_is_refused(tmp_path: Path, text: str | None, problem: str) -> None:
    workspace = tmp_path / "workspace.yaml"
    if text is not None:
        workspace.write_text(text)
    with pytest.raises(WorkspaceError, match=problem):
        services.code_locations(workspace)


def test_dagsters_home_gets_the_settings_and_a_workspace_of_sockets_and_says_that_they_are_generated(
    here: Environment,
) -> None:
    services.prepare(here, (SHOP,))
    copied = here.dagster_home / "dagster.yaml"
    assert copied.read_text() == (
        "# Generated from deploy/local/dagster.yaml at every start. Change that file, not this one.\n"
        "telemetry:\n  enabled: false\n"
    )
    workspace = services.workspace_of(here)
    assert workspace.read_text().startswith("# Generated from workspace.yaml")
    (entry,) = yaml.safe_load(workspace.read_text())["load_from"]
    assert entry == {"grpc_server": {"socket": str(services.socket_of(here, SHOP)), "location_name": "shop"}}
    assert services.socket_of(here, SHOP).parent.is_dir()
    before = copied.stat().st_mtime_ns
    services.prepare(here, (SHOP,))
    assert copied.stat().st_mtime_ns == before


def test_a_socket_whose_path_would_be_too_long_is_at_the_same_short_place_every_time(tmp_path: Path) -> None:
    deep = Environment("local", "shop", tmp_path, tmp_path / ("d" * 100))
    place = services.socket_of(deep, SHOP)
    assert len(str(place)) <= sockets.SOCKET_PATH_LIMIT
    assert place == services.socket_of(deep, SHOP)
    assert place != services.socket_of(deep, CodeLocation("bakery", "bakery"))


def test_the_sockets_are_removed_with_the_folder_for_long_paths(
    tmp_path: Path, here: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(sockets, "SOCKET_PATH_LIMIT", 10)
    services.prepare(here, (SHOP,))
    place = services.socket_of(here, SHOP)
    place.touch()
    services.remove_sockets(here, (SHOP,))
    assert not place.parent.exists()
    services.remove_sockets(here, (SHOP,))


def test_every_service_is_told_the_same_place_and_tells_nobody_anything(here: Environment) -> None:
    told = services.variables(here, {"PATH": "/bin", "CAUDAL_DATA": "elsewhere"})
    assert told["PATH"] == "/bin"
    assert (told["CAUDAL_DATA"], told["DAGSTER_HOME"]) == (str(here.data), str(here.dagster_home))
    assert (told["DO_NOT_TRACK"], told["OMP_WAIT_POLICY"]) == ("1", "PASSIVE")


def test_every_service_listens_on_loopback_only(here: Environment) -> None:
    addresses = Addresses(3000, 8765)
    for service in (services.webserver(here, addresses), services.api(here, addresses)):
        assert service.command[service.command.index("--host") + 1] == "127.0.0.1"
    assert "--socket" in services.code_server(here, SHOP).command


def test_a_port_that_is_taken_or_promised_to_another_platform_is_passed_over() -> None:
    """Two that are started together, such as production and a branch, listen on their ports seconds after choosing them."""
    with socket.socket() as taken, ExitStack() as held:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with ExitStack() as another:
            promised = services.free_port(port, another)
            found = services.free_port(port, held)
            assert len({port, promised, found}) == 3
        assert services.free_port(promised, held) == promised


def test_nothing_that_does_not_listen_answers() -> None:
    with ExitStack() as held:
        nowhere = Addresses(services.free_port(20_000, held), services.free_port(21_000, held))
    assert services.locations_loaded(nowhere) is None
    assert not services.api_answers(nowhere)


def test_the_lock_is_held_against_other_processes_and_says_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "dagster" / "up.lock"
    another = (
        "import pathlib, sys\nfrom caudal.runtime.lock import AlreadyUp, only_one\n"
        "try:\n    with only_one(pathlib.Path(sys.argv[1])): print('mine')\nexcept AlreadyUp as held: print(held)"
    )

    def tried_by_another() -> str:
        return subprocess.run([sys.executable, "-c", another, path], check=True, capture_output=True, text=True).stdout

    with only_one(path) as lock:
        lock.tell({"dagster": "http://127.0.0.1:3000"})
        told = tried_by_another()
        with pytest.raises(AlreadyUp), only_one(path):
            pass
    assert f"already up on {tmp_path / 'data'} at http://127.0.0.1:3000 (process " in told
    assert holder(path)["stopped"] is True
    assert tried_by_another() == "mine\n"


def test_a_lock_that_tells_nothing_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "up.lock"
    path.write_text("not what it should be")
    assert holder(path) == {}
    with only_one(path):
        pass


def test_a_changed_new_or_removed_file_of_the_definitions_is_noticed_once(tmp_path: Path) -> None:
    (tmp_path / "defs").mkdir()
    declared = tmp_path / "defs" / "defs.yaml"
    declared.write_text("a: 1")
    watch = Watch((tmp_path, tmp_path / "not there"))
    assert not watch.changed()
    for change in (
        lambda: declared.write_text("a: 22"),
        lambda: (tmp_path / "defs" / "model.sql").write_text("select 1"),
        declared.unlink,
    ):
        change()
        assert watch.changed()
        assert not watch.changed()


def test_generated_files_and_other_files_are_no_change_of_the_definitions(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    watch = Watch((tmp_path,))
    for name in ("target/manifest.yaml", ".hidden.py", "notes.txt"):
        (tmp_path / name).write_text("generated")
    assert not watch.changed()


def test_the_folder_of_a_package_is_found_without_importing_it() -> None:
    folder = package_folder("caudal.runtime.nothing_of_this_name")
    assert folder == Path(services.__file__).resolve().parents[1]
    assert package_folder("no_package_of_this_name") is None
