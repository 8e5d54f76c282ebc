"""Looks for one person everywhere, and changes nothing."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from caudal.lake.ledger import Ledger
from caudal.runtime.erasure import copies
from caudal.runtime.erasure.finding_in_lake import lake_places
from caudal.runtime.erasure.plan import Place, Plan
from caudal.warehouse import versions
from caudal.warehouse.connection import quoted
from caudal.warehouse.delta import lake_file
from caudal.warehouse.published import connect
from caudal.warehouse.raw_tables import raw, raw_tables, rejects
from caudal.warehouse.sql import identifier
from caudal.warehouse.suppression import entry_of

if TYPE_CHECKING:
    from caudal.contracts import Column
    from caudal.environment import Environment
    from caudal.runtime.erasure.subjects import Where
    from caudal.warehouse.suppression import Suppressed

_LOCAL_REMAINS = (
    "backups and copies of the data folder, of lake files, and exports that people made: nothing here reaches them",
    (
        "Dagster's history (events, logs): values of classified columns are masked there, but rejected values may stand in it "
        "until the history is removed"
    ),
    "environments of branches, with their copies of tables: drop them with `caudal env drop`",
    "trained models: they hold no rows; train them again if they are to forget the person's part",
    "the ledger's reasons why files were not read, and logs: they may quote a line of a file",
    "source systems, and files of the lake that belong to no dataset with the key: erase the person there as well",
)
_CLOUD_REMAINS = (
    "BigQuery's time travel: rows that were removed can be asked for another 7 days, and nothing hastens it",
    "BigQuery's fail-safe: Google can restore them for another 7 days after that, and nobody else",
    "versions and soft-deleted objects of the bucket, as long as its settings say (soft delete: 7 days unless switched off)",
)


def find(env: Environment, where: Where, value: str, *, reason: str, asked_by: str, rewrite_lake: bool = False) -> Plan:
    """Everything that there is of the person whom `value` identifies. The plan does not say the value."""
    now = datetime.now(UTC)
    plan_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    listed = entry_of(env, where.subject, value, plan_id)
    found = tuple(places(env, where, listed))
    return Plan(
        id=plan_id,
        company=env.company,
        key=where.subject,
        hash=listed.entries[0].hash,
        reason=reason,
        asked_by=asked_by,
        made_at=now.isoformat(timespec="seconds"),
        rewrite_lake=rewrite_lake,
        places=(*found, *lake_places(env, where, listed, found, value, rewrite_lake=rewrite_lake)),
        remains=(*_unread_columns(where), *(_CLOUD_REMAINS if env.cloud else ()), *_LOCAL_REMAINS),
    )


def _unread_columns(where: Where) -> Iterator[str]:
    """Declared columns that may name the person in other words or places than as a value of their own."""
    for dataset in where.datasets:
        others = [column for column in dataset.contract.columns if column.subject != where.subject]
        nested = [column.name for column in others if column.logical_type in ("object", "array")]
        text = [column.name for column in others if column.logical_type == "string"]
        told = [
            f"{kind} ({', '.join(names)})" for kind, names in (("inside objects and arrays", nested), ("text", text)) if names
        ]
        if told:
            yield (
                f"{dataset.id}: rows of others that name the person elsewhere than in {_names(where.columns(dataset))} are not "
                f"looked for and stay: {'; '.join(told)}. Look there if people are named in it"
            )


def _names(columns: Sequence[Column]) -> str:
    return ", ".join(f"`{column.name}`" for column in columns)


def places(env: Environment, where: Where, listed: Suppressed) -> Iterator[Place]:
    """Each place that holds something of the people of the list, but for the lake."""
    ledger, tables = Ledger(env.state / "ledger.db"), raw_tables(env)
    for dataset in where.datasets:
        files = {f.path: f for f in ledger.files(dataset.id)}
        for relation, kind in ((raw(dataset), "raw table"), (rejects(dataset), "rejects")):
            found = tables.rows_of(relation, where.columns(dataset), listed)
            told: dict[str, tuple[str, int]] = {}
            for name, rows in found.items():
                path = lake_file(name)
                version = (files[path].live_version or "") if path in files else ""
                told[path] = (version, told.get(path, ("", 0))[1] + len(rows))
            if told:
                count = sum(n for _, n in told.values())
                yield Place(kind, relation, count, "rows removed, older versions removed", told)
        repaired = copies.repairs(ledger, dataset, listed)
        if repaired:
            yield Place("repaired rows", dataset.id, len(repaired), "removed from the ledger", {})
    yield from _published(env, where, listed)
    yield from copies.places(env, where, listed)


def _published(env: Environment, where: Where, listed: Suppressed) -> Iterator[Place]:
    current = versions.current(env)
    if current is None:
        return
    with connect(env) as connection:
        for relation, columns in sorted(where.published.items()):
            query = f"SELECT count(*) FROM {quoted(relation)} WHERE {in_published(columns, where, listed)}"
            (rows,) = connection.execute(query).fetchone() or (0,)
            if rows:
                yield Place(
                    "published table", relation, rows, "rows removed in a new version; what is below it is made anew", {}
                )
    older = [v.name for v in versions.kept(env)]
    yield Place("kept versions", f"{len(older)}, {older[0]} to {older[-1]}", None, "all before the new one are removed", {})


def in_published(columns: Mapping[str, str], where: Where, listed: Suppressed) -> str:
    """A condition in DuckDB's SQL on rows of a published table."""
    return " OR ".join(
        f"coalesce({listed.is_of(where.subject, _as_text(identifier(name), kind))}, false)" for name, kind in columns.items()
    )


def _as_text(column: str, kind: str) -> str:
    """A value as it is hashed: a number without decimals."""
    whole = kind.startswith(("DECIMAL", "DOUBLE", "FLOAT"))
    return f"CAST(CAST({column} AS BIGINT) AS VARCHAR)" if whole else f"CAST({column} AS VARCHAR)"


def changes(plan: Plan, now: Sequence[Place], known: Mapping[str, str]) -> list[str]:
    """What is not as the plan says, in words; nothing if only new files have brought rows since.

    Args:
        known: the version loaded of each lake file, by path, as the ledger says now.

    """
    found = []
    before = {(place.kind, place.name): place for place in plan.places}
    for place in now:
        old = before.pop((place.kind, place.name), None)
        if place.kind not in ("raw table", "rejects", "published table"):
            continue
        if old is None and place.kind == "published table":
            found.append(f"{place.name} has rows of the person, and had none")
        for path, (version, rows) in place.files.items():
            then = old.files.get(path) if old else None
            if then is not None and then != (version, rows):
                found.append(f"{place.name}: {path} brought {then[1]} rows when it was planned, and has brought {rows} now")
    for (kind, name), gone in before.items():
        if kind == "published table" or (kind in ("raw table", "rejects") and any(p in known for p in gone.files)):
            found.append(f"{name} ({kind}) had rows of the person, and has none")
    return found
