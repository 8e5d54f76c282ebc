"""Upkeep of raw tables on a schedule: an asset that says what was done, and the settings that a company may declare."""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.runtime.company import declared_once, on_schedule
from caudal.warehouse import duplicates
from caudal.warehouse.component import raw_key
from caudal.warehouse.raw_checks import duplicates_result
from caudal.warehouse.raw_tables import raw, raw_tables
from caudal.warehouse.upkeep import Settings, Tended, tend

#: Megabytes are 2**20 bytes.
_MB = 1024**2


class Upkeep(dg.Component, dg.Model, dg.Resolvable):
    """When and how raw tables are compacted, and how long what nobody reads any more is kept. Once a company, or not at all.

    Attributes:
        schedule: a cron expression in UTC.
        grace_hours: how long the data of a version stay after a newer one took its place, 1 to 168. What a published version
            or a candidate reads stays in any case.
        target_mb: how large a data file may become; by default 8 to 128, as the table's size asks for. The larger, the faster a
            table is opened, and the more is written again when one lake file is replaced.
        small_files: so many files below a quarter of that are worth writing together.
        owners: such as `team:data-platform`.

    """

    schedule: str = "30 3 * * *"
    grace_hours: int = 24
    target_mb: int | None = None
    small_files: int = 16
    owners: Sequence[str] = ("team:data-platform",)

    @property
    def settings(self) -> Settings:
        """The same for the warehouse.

        Raises:
            ValueError: a number is out of range.

        """
        if self.grace_hours < 1:
            raise ValueError(
                f"grace_hours is {self.grace_hours}; expected at least 1, the time that opening a version may take"
            )
        return Settings(self.grace_hours, self.target_mb * _MB if self.target_mb else None, self.small_files)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """The asset is made where all datasets of the company are known."""
        _ = self.settings
        return dg.Definitions()


def declared_upkeep(tree: dg.ComponentTree) -> Upkeep:
    """What the company declares, or the defaults.

    Raises:
        ValueError: it declares that twice.

    """
    return declared_once(tree, Upkeep, "it is about all raw tables") or Upkeep()


def upkeep_definitions(env: Environment, datasets: Sequence[Dataset], upkeep: Upkeep) -> dg.Definitions:
    """The asset `upkeep/<company>/raw_tables`, a job for it and its schedule. Nothing else asks for it."""
    settings = upkeep.settings
    key = dg.AssetKey(["upkeep", env.company, "raw_tables"])

    spec = dg.AssetSpec(
        key,
        description=(
            "Raw tables and rejects, with small files written together and without what nobody reads any more. "
            f"What a published version or a candidate reads stays; what was current stays for {settings.grace_hours} hours."
        ),
        group_name="upkeep",
        kinds={raw_tables(env).kind},
        owners=list(upkeep.owners),
        tags={"domain": "upkeep"},
    )

    @dg.multi_asset(name=f"upkeep_{env.company}", specs=[spec])
    def tend_all(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckEvaluation]:
        done: list[Tended] = []
        failed: list[str] = []
        for dataset in datasets:
            try:
                for tended in tend(env, dataset, settings):
                    done.append(tended)
                    context.log.info(_line(tended))
                evaluation = _counted(env, dataset)
            except Exception:  # The other tables are none the worse for it; the run fails at its end.
                context.log.exception("%s: upkeep failed", dataset.id)
                failed.append(dataset.id)
            else:
                if evaluation is not None:
                    yield evaluation
        if failed:
            raise dg.Failure(f"Upkeep failed for {', '.join(failed)}: see the log. Nobody's rows are touched by that.")
        yield dg.MaterializeResult(key, metadata=_metadata(done))

    return on_schedule("upkeep", tend_all, upkeep.schedule, "Compaction and retention of raw tables.")


def compact(env: Environment, datasets: Iterable[Dataset], upkeep: Upkeep) -> Iterator[str]:
    """Do it now; a line a table, as it is done."""
    for dataset in datasets:
        for tended in tend(env, dataset, upkeep.settings):
            yield _line(tended)


def _counted(env: Environment, dataset: Dataset) -> dg.AssetCheckEvaluation | None:
    """The check `duplicates` of the raw table, if its newest version is not counted yet: loads leave out what takes long."""
    version = raw_tables(env).version(raw(dataset))
    last = duplicates.last_count(env, dataset)
    if dataset.duplicates == "off" or version is None or (last is not None and last.version == version):
        return None
    result = duplicates_result(dataset, raw_key(dataset), duplicates.count(env, dataset, version), version)
    return dg.AssetCheckEvaluation(
        asset_key=raw_key(dataset),
        check_name="duplicates",
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata,
    )


def _line(done: Tended) -> str:
    before, after = done.before, done.after
    told = (
        f"{done.table}: {before.files} -> {after.files} files, {_mb(before.bytes)} -> {_mb(after.bytes)}; "
        f"on disk {before.files_on_disk} -> {after.files_on_disk} files, {_mb(before.bytes_on_disk)} -> "
        f"{_mb(after.bytes_on_disk)}, {before.log_entries} -> {after.log_entries} log entries; {done.seconds:.2f} s"
    )
    kept = [f"  version {version} stays: {why}" for version, why in done.kept.items()]
    removed = [f"  {done.rejects_removed} rejects removed"] if done.rejects_removed else []
    return "\n".join([told, *removed, *kept, *([f"  {done.note}"] if done.note else [])])


def _metadata(done: Sequence[Tended]) -> dict[str, dg.MetadataValue]:
    rows = [
        dg.TableRecord(
            {
                "table": each.table,
                "files before": each.before.files,
                "files": each.after.files,
                "MB": round(each.after.bytes / _MB, 2),
                "MB on disk before": round(each.before.bytes_on_disk / _MB, 2),
                "MB on disk": round(each.after.bytes_on_disk / _MB, 2),
                "log entries": each.after.log_entries,
                "rejects removed": each.rejects_removed,
                "older versions kept": "; ".join(f"{version}: {why}" for version, why in each.kept.items()),
                "note": each.note,
                "seconds": round(each.seconds, 2),
            }
        )
        for each in done
    ]
    freed = sum(each.before.bytes_on_disk - each.after.bytes_on_disk for each in done)
    metadata: dict[str, dg.MetadataValue] = {
        "MB freed": dg.MetadataValue.float(round(freed / _MB, 2)),
        "files fewer": dg.MetadataValue.int(sum(each.before.files - each.after.files for each in done)),
        "rejects removed": dg.MetadataValue.int(sum(each.rejects_removed for each in done)),
    }
    return metadata | ({"tables": dg.MetadataValue.table(rows)} if rows else {})


def _mb(count: int) -> str:
    return f"{count / _MB:,.2f} MB"
