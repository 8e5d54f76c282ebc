"""The bootstrap: from a machine with Python and nothing else to an installation, without trusting what it downloads."""

import hashlib
import http.server
import importlib.util
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WHEEL = "uv-9.9.9-py3-none-{}.whl"
FAKE_UV = '#!/bin/sh\nif [ "$1" = --version ]; then echo \'uv 9.9.9\'; else echo "$@" >> "$UV_CALLS"; exit ${UV_EXIT:-0}; fi\n'


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The bootstrap as a module, working on a checkout in a temporary folder, on a machine without uv."""
    spec: Any = importlib.util.spec_from_file_location("bootstrap", ROOT / "deploy" / "local" / "bootstrap.py")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").write_text('[project]\nname = "caudal"\n[tool.ruff]\nline-length = 128\n')
    (checkout / "uv.lock").write_text("version = 1\n")
    pins = checkout / "uv.txt"
    pins.write_text("uv==9.9.9 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setattr(module, "ROOT", checkout)
    monkeypatch.setattr(module, "PINS", pins)
    monkeypatch.setenv("UV_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return module


@pytest.fixture
def uv_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A uv on the PATH that writes down what it is asked to do; the path of what it writes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "uv").write_text(FAKE_UV)
    (folder / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return tmp_path / "calls"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A package index on loopback: the folder that it serves, and its address."""
    folder = tmp_path / "index"
    (folder / "uv").mkdir(parents=True)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_: Any) -> None:  # ty: ignore[incompatible-method-override]
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def make_venv(bootstrap) -> None:
    python = bootstrap.venv_python()
    python.parent.mkdir(parents=True, exist_ok=True)
    python.unlink(missing_ok=True)
    python.symlink_to(sys.executable)


def fake_wheel() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("uv-9.9.9.data/scripts/uv", FAKE_UV)
    return packed.getvalue()


def test_what_is_installed_once_is_not_looked_at_again(bootstrap, uv_on_path: Path) -> None:
    make_venv(bootstrap)
    for _ in range(2):
        bootstrap.install("run")
    assert uv_on_path.read_text().splitlines() == ["sync --frozen --inexact --no-dev --extra quickstart"]


def test_installing_for_tests_covers_running_but_not_the_reverse(bootstrap, uv_on_path: Path) -> None:
    make_venv(bootstrap)
    for purpose in ("test", "run", "test"):
        bootstrap.install(purpose)
    assert len(uv_on_path.read_text().splitlines()) == 1


@pytest.mark.parametrize("changed", ["uv.lock", "the dependencies"])
def test_another_lock_or_other_dependencies_are_installed_anew(bootstrap, uv_on_path: Path, changed: str) -> None:
    make_venv(bootstrap)
    bootstrap.install("run")
    if changed == "uv.lock":
        (bootstrap.ROOT / "uv.lock").write_text("version = 2\n")
    else:
        (bootstrap.ROOT / "pyproject.toml").write_text('[project]\nname = "caudal"\ndependencies = ["duckdb"]\n')
    bootstrap.install("run")
    assert len(uv_on_path.read_text().splitlines()) == 2


def test_a_change_of_a_tools_settings_installs_nothing(bootstrap, uv_on_path: Path) -> None:
    make_venv(bootstrap)
    bootstrap.install("run")
    (bootstrap.ROOT / "pyproject.toml").write_text('[project]\nname = "caudal"\n[tool.ruff]\nline-length = 88\n')
    bootstrap.install("run")
    assert len(uv_on_path.read_text().splitlines()) == 1


