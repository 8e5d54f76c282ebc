"""The whole way: what is to be copied, copying it, and comparing it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.ledger import Ledger
from caudal.runtime.branches import copying
from caudal.runtime.lock import AlreadyUp, only_one
from caudal.runtime.migration import ledger, objects, tables
from caudal.runtime.migration.journal import CopiedObject, Journal, Step
from caudal.store import open_store
from caudal.store.remote import md5_of
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.raw_tables import raw_tables
from caudal.warehouse.settling import settled
from caudal.warehouse.suppression import hand_over

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset


class MigrationRefused(ValueError):
    """Nothing was copied; the message says why, and what to do."""


@dataclass(frozen=True)
class Line:
    """What became of one thing.

    Attributes:
        rows: rows, or files.
        bytes: of it, 0 where that says nothing.
        state: `copied`, `there already`, `same`, `differs`, or `would be copied`.

    """

    name: str
    rows: int
    bytes: int
    checksum: str
    state: str


def target_of(source: Environment, target: Environment, data: Path | None) -> Environment:
    """The target, with its data on this machine (ledger, registry, journal) in `data`, by default `gcp` in the source's."""
    return replace(target, data=(data or source.data / "gcp").resolve())


def preview(source: Environment, target: Environment) -> Iterator[Line]:
    """What would be copied. Nothing is asked of the target."""
    done = _journal(source, target) if _journal_path(target).is_file() else None
    steps = done.steps() if done else {}
    for kind, url, _ in _places(source, target):
        listed = list(open_store(url).list(""))
        known = done.objects(kind) if done else {}
        todo = [o for o in listed if not objects.is_there(known.get(o.path), o)]
        yield Line(kind, len(todo), sum(o.size_bytes for o in todo), "", "would be copied")
    for home in (source.raw, source.quarantine):
        for table in sorted(home.iterdir()) if home.is_dir() else ():
            relation = f"{home.name}.{table.name}"
            if relation not in steps:
                size = sum(path.stat().st_size for path in table.glob("*.parquet"))
                yield Line(relation, tables.rows_here(source, relation), size, "", "would be copied")
    for relation in tables.published_tables(source):
        if relation not in steps:
            yield Line(relation, tables.rows_published(source, relation), 0, "", "would be copied")


def migrate(source: Environment, target: Environment, datasets: Sequence[Dataset], tell: Callable[[Line], None]) -> None:
    """Copy everything, telling of each thing once it is there and was compared. What is done already is not done again.

    Raises:
        MigrationRefused: the platform is up, or the target has data of another origin.
        caudal.runtime.migration.objects.Differs: what is there is not what was copied.

    """
    with _alone(source, datasets):
        journal = _begun(source, target)
        if "done" in journal.steps():
            raise MigrationRefused(
                f"this was migrated already, to {target.data}: work there, or compare it once more with --check"
            )
        _copy_objects(journal, source, target, "lake", tell)
        _move_ledger(journal, source, target, tell)
        shown = raw_tables(target)
        for dataset in datasets:
            for step in tables.load_raw(journal, source, target, dataset):
                _note(journal, step, tell)
            shown.show_files(dataset, Ledger(target.state / "ledger.db").files(dataset.id))
        _take_registry(journal, source, target)
        _copy_objects(journal, source, target, "registry", tell)
        for step in tables.publish(journal, source, target, datasets):
            _note(journal, step, tell)
        journal.done(Step("done", "", 0, ""))


def check(source: Environment, target: Environment, datasets: Sequence[Dataset], tell: Callable[[Line], None]) -> list[str]:
    """Compare everything once more, without copying; what differs, in words.

    Raises:
        MigrationRefused: nothing was migrated there.

    """
    if not _journal_path(target).is_file():
        raise MigrationRefused(f"nothing was migrated to {target.data}: {_journal_path(target)} is missing")
    journal, found = _journal(source, target), []
    for kind, given, made in _places(source, target):
        differences = objects.differences(journal, kind, given, made, target.acts_as)
        copied = journal.objects(kind).values()
        found += [f"{kind}: {line}" for line in differences]
        tell(Line(kind, len(copied), _bytes(copied), objects.checksum(copied), "differs" if differences else "same"))
    here, there = (ledger.told(env.state / "ledger.db") for env in (source, target))
    found += [] if here == there else [f"ledger: {here[0]:,} files here, {there[0]:,} there, or told otherwise"]
    tell(Line("ledger", here[0], 0, here[1], "same" if here == there else "differs"))
    compared = [tables.raw_differences(source, target, d) for d in datasets]
    for each in [*compared, tables.published_differences(source, target)]:
        for relation, given, difference in each:
            found += [difference] if difference else []
            tell(Line(relation, given.rows, 0, given.checksum, "differs" if difference else "same"))
    return found


