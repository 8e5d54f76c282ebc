"""What is deployed: the snapshot of the definitions that were last loaded, and the dbt projects that belong to it.

`caudal up` writes it when its code locations have loaded, and again when they have loaded anew; `caudal prepare` writes it into
an image. The manifests lie beside it, so that what the deployed models would make of some rows can be asked for.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from caudal.environment import Environment
from caudal.runtime.plan.declared import fingerprint
from caudal.runtime.plan.snapshot import Snapshot
from caudal.store import write_atomically
from caudal.transform.project import MANIFEST, SERIALIZED

if TYPE_CHECKING:
    from caudal.runtime.plan.taking import Taken

FILE = "deployed.json"
_MANIFESTS = "deployed-dbt"


class NothingToCompareWith(RuntimeError):
    """There is no snapshot. The message says what to do."""


@dataclass(frozen=True)
class Known:
    """A snapshot of before, and the manifests of its dbt projects, by the project's folder."""

    snapshot: Snapshot
    manifests: tuple[tuple[str, Path], ...] = ()


def record(env: Environment, taken: Taken, folder: Path | None = None) -> Path:
    """Write what was taken as what is deployed, in `env.state` unless `folder` is given; where it stands.

    Being killed leaves the record of before.
    """
    home = folder or env.state
    text = taken.snapshot.to_json()
    for project, manifest in taken.projects:
        _keep(manifest, home / _MANIFESTS / quote(project.project, safe=""))
    with write_atomically(home / FILE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return home / FILE


def read(env: Environment) -> Known:
    """What is deployed.

    Raises:
        NothingToCompareWith: nothing has been, from here.
        caudal.runtime.plan.snapshot.UnreadableSnapshot: it is from another version of the platform.

    """
    for home in (env.state, env.shipped):
        if (home / FILE).is_file():
            return read_file(home / FILE)
    raise NothingToCompareWith(
        f"nothing is deployed from here: {env.state / FILE} does not exist. It is written when `caudal up` has loaded the "
        "definitions. To compare with a commit instead: caudal plan --against main"
    )


def read_file(path: Path) -> Known:
    """What `record` wrote.

    Raises:
        NothingToCompareWith: there is no such file.
        caudal.runtime.plan.snapshot.UnreadableSnapshot: it is something else.

    """
    if not path.is_file():
        raise NothingToCompareWith(f"{path} does not exist")
    manifests = path.parent / _MANIFESTS
    found = sorted(manifests.iterdir()) if manifests.is_dir() else []
    return Known(
        Snapshot.from_json(path.read_text(encoding="utf-8"), path),
        tuple((unquote(home.name), home / MANIFEST) for home in found if (home / SERIALIZED).is_file()),
    )


def _keep(manifest: Path, home: Path) -> None:
    """A copy of what dbt wrote, made anew only if it is another one; dbt's own state first, as it is looked for."""
    if (home / MANIFEST).is_file() and _same(home / MANIFEST, manifest):
        return
    home.mkdir(parents=True, exist_ok=True)
    for name in (SERIALIZED, MANIFEST):
        if name == SERIALIZED and not manifest.with_name(name).is_file():
            continue  # then rows cannot be compared on a sample; everything else can
        with write_atomically(home / name) as temporary:
            shutil.copyfile(manifest.with_name(name), temporary)


def _same(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and fingerprint(one.read_bytes()) == fingerprint(other.read_bytes())


def main(companies: Iterable[str]) -> None:
    """Record the definitions of each company as deployed. One that cannot be loaded keeps the record of before."""
    from caudal.runtime.plan.taking import take

    os.nice(10)
    for company in companies:
        env = Environment.current(company)
        taken = take(env, "")
        name = f"deployed {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        record(env, replace(taken, snapshot=replace(taken.snapshot, name=name)))


if __name__ == "__main__":
    main(sys.argv[1:])
