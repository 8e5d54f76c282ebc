"""What to compare the working tree with: what is deployed, the definitions of a commit, or a snapshot in a file.

The tree of a commit is unpacked below the state folder (`git archive`: nothing is written into the repository, and nothing has
to be cleaned up in it), and its definitions are loaded by a process of their own. What came of it is kept by the commit's
name: it never changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import uuid
from dataclasses import replace
from pathlib import Path
from typing import IO

import caudal
from caudal.environment import Environment
from caudal.runtime.plan import deployed
from caudal.runtime.plan.deployed import Known, NothingToCompareWith
from caudal.runtime.plan.snapshot import FORMAT, UnreadableSnapshot

_KEPT_COMMITS = 5
_LOAD_TIMEOUT_S = 300
_PLATFORM = Path(caudal.__file__).resolve().parent


def resolve(env: Environment, against: str | None) -> Known | Commit:
    """What `against` means: None is what is deployed; an existing `.json` file a snapshot; all else a commit.

    Raises:
        NothingToCompareWith: there is no such thing.
        UnreadableSnapshot: the snapshot is from another version of the platform.

    """
    if against is None:
        return deployed.read(env)
    if against.endswith(".json"):
        return deployed.read_file(Path(against))
    return Commit(env, against)


class Commit:
    """The definitions of one commit, loaded beside whatever this process does.

    Raises:
        NothingToCompareWith: git knows no such commit here.

    """

    def __init__(self, env: Environment, ref: str) -> None:
        """Begin to load, unless they have been before."""
        self._env, self._ref = env, ref
        self._hash = _git(env, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}").strip()
        self._inside = _git(env, "rev-parse", "--show-prefix").strip()
        self._home = env.state / "plan" / f"{self._hash}-{FORMAT.rpartition('/')[2]}-{_version_of_platform()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        if not (self._home / deployed.FILE).is_file():
            self._begin()

    def known(self) -> Known:
        """Wait for the definitions.

        Raises:
            NothingToCompareWith: they cannot be loaded; with what the process said.

        """
        if self._process is not None:
            self._finish(self._process)
        os.utime(self._home)
        _forget_all_but_newest(self._home.parent)
        found = deployed.read_file(self._home / deployed.FILE)
        return replace(found, snapshot=replace(found.snapshot, name=f"{self._ref} ({self._hash[:8]})"))

    def end(self) -> None:
        """End the process, if it goes on."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _begin(self) -> None:
        tree = self._home / "tree"
        unpacked = self._home.parent / f".{uuid.uuid4().hex}.tmp"
        unpacked.mkdir(parents=True)
        try:
            _unpack(self._env, self._hash, unpacked)
            self._home.mkdir(parents=True, exist_ok=True)
            if not tree.is_dir():
                unpacked.replace(tree)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        root = tree / self._inside
        said = (self._home / "said.txt").open("wb")
        self._said = said
        environment = os.environ | {
            "CAUDAL_ROOT": str(root),
            # The same data: what dbt has parsed of this tree is the greater part of what it would parse of that one.
            "CAUDAL_DATA": str(self._env.data),
            "PYTHONPATH": os.pathsep.join(str(path) for path in self._sources(root)),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "caudal.runtime.plan.loading", self._env.company, str(self._home)],
            env=environment,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )

    def _sources(self, root: Path) -> list[Path]:
        """Where the commit's Python is; of a tree without this module, the platform is the one that runs now."""
        home = root / _PLATFORM.parent.name
        if (home / "caudal" / "runtime" / "plan" / "loading.py").is_file():
            return [home]
        company = next((path for path in (home, root, root / "src") if (path / self._env.company).is_dir()), home)
        if not (company / "caudal").exists():
            return [_PLATFORM.parent, company]
        mixed = self._home / "python"
        shutil.rmtree(mixed, ignore_errors=True)
        mixed.mkdir()
        for each in company.iterdir():
            (mixed / each.name).symlink_to(each if each.name != "caudal" else _PLATFORM)
        return [mixed]

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        try:
            status = process.wait(_LOAD_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.end()
            raise NothingToCompareWith(
                f"the definitions of {self._ref} have not loaded within {_LOAD_TIMEOUT_S} s; the process was ended"
            ) from None
        finally:
            if self._said is not None:
                self._said.close()
        said = (self._home / "said.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if status != 0:
            shutil.rmtree(self._home, ignore_errors=True)
            told = "\n".join(said[-15:])
            raise NothingToCompareWith(f"the definitions of {self._ref} cannot be loaded (exit code {status}):\n{told}")


def _git(env: Environment, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(env.root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NothingToCompareWith("git is not installed, so no commit can be looked at") from None
    if done.returncode != 0:
        wanted = arguments[-1].removesuffix("^{commit}")
        raise NothingToCompareWith(
            f"git finds no commit {wanted!r} in {env.root}: {done.stderr.strip()}\n"
            "In CI, fetch it first: git fetch origin main, then --against origin/main"
        )
    return done.stdout


def _unpack(env: Environment, commit: str, folder: Path) -> None:
    top = _git(env, "rev-parse", "--show-toplevel").strip()
    with subprocess.Popen(["git", "-C", top, "archive", "--format=tar", commit], stdout=subprocess.PIPE) as archive:
        assert archive.stdout is not None
        with tarfile.open(fileobj=archive.stdout, mode="r|") as files:
            files.extractall(folder, filter="data")
    if archive.returncode != 0:
        raise NothingToCompareWith(f"git archive {commit} ended with {archive.returncode}")


def _version_of_platform() -> str:
    """Differs when another version of this package might take another snapshot of the same commit."""
    here = Path(__file__).parent
    return deployed.fingerprint(b"".join((here / name).read_bytes() for name in ("taking.py", "declared.py", "loading.py")))


def _forget_all_but_newest(home: Path) -> None:
    folders = sorted(
        (path for path in home.iterdir() if not path.name.startswith(".")), key=lambda path: path.stat().st_mtime_ns
    )
    for old in folders[:-_KEPT_COMMITS]:
        shutil.rmtree(old, ignore_errors=True)


__all__ = ["Commit", "Known", "NothingToCompareWith", "UnreadableSnapshot", "resolve"]