@contextmanager
def _alone(source: Environment, datasets: Sequence[Dataset]) -> Generator[None]:
    """Nobody loads, publishes or is up in the source, and no batch is unfinished."""
    if source.cloud is not None or source.branch is not None:
        raise MigrationRefused("what is migrated is production on this machine: unset CAUDAL_BRANCH")
    with ExitStack() as held:
        try:
            held.enter_context(only_one(source.dagster_home / "up.lock"))
        except AlreadyUp as up:
            raise MigrationRefused(f"{up}") from None
        known = Ledger(source.state / "ledger.db")
        for dataset in datasets:
            with settled(source, dataset, known):
                pass
        held.enter_context(copying.no_writers(source))
        yield


def _begun(source: Environment, target: Environment) -> Journal:
    """The journal of this migration. One that has just begun needs an empty target."""
    assert target.cloud is not None
    if _journal_path(target).is_file():
        return _journal(source, target)
    service, cloud = BigQuery(target.cloud), target.cloud
    if (target.state / "ledger.db").exists():
        raise MigrationRefused(f"{target.home} has data already; name another folder with --data")
    from caudal.warehouse.bigquery.explained import explained

    with explained(cloud, f"look whether {cloud.project} has datasets {cloud.datasets}..."):
        listed = service.client.list_datasets(retry=service.busy)
        for dataset in (d for d in listed if d.dataset_id.startswith(cloud.datasets)):
            if table := next(iter(service.client.list_tables(dataset.reference, max_results=1, retry=service.busy)), None):
                raise MigrationRefused(
                    f"{cloud.project}.{dataset.dataset_id} has a table already ({table.table_id}): migrating would mix two "
                    "companies' data. Remove what is there, or have other datasets with CAUDAL_GCP_DATASETS"
                )
    for kind, _, made in _places(source, target):
        if next(iter(open_store(made, target.acts_as).list("")), None):
            raise MigrationRefused(
                f"{made}, where the {kind} would go, has objects already; remove them, or name another bucket"
            )
    return _journal(source, target)


def _journal(source: Environment, target: Environment) -> Journal:
    assert target.cloud is not None
    names = str(source.home), f"{target.cloud.project}.{target.cloud.datasets} {target.lake_url}"
    journal = Journal(_journal_path(target), *names)
    if (journal.source, journal.target) != names:
        raise MigrationRefused(
            f"{_journal_path(target)} is of a migration from {journal.source} to {journal.target}, and this one is from "
            f"{names[0]} to {names[1]}; name another folder with --data"
        )
    return journal


def _places(source: Environment, target: Environment) -> list[tuple[str, str, str]]:
    """What files there are: kind, where from, where to. A lake that both share stays where it is."""
    assert target.cloud is not None
    found = [("lake", source.lake_url, target.lake_url)] if source.lake_url != target.lake_url else []
    return [*found, ("registry", str(target.registry), target.cloud.folder("registry"))]


def _copy_objects(journal: Journal, source: Environment, target: Environment, kind: str, tell: Callable[[Line], None]) -> None:
    for name, given, made in _places(source, target):
        if name == kind:
            files, copied = objects.copy(journal, kind, given, made, target.acts_as)
            there = journal.objects(kind).values()
            tell(Line(kind, files, _bytes(there), objects.checksum(there), "copied" if copied else "there already"))


def _move_ledger(journal: Journal, source: Environment, target: Environment, tell: Callable[[Line], None]) -> None:
    hand_over(source, target)
    ledger.move(source.state / "ledger.db", target.state / "ledger.db", journal.objects("lake"))
    here, there = (ledger.told(env.state / "ledger.db") for env in (source, target))
    if here != there:
        raise objects.Differs(f"ledger: {here[0]:,} files here, {there[0]:,} there, or told otherwise")
    _note(journal, Step("ledger", "", *here), tell)


def _take_registry(journal: Journal, source: Environment, target: Environment) -> None:
    """To the target's folder, which its environment reads; from there to the bucket, for another machine."""
    database = source.registry / "mlflow.db"
    if not database.is_file():
        return
    version = md5_of(database).hex()
    known = journal.steps().get("registry in its folder")
    if known is not None and known.version == version and target.registry.is_dir():
        return
    making = replace(target, data=target.data / ".making")
    for folder in (making.data, target.registry):
        shutil.rmtree(folder, ignore_errors=True)
    copying.copy_registry(source, making)
    copying.move_places(making.registry / database.name, str(making.registry), str(target.registry))
    making.registry.replace(target.registry)
    shutil.rmtree(making.data)
    journal.done(Step("registry in its folder", version, 0, ""))


def _note(journal: Journal, step: Step, tell: Callable[[Line], None]) -> None:
    journal.done(step)
    tell(Line(step.name, step.rows, 0, step.checksum, "copied"))


def _bytes(copied: Iterable[CopiedObject]) -> int:
    return sum(each.size_bytes for each in copied)


def _journal_path(target: Environment) -> Path:
    return target.home / "migration.db"