def test_an_installation_that_failed_is_not_remembered(bootstrap, uv_on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_venv(bootstrap)
    monkeypatch.setenv("UV_EXIT", "1")
    with pytest.raises(bootstrap.CannotInstall, match="HTTPS_PROXY"):
        bootstrap.install("run")
    monkeypatch.setenv("UV_EXIT", "0")
    bootstrap.install("run")
    assert len(uv_on_path.read_text().splitlines()) == 2


def test_without_a_usable_environment_the_running_python_is_named(bootstrap, uv_on_path: Path) -> None:
    (bootstrap.ROOT / ".venv").mkdir()
    bootstrap.install("run")
    assert uv_on_path.read_text().split()[-2:] == ["--python", sys.executable]


@pytest.mark.parametrize("page", ["html", "json"])
def test_uv_is_downloaded_from_any_index_that_follows_the_standards(bootstrap, index: tuple[Path, str], page: str) -> None:
    folder, address = index
    wheel = fake_wheel()
    tags = ["win_amd64", "musllinux_1_1_x86_64", "manylinux_2_17_x86_64.manylinux2014_x86_64", "macosx_11_0_arm64"]
    tags += ["manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64", "macosx_10_12_x86_64"]
    names = [WHEEL.format(tag) for tag in tags]
    for name in names:
        (folder / "uv" / name).write_bytes(wheel)
    if page == "html":
        (folder / "uv" / "index.html").write_text("".join(f'<a href="{name}#sha256=0">{name}</a>' for name in names))
    else:
        (folder / "uv" / "index.html").write_text(json.dumps({"files": [{"url": name} for name in names]}))
    bootstrap.PINS.write_text(f"uv==9.9.9 --hash=sha256:{hashlib.sha256(wheel).hexdigest()}\n")
    found = bootstrap.uv_by_download({"PIP_INDEX_URL": address})
    assert bootstrap.uv_version(found) == (9, 9, 9)
    assert sorted(path.name for path in (bootstrap.ROOT / ".uv").iterdir()) == ["bin"]


def test_a_wheel_that_is_not_the_pinned_one_is_refused(bootstrap, index: tuple[Path, str], monkeypatch) -> None:
    folder, address = index
    monkeypatch.setattr(bootstrap, "choose_wheel", lambda urls: next(url for url in urls if url.endswith(".whl")))
    (folder / "uv" / "index.html").write_text('<a href="uv-9.9.9-py3-none-any.whl">uv</a>')
    (folder / "uv" / "uv-9.9.9-py3-none-any.whl").write_bytes(fake_wheel())
    with pytest.raises(bootstrap.CannotInstall, match=r"has sha256 [0-9a-f]{64}, which uv.txt does not list"):
        bootstrap.uv_by_download({"UV_DEFAULT_INDEX": address + "/"})
    assert not (bootstrap.ROOT / ".uv").exists()


@pytest.mark.parametrize(
    ("system", "machine", "libc", "expected"),
    [
        ("linux", "x86_64", "glibc", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
        ("linux", "x86_64", "", "musllinux_1_1_x86_64"),
        ("linux", "aarch64", "", "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64"),
        ("darwin", "arm64", "", "macosx_11_0_arm64"),
    ],
)
def test_the_wheel_is_that_of_the_machine(bootstrap, monkeypatch, system, machine, libc, expected) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: machine)
    monkeypatch.setattr(bootstrap.platform, "libc_ver", lambda: (libc, ""))
    tags = ["win_amd64", "manylinux_2_17_x86_64.manylinux2014_x86_64", "musllinux_1_1_x86_64", "macosx_11_0_arm64"]
    tags.append("manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64")
    urls = [f"https://index/uv/{WHEEL.format(tag)}#sha256=0" for tag in tags]
    assert bootstrap.choose_wheel(urls) == f"https://index/uv/{WHEEL.format(expected)}#sha256=0"


def test_a_machine_without_a_wheel_is_told_so(bootstrap) -> None:
    with pytest.raises(bootstrap.CannotInstall, match=r"no wheel of uv 9\.9\.9 for"):
        bootstrap.choose_wheel(["https://index/uv/uv-1.0.0-py3-none-any.whl"])


def test_where_uv_cannot_be_had_every_way_that_was_tried_is_told(bootstrap, monkeypatch) -> None:
    def refuse(_: object) -> str:
        raise bootstrap.CannotInstall("no route to host")

    for way in ("uv_by_pip", "uv_by_venv", "uv_by_download"):
        monkeypatch.setattr(bootstrap, way, refuse)
    with pytest.raises(bootstrap.CannotInstall) as problem:
        bootstrap.obtain_uv({})
    assert [line for line in str(problem.value).splitlines() if "no route to host" in line] == [
        "  by pip: no route to host",
        "  by a virtual environment: no route to host",
        "  by download: no route to host",
    ]


def test_the_certificates_that_pip_was_told_of_are_told_to_uv(bootstrap, tmp_path: Path) -> None:
    certificates = tmp_path / "own.pem"
    certificates.touch()
    assert bootstrap.network_settings({"PIP_CERT": str(certificates)})["SSL_CERT_FILE"] == str(certificates)
    assert bootstrap.network_settings({"PIP_CERT": "gone.pem"}) == {"PIP_CERT": "gone.pem"}
    given = {"PIP_CERT": str(certificates), "SSL_CERT_FILE": "mine.pem"}
    assert bootstrap.network_settings(given) == given


def test_a_machine_without_a_fitting_python_is_told_what_was_found(bootstrap, tmp_path: Path, monkeypatch) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho 3 9\n")
    lacking = tmp_path / "python3.12"
    lacking.write_text("#!/bin/sh\necho 3 12 sqlite3\n")
    for python in (old, lacking):
        python.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(bootstrap.CannotInstall) as problem:
        bootstrap.find_python()
    assert f"{lacking} (Python 3.12, without sqlite3); {old} (Python 3.9)" in str(problem.value)


def test_the_best_python_on_the_path_is_found(bootstrap, tmp_path: Path, monkeypatch) -> None:
    python = tmp_path / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bootstrap.find_python() == str(python)


def test_the_pinned_uv_is_exact_and_new_enough(bootstrap, monkeypatch) -> None:
    monkeypatch.setattr(bootstrap, "PINS", ROOT / "deploy" / "local" / "uv.txt")
    assert tuple(map(int, bootstrap.pinned_version().split("."))) >= bootstrap.OLDEST_UV
    assert bootstrap.PINS.read_text().count("--hash=sha256:") >= 6


def test_the_bootstrap_says_what_it_can_install_for() -> None:
    command = [sys.executable, ROOT / "deploy" / "local" / "bootstrap.py", "fly"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr) == (1, "caudal: say what to install for: run or test\n")
