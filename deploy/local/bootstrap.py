"""Install Caudal into `.venv` on a machine that has Python and nothing else.

    python3 deploy/local/bootstrap.py run     # what `make run` needs
    python3 deploy/local/bootstrap.py test    # the same and the developers' tools

uv does the installing, from the committed lock file. It is taken from the PATH where it is new enough; otherwise it is
put into `.uv/` by pip, or by a virtual environment's pip, or, on a Python that has neither, by downloading its wheel.
Whichever way, only a wheel with one of the hashes in `uv.txt` is accepted. A finished installation is remembered, and
asking for it again touches nothing, least of all the network.

Standard library only. Up to the check of the version, the syntax is that of old Pythons, so that they can say what is wrong.
"""

import hashlib
import html.parser
import json
import os
import platform
import re
import shutil
import ssl
import stat
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = Path(__file__).resolve().with_name("uv.txt")
OLDEST_UV = (0, 9, 0)
PYTHONS = ((3, 11), (3, 12), (3, 13))
NEEDED_MODULES = ("_ctypes", "_sqlite3", "_ssl", "zlib")
INDEX = "https://pypi.org/simple"
PURPOSES = {
    "run": ("--no-dev", "--extra", "quickstart"),
    "test": ("--group", "dev", "--extra", "quickstart", "--extra", "postgres"),
}
TIMEOUT_S = 60


class CannotInstall(Exception):
    """Something is missing that only the person at the machine can supply. The message says what."""


def main(arguments: list) -> None:
    if len(arguments) != 1 or arguments[0] not in PURPOSES:
        raise CannotInstall("say what to install for: " + " or ".join(sorted(PURPOSES)))
    if version_of(sys.executable) is None:
        better = find_python()
        os.execv(better, [better, __file__, *arguments])
    install(arguments[0])


def install(purpose: str) -> None:
    """Make `.venv` hold what `purpose` needs."""
    remembered = ROOT / ".venv" / ".caudal.json"
    wanted = fingerprint()
    done = json.loads(remembered.read_text()) if remembered.is_file() else {}
    if done.get(purpose) == wanted and version_of(str(venv_python())) is not None:
        return
    environment = network_settings(dict(os.environ))
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    environment.pop("VIRTUAL_ENV", None)
    uv = obtain_uv(environment)
    command = [uv, "sync", "--frozen", "--inexact", *PURPOSES[purpose]]
    if version_of(str(venv_python())) is None:
        command += ["--python", sys.executable]
    say("installing into .venv from uv.lock, with " + uv)
    if subprocess.call(command, cwd=str(ROOT), env=environment) != 0:
        raise CannotInstall(
            "uv could not install (its message is above).\n"
            "The first installation needs the Python Package Index or a mirror of it. Behind a proxy set HTTPS_PROXY;\n"
            "behind one that signs with its own certificate set SSL_CERT_FILE to its certificates; then run this again."
        )
    covered = ("run", "test") if purpose == "test" else ("run",)
    done = {other: mark for other, mark in done.items() if mark == wanted}
    done.update(dict.fromkeys(covered, wanted))
    remembered.write_text(json.dumps(done))


def fingerprint() -> str:
    """What an installation depends on: the lock, what the project declares about itself, and where it stands."""
    import tomllib  # not in the Pythons that this file must still be able to turn away

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = [project.get(table) for table in ("project", "build-system", "dependency-groups")]
    declared.append(project.get("tool", {}).get("hatch"))
    parts = [(ROOT / "uv.lock").read_text(encoding="utf-8"), json.dumps(declared, sort_keys=True), str(ROOT)]
    parts.append(json.dumps(PURPOSES, sort_keys=True))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def venv_python() -> Path:
    return ROOT / ".venv" / "bin" / "python"


# Python


def version_of(python: str) -> "tuple | None":
    """(major, minor) of an interpreter that can run Caudal, or None."""
    found = describe(python)
    return found[0] if found and found[0] in PYTHONS and not found[1] else None


