"""Making, listing and dropping the environments of branches. Whoever is killed in between is repeated, from the beginning."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.branch import short_name
from caudal.runtime.branches import copying, git
from caudal.runtime.branches.record import BranchRecord, record_of, records, write_record
from caudal.runtime.lock import AlreadyUp, only_one
from caudal.store import exclusive_lock

if TYPE_CHECKING:
    from pathlib import Path

    from caudal.environment import Environment


class BranchRefused(ValueError):
    """What is asked for is not done; the message says why, and what to do."""


@dataclass(frozen=True)
class Dropped:
    """What was removed with a branch: its data on this machine, datasets and objects."""

    local: bool
    datasets: int = 0
    objects: int = 0

    @property
    def anything(self) -> bool:
        return self.local or bool(self.datasets or self.objects)


def create(production: Environment, branch: str) -> BranchRecord:
    """Make the environment of `branch` as production is now. What a killed attempt left is removed first.

    Raises:
        BranchRefused: it is there already, or `production` is a branch's environment itself.

    """
    made = _of(production, branch)
    with exclusive_lock(_lock(production)):
        if record_of(made) is not None:
            raise BranchRefused(
                f"{branch} has an environment already: {made.home}. Use it with CAUDAL_BRANCH={branch}, or drop it first, "
                f"to have one that is as production is now: caudal env drop {branch}"
            )
        _drop(production, made)
        began = time.monotonic()
        made.home.mkdir(parents=True)
        if made.cloud is None:
            copied = copying.copy_home(production, made)
        else:
            from caudal.runtime.branches.cloud import BranchDatasets

            datasets = BranchDatasets(made)
            copied = copying.copy_home(production, made, datasets.loading(), datasets.clone_raw)
            copied = copying.Copied(copied.version, copied.lake_files, copied.tables + datasets.clone_published())
        own, shared = copying.disk_bytes(made.home)
        seconds = round(time.monotonic() - began, 3)
        return write_record(
            made,
            BranchRecord(
                *(branch, short_name(branch), production.company, production.name),
                version=copied.version,
                lake_files=copied.lake_files,
                tables=copied.tables,
                own_bytes=own,
                shared_bytes=shared,
                seconds=seconds,
            ),
        )


def listing(production: Environment) -> list[BranchRecord]:
    """The environments of branches: those with data on this machine, and, in Google Cloud, those with datasets."""
    found = {record.short: record for record in records(production)}
    if production.cloud is not None:
        from caudal.runtime.branches.cloud import branches_with_datasets

        for short, branch in branches_with_datasets(production.cloud).items():
            found.setdefault(short, BranchRecord(branch, short, production.company, production.name))
    return [found[short] for short in sorted(found)]


def drop(production: Environment, branch: str) -> Dropped:
    """Remove the environment of `branch`, whole or not; again, without harm.

    Raises:
        BranchRefused: `caudal up` is at work in it, or `production` is a branch's environment itself.

    """
    made = _of(production, branch)
    with exclusive_lock(_lock(production)):
        return _drop(production, made)


def gone(production: Environment) -> list[BranchRecord]:
    """The environments whose branch git knows no more.

    Raises:
        caudal.runtime.branches.git.NoBranches: it cannot be told.

    """
    known = {short_name(branch) for branch in git.branches(production.root)}
    return [record for record in listing(production) if record.short not in known]


def prune(production: Environment, chosen: Iterable[BranchRecord], tell: Callable[[BranchRecord, Dropped], None]) -> None:
    """Drop each of `chosen`, telling of each, and remove what killed drops left behind."""
    for record in chosen:
        tell(record, drop(production, record.branch))
    with exclusive_lock(_lock(production)):
        _sweep(production)


def _of(production: Environment, branch: str) -> Environment:
    if production.branch is not None:
        raise BranchRefused(f"this is the environment of {production.branch}; unset CAUDAL_BRANCH and ask again")
    if not branch.strip():
        raise BranchRefused("a branch has a name, such as: caudal env create my-change")
    return production.of_branch(branch)


def _drop(production: Environment, made: Environment) -> Dropped:
    """Google Cloud first: as long as something is there, the folder on this machine tells of it."""
    assert made.branch is not None
    assert made.data.parent == production.data / "branches"
    with_data = made.home.exists()
    if with_data:
        _nobody_at_work(made)
        made.branch_record.unlink(missing_ok=True)  # From here on it is not whole, and nobody can begin to use it.
    datasets = objects = 0
    if made.cloud is not None:
        from caudal.runtime.branches.cloud import BranchDatasets

        datasets, objects = BranchDatasets(made).drop()
    if with_data:
        others = [home for home in made.data.glob("*/branch.json") if home.parent != made.home]
        folder = made.home if others else made.data
        folder.replace(_aside(production))
    _sweep(production)
    return Dropped(with_data, datasets, objects)


def _nobody_at_work(made: Environment) -> None:
    """Raise `BranchRefused` if the platform is up in the environment."""
    lock = made.dagster_home / "up.lock"
    if lock.exists():
        try:
            with only_one(lock):
                pass
        except AlreadyUp as up:
            raise BranchRefused(f"{made.branch}: {up}") from None


def _sweep(production: Environment) -> None:
    for left_behind in (production.data / "branches").glob(".dropped-*"):
        shutil.rmtree(left_behind)


def _aside(production: Environment) -> Path:
    return production.data / "branches" / f".dropped-{uuid.uuid4().hex}"


def _lock(production: Environment) -> Path:
    return production.data / "branches" / ".lock"
