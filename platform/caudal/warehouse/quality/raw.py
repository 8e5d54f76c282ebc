"""The rules of a raw table, tried on one version of it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.contracts import LINEAGE_COLUMNS
from caudal.contracts.masking import is_masked
from caudal.warehouse import delta
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.quality import judged, per_file
from caudal.warehouse.quality.evaluate import evaluate, failing_condition
from caudal.warehouse.quality.failing import Kept, folder_of, keep
from caudal.warehouse.quality.outcome import Outcome, Table
from caudal.warehouse.quality.volume import Period
from caudal.warehouse.raw_tables import raw_tables
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    from pathlib import Path

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.lake.records import LedgerFile
    from caudal.warehouse.connection import Connection


@dataclass(frozen=True)
class Tried:
    """A rule that was tried, and what was kept of the rows that break it; None if there are none, or all is well."""

    outcome: Outcome
    kept: Kept | None = None

    @property
    def blocks(self) -> bool:
        return self.outcome.rule.blocks and not self.outcome.passed


def try_rules(
    env: Environment, dataset: Dataset, version: int | None, files: Sequence[LedgerFile], now: dt.datetime | None = None
) -> list[Tried]:
    """Try the rules of the dataset's contract on that version of its raw table, and note whether it has passed.

    Args:
        version: None if nothing was ever loaded: then there is nothing to try.
        files: of the ledger, whose rows are the periods of a volume rule without a column.
        now: for freshness; by default the time it is.

    """
    rules = dataset.contract.rules
    if not any(rule.blocks for rule in rules):
        judged.forget(env, dataset)
    if not rules or version is None:
        return []
    asset = ("raw", dataset.source, dataset.name)
    masked = {c.name: is_masked(c.classification) for c in dataset.contract.columns}
    tried = []
    with _connect(env) as connection:
        relation, absent, data = _relation(env, dataset, version)
        _name_tables(connection, env, dataset, relation)
        table = Table(
            relation,
            {c.name: c.duckdb_type for c in dataset.contract.columns},
            now or dt.datetime.now(dt.UTC),
            periods=periods(dataset, files),
            counted=_counted(connection, env, dataset, data, absent),
            keys=dataset.contract.primary_key,
            hidden=frozenset(name for name, is_hidden in masked.items() if is_hidden),
        )
        for rule in rules:
            outcome = evaluate(connection, rule, table, _resolver(env))
            kept = None
            if outcome.failing and not outcome.passed:
                kept = keep(connection, outcome.failing, folder_of(env, asset, rule.name), masked)
            tried.append(Tried(outcome, kept))
    # On BigQuery rules see the newest rows. Whoever has loaded meanwhile judges them too.
    is_that_version = env.cloud is None or raw_tables(env).version(f"raw.{dataset.table}") == version
    if any(rule.blocks for rule in rules) and is_that_version:
        judged.note(env, dataset, version, [f"{t.outcome.rule.name}: {t.outcome.found}" for t in tried if t.blocks])
    return tried


def periods(dataset: Dataset, files: Sequence[LedgerFile]) -> list[Period]:
    """The live files as periods, oldest first: by their day, else by when they were loaded."""
    live = [f for f in files if f.live_version is not None]
    if dataset.partition_by == "day":
        rows: dict[dt.date, int] = {}
        for file in live:
            if file.partition:
                day = dt.date.fromisoformat(file.partition)
                rows[day] = rows.get(day, 0) + file.rows_loaded
        return [Period(day.isoformat(), count, day) for day, count in sorted(rows.items())]
    ordered = sorted(live, key=lambda f: ((f.loaded_at or "")[:19], f.path))
    return [Period(f.path, f.rows_loaded) for f in ordered]


def _connect(env: Environment) -> AbstractContextManager[Connection]:
    if env.cloud is None:
        return connect_memory(env)
    from caudal.warehouse.bigquery.raw_reading import connect_raw

    return connect_raw(env.cloud)


def _relation(env: Environment, dataset: Dataset, version: int) -> tuple[str, dict[str, str], list[Path]]:
    """What a FROM takes of the raw table, the columns that none of its files has, and its files."""
    if env.cloud is not None:
        from caudal.warehouse.bigquery.raw_reading import whole

        return whole(f"raw.{dataset.table}", dataset.contract.layout), {}, []
    path = env.raw / dataset.table
    declared = {c.name: c.duckdb_type for c in dataset.contract.columns} | LINEAGE_COLUMNS
    there, files = delta.column_names(path, version), delta.data_files(path, version)
    absent = {name: kind for name, kind in declared.items() if name not in there}
    if not files:
        nulls = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in declared.items())
        return f"(SELECT {nulls} WHERE false)", absent, files
    nulls = "".join(f", CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in absent.items())
    return f"(SELECT *{nulls} FROM {_parquet(files)})", absent, files


def _parquet(files: Sequence[Path]) -> str:
    # Not through the Delta extension: to load it takes longer than most rules do.
    return f"read_parquet([{', '.join(text(str(f)) for f in files)}], union_by_name = true)"


def _counted(
    connection: Connection, env: Environment, dataset: Dataset, data: list[Path], absent: Mapping[str, str]
) -> dict[str, tuple[int, int]]:
    """What rules about one row at a time need no look at all rows for; where the table is no files, nothing."""
    import duckdb

    if not data:
        return {}
    conditions = {r.name: c for r in dataset.contract.rules if (c := failing_condition(r)) is not None}
    record = env.state / "judged" / "counts" / f"{dataset.table}.json"
    with suppress(duckdb.Error):  # Then each rule is tried by itself, and the one that is to blame says so.
        return per_file.count(connection, data, conditions, record, absent)
    return {}


def _name_tables(connection: Connection, env: Environment, dataset: Dataset, relation: str) -> None:
    """The table under its own names, and those raw tables that a rule's SQL names, as `raw.<source>__<dataset>`."""
    if env.cloud is not None:
        connection.execute(f"CREATE OR REPLACE TEMPORARY VIEW {identifier(dataset.name)} AS SELECT * FROM {relation}")
        return
    connection.execute("CREATE SCHEMA raw")
    told = " ".join(r.sql for r in dataset.contract.rules if r.sql)
    named = set(re.findall(r"\w+__\w+", told)) - {dataset.table}
    for name in sorted(named):
        if (other := _newest(env, name)) is not None:
            connection.execute(f"CREATE VIEW raw.{identifier(name)} AS SELECT * FROM {other}")
    connection.execute(f"CREATE VIEW raw.{identifier(dataset.table)} AS SELECT * FROM {relation}")
    connection.execute(f"CREATE VIEW {identifier(dataset.name)} AS SELECT * FROM {relation}")


def _resolver(env: Environment) -> Callable[[str], str]:
    import duckdb

    def resolve(name: str) -> str:
        found = _newest(env, name.replace("/", "__"))
        if found is None:
            raise duckdb.CatalogException(f"nothing is loaded of {name} yet, to compare with")
        return found

    return resolve


def _newest(env: Environment, table: str) -> str | None:
    if env.cloud is not None:
        return f"raw.{identifier(table)}" if raw_tables(env).version(f"raw.{table}") is not None else None
    path = env.raw / table
    version = delta.version_of_table(path)
    files = delta.data_files(path, version) if version is not None else []
    return _parquet(files) if files else None