def describe(python: str) -> "tuple | None":
    """((major, minor), [modules it lacks]) of an interpreter, or None if it does not start."""
    code = (
        "import importlib.util as u, sys\n"
        f"print(*sys.version_info[:2], *[m.lstrip('_') for m in {NEEDED_MODULES!r} if u.find_spec(m) is None])"
    )
    try:
        answer = subprocess.run(
            [python, "-I", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=TIMEOUT_S, check=True
        ).stdout.split()
        return (int(answer[0]), int(answer[1])), [name.decode() for name in answer[2:]]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def find_python() -> str:
    """The path of an interpreter on the PATH that can run Caudal.

    Raises:
        CannotInstall: there is none. The message lists what was found.
    """
    seen = []
    for name in ["python{}.{}".format(*version) for version in reversed(PYTHONS)] + ["python3", "python"]:
        path = shutil.which(name)
        found = describe(path) if path else None
        if not found:
            continue
        if path and version_of(path):
            return path
        lacking = ", without " + ", ".join(found[1]) if found[1] else ""
        seen.append("{} (Python {}.{}{})".format(path, *found[0], lacking))
    raise CannotInstall(
        "Caudal needs Python 3.11, 3.12 or 3.13, with "
        + ", ".join(module.lstrip("_") for module in NEEDED_MODULES)
        + ".\nFound: "
        + ("; ".join(seen) or "none")
        + ".\nInstall one (Debian and Ubuntu: apt install python3; Fedora: dnf install python3.13; macOS: brew install\n"
        "python@3.13) and run this again, or name one: make PYTHON=/path/to/python3.13 run"
    )


# uv


def obtain_uv(environment: dict) -> str:
    """The path of a uv that is new enough, installing one into `.uv/` if need be."""
    mine = ROOT / ".uv" / "bin" / "uv"
    on_path = shutil.which("uv")
    for candidate in ([on_path] if on_path else []) + [str(mine)]:
        if uv_version(candidate) >= OLDEST_UV:
            return candidate
    reasons = []
    for way, attempt in (("pip", uv_by_pip), ("a virtual environment", uv_by_venv), ("download", uv_by_download)):
        try:
            found = attempt(environment)
        except (CannotInstall, OSError, subprocess.SubprocessError, zipfile.BadZipFile) as problem:
            reasons.append(f"by {way}: {problem}")
            continue
        if uv_version(found) >= OLDEST_UV:
            say(f"uv {pinned_version()} installed into .uv by {way}")
            return found
        reasons.append(f"by {way}: what was installed does not start")
    raise CannotInstall(
        "uv, which installs the rest, could not be had:\n  "
        + "\n  ".join(reasons)
        + f"\nIt comes from {INDEX} (PIP_INDEX_URL or UV_DEFAULT_INDEX name another index).\n"
        + "Behind a proxy set HTTPS_PROXY; for your own certificates set SSL_CERT_FILE."
    )


def uv_version(uv: str) -> tuple:
    """The version of a uv, (0, 0, 0) if it does not start."""
    try:
        answer = subprocess.run(
            [uv, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return (0, 0, 0)
    numbers = re.search(rb"(\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(int(number) for number in numbers.groups()) if numbers else (0, 0, 0)


def uv_by_pip(environment: dict, python: str = sys.executable) -> str:
    # Into a folder, which also an externally managed Python allows; a `user = true` of the person's own would contradict it.
    settings = dict(environment, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--upgrade"]
    run([*pip, "--target", str(ROOT / ".uv"), "--require-hashes", "-r", str(PINS)], settings)
    return str(ROOT / ".uv" / "bin" / "uv")


def uv_by_venv(environment: dict) -> str:
    folder = ROOT / ".uv" / "venv"
    try:
        run([sys.executable, "-m", "venv", "--clear", str(folder)], environment)
        return uv_by_pip(environment, str(folder / "bin" / "python"))
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def uv_by_download(environment: dict) -> str:
    index = environment.get("UV_DEFAULT_INDEX") or environment.get("PIP_INDEX_URL") or INDEX
    page = index.rstrip("/") + "/uv/"
    wheel = choose_wheel(links(page, fetch(page, environment).decode("utf-8", "replace")))
    content = fetch(wheel, environment)
    digest = hashlib.sha256(content).hexdigest()
    if digest not in PINS.read_text():
        raise CannotInstall(f"{wheel} has sha256 {digest}, which {PINS.name} does not list")
    target = ROOT / ".uv" / "bin" / "uv"
    target.parent.mkdir(parents=True, exist_ok=True)
    archive = ROOT / ".uv" / "uv.whl.tmp"
    archive.write_bytes(content)
    with zipfile.ZipFile(str(archive)) as packed:
        member = next(name for name in packed.namelist() if name.endswith(".data/scripts/uv"))
        unpacked = target.with_name("uv.tmp")
        unpacked.write_bytes(packed.read(member))
    unpacked.chmod(unpacked.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    unpacked.replace(target)
    archive.unlink()
    return str(target)


def choose_wheel(urls: list) -> str:
    """The address of the pinned uv's wheel for this machine.

    Raises:
        CannotInstall: the index has none.
    """
    machine = {"amd64": "x86_64", "aarch64": "aarch64", "arm64": "arm64"}.get(platform.machine().lower(), platform.machine())
    if sys.platform == "darwin":
        family = "macosx"
    else:
        family = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    prefix = f"uv-{pinned_version()}-"
    for url in urls:
        name = urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1]
        if not (name.startswith(prefix) and name.endswith(".whl")):
            continue
        tags = name[: -len(".whl")].rsplit("-", 1)[-1].split(".")
        if any(tag.startswith(family) and tag.endswith("_" + machine) for tag in tags):
            return url
    raise CannotInstall(f"the index has no wheel of uv {pinned_version()} for {family} {machine}")


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def links(page: str, text: str) -> list:
    """The addresses of the files on an index page (PEP 503 in HTML, PEP 691 in JSON)."""
    if text.lstrip().startswith("{"):
        found = [entry["url"] for entry in json.loads(text)["files"]]
    else:
        parser = _Links()
        parser.feed(text)
        found = parser.found
    return [urllib.parse.urljoin(page, link) for link in found]


def pinned_version() -> str:
    return re.findall(r"^uv==([0-9.]+)", PINS.read_text(), re.MULTILINE)[0]


# The network


def network_settings(environment: dict) -> dict:
    """`environment` with the certificates that pip was told of told to everybody else too."""
    if not environment.get("SSL_CERT_FILE"):
        for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            if environment.get(name) and Path(environment[name]).is_file():
                return dict(environment, SSL_CERT_FILE=environment[name])
    return environment


def fetch(url: str, environment: dict) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.5, */*;q=0.1"})
    certificates = ssl.create_default_context(cafile=environment.get("SSL_CERT_FILE") or None)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=certificates) as answer:
            return answer.read()
    except urllib.error.URLError as problem:
        raise CannotInstall(f"{url}: {getattr(problem, 'reason', problem)}") from problem


def run(command: list, environment: dict) -> None:
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if answer.returncode != 0:
        lines = answer.stdout.decode(errors="replace").strip().splitlines() or [f"exit code {answer.returncode}"]
        raise CannotInstall(lines[-1])


def say(text: str) -> None:
    print("caudal: " + text, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CannotInstall as problem:
        sys.exit("caudal: " + str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
