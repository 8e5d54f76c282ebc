"""A plan: what becomes of each asset when definitions are replaced by others. A value, worked out without running anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from caudal.runtime.plan.contract_changes import DELIVERERS, READERS, ColumnChange, column_changes
from caudal.runtime.plan.snapshot import Asset, Snapshot

Fate = Literal["added", "removed", "changed"]
#: `code` and `SQL` have the asset made anew by itself; the others do not.
ReasonKind = Literal["SQL", "macro", "code", "contract", "config", "dependency", "check", "owner", "description"]

_BREAKING_SETTINGS = ("partitions", "relation")
_DELIVERY_SETTINGS = ("path", "format", "partition_by")


@dataclass(frozen=True)
class Reason:
    """Why an asset counts as changed.

    Attributes:
        breaks: for whom, of `readers` and `deliverers`; empty if it is compatible.

    """

    kind: ReasonKind
    text: str
    breaks: tuple[str, ...] = ()


@dataclass(frozen=True)
class AssetChange:
    """What becomes of one asset.

    Attributes:
        reasons: why it counts as changed; empty for one that is added or removed without breaking anybody.
        columns: what changed of its columns.
        downstream: the assets below it, near ones first, before the change or after it.
        affected: whom a breaking change concerns: owners of the asset and of what is downstream of it.
        is_refreshed: it is made anew by itself once the change is deployed.

    """

    key: str
    fate: Fate
    reasons: tuple[Reason, ...] = ()
    columns: tuple[ColumnChange, ...] = ()
    downstream: tuple[str, ...] = ()
    affected: tuple[str, ...] = ()
    is_refreshed: bool = False

    @property
    def breaks(self) -> tuple[str, ...]:
        """For whom it breaks something."""
        return tuple(dict.fromkeys(side for each in (*self.reasons, *self.columns) for side in each.breaks))


@dataclass(frozen=True)
class Touched:
    """An asset that is not changed itself, below one that is."""

    key: str
    owners: tuple[str, ...]
    is_refreshed: bool


@dataclass(frozen=True)
class RowDifference:
    """How the rows of a table would differ from the published ones.

    Attributes:
        key: the columns by which rows were matched; empty if whole rows were compared, and `changed` is then 0.
        columns: in how many rows each column differs, of the rows that changed.
        sample: some of the rows that differ, each with `change` (`added`, `removed`, `before`, `after`); values are text.
        hidden: columns of personal data, which `sample` does not have, or has masked.
        problem: why it is not known.

    """

    asset: str
    rows_before: int | None = None
    rows_after: int | None = None
    added: int = 0
    removed: int = 0
    changed: int = 0
    key: tuple[str, ...] = ()
    columns: Mapping[str, int] | None = None
    sample: tuple[Mapping[str, str | None], ...] = ()
    hidden: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Cost:
    """What it took to make an asset the last time; None where it is not known."""

    asset: str
    seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Plan:
    """What becomes of each asset.

    Attributes:
        before, after: the names of what was compared.
        changes: sorted by key.
        downstream: unchanged assets below changed ones, sorted by key.
        timetable: schedules and sensors that differ, as text.
        rows: what rows would differ; empty if nobody asked.
        rows_of: `sample` or `whole`, as asked.
        costs: of what would be made anew.

    """

    before: str
    after: str
    changes: tuple[AssetChange, ...] = ()
    downstream: tuple[Touched, ...] = ()
    timetable: tuple[str, ...] = ()
    rows: tuple[RowDifference, ...] = ()
    rows_of: str = "none"
    costs: tuple[Cost, ...] = ()

    @classmethod
    def between(cls, before: Snapshot, after: Snapshot) -> Plan:
        """What becomes of each asset when `before` is replaced by `after`."""
        changes = {
            key: change
            for key in sorted({*before.assets, *after.assets})
            if (change := _change(before.assets.get(key), after.assets.get(key))) is not None
        }
        readers = _readers(before, after)
        below = {key: _below(key, readers) for key in changes}
        refreshed = _refreshed(changes, after, readers)
        owners = {**_owners(before), **_owners(after)}
        found = tuple(
            replace(
                change,
                downstream=below[key],
                affected=_affected(change, below[key], owners),
                is_refreshed=key in refreshed,
            )
            for key, change in changes.items()
        )
        touched = sorted({below_it for keys in below.values() for below_it in keys if below_it in after.assets} - set(changes))
        return cls(
            before.name,
            after.name,
            found,
            tuple(Touched(key, owners[key], key in refreshed) for key in touched),
            tuple(_timetable(before.timetable, after.timetable)),
        )

    @property
    def is_empty(self) -> bool:
        """Nothing differs."""
        return not self.changes and not self.timetable

    @cached_property
    def breaking(self) -> tuple[AssetChange, ...]:
        """The changes that break something for somebody."""
        return tuple(change for change in self.changes if change.breaks)

    @cached_property
    def refreshed(self) -> tuple[str, ...]:
        """All that is made anew by itself once the change is deployed."""
        return tuple(sorted(each.key for each in (*self.changes, *self.downstream) if each.is_refreshed))

    def having(self, fate: Fate) -> tuple[AssetChange, ...]:
        """The changes of one kind."""
        return tuple(change for change in self.changes if change.fate == fate)


def _change(was: Asset | None, now: Asset | None) -> AssetChange | None:
    if was is None and now is not None:
        return AssetChange(now.key, "added")
    if now is None and was is not None:
        reasons = (Reason("config", f"the table {was.relation} is no longer made", (READERS,)),) if was.relation else ()
        return AssetChange(was.key, "removed", reasons)
    if was is None or now is None or was == now:
        return None
    columns = column_changes(was, now)
    reasons = tuple(_reasons(was, now, columns))
    return AssetChange(now.key, "changed", reasons, columns) if reasons else None


def _reasons(was: Asset, now: Asset, columns: tuple[ColumnChange, ...]) -> Iterator[Reason]:
    for piece, verb in _differing(was.code, now.code):
        kind: ReasonKind = "SQL" if piece == "SQL" else "macro" if piece.startswith("macro ") else "code"
        yield Reason(kind, f"{piece} {verb}")
    if columns or was.columns != now.columns:
        named = sorted({change.column for change in columns})
        yield Reason("contract", f"columns: {', '.join(named)}" if named else "columns are declared, or no longer are")
    for name, _ in _differing(was.settings, now.settings):
        told = f"{name}: {was.settings.get(name, 'none')} → {now.settings.get(name, 'none')}"
        yield Reason("config", told, _setting_breaks(name, now))
    if was.relation != now.relation:
        yield Reason("config", f"relation: {was.relation or 'none'} → {now.relation or 'none'}", (READERS,))
    for key in sorted({*was.deps} ^ {*now.deps}):
        yield Reason("dependency", f"reads {key} {'no longer' if key in was.deps else 'from now on'}")
    for name, verb in _differing(was.checks, now.checks):
        told = f": {was.checks[name]} → {now.checks[name]}" if verb == "changed" else ""
        yield Reason("check", f"check {name} {verb}{told}")
    if was.owners != now.owners:
        yield Reason("owner", f"owners: {', '.join(was.owners) or 'none'} → {', '.join(now.owners) or 'none'}")
    for label in ("is_automated", "is_virtual", "is_delivered"):
        if getattr(was, label) != getattr(now, label):
            yield Reason("config", f"{label.removeprefix('is_')}: {_yes(getattr(was, label))} → {_yes(getattr(now, label))}")
    if was.description != now.description:
        yield Reason("description", "description")


def _setting_breaks(name: str, now: Asset) -> tuple[str, ...]:
    if name == "drift policy":
        return (DELIVERERS,) if now.settings.get(name) == "freeze" else ()
    if now.is_delivered and name in _DELIVERY_SETTINGS:
        return (DELIVERERS,)
    return (READERS,) if name in _BREAKING_SETTINGS else ()


def _differing(was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            yield name, "added" if name not in was else "removed" if name not in now else "changed"


def _readers(*snapshots: Snapshot) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for snapshot in snapshots:
        for asset in snapshot.assets.values():
            for key in asset.deps:
                found.setdefault(key, set()).add(asset.key)
    return found


def _below(key: str, readers: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Near ones first, those as near by name; never `key` itself."""
    found: dict[str, None] = {}
    layer = [key]
    while layer:
        layer = sorted({reader for each in layer for reader in readers.get(each, ())} - {key, *found})
        found |= dict.fromkeys(layer)
    return tuple(found)


def _refreshed(changes: Mapping[str, AssetChange], after: Snapshot, readers: Mapping[str, Iterable[str]]) -> set[str]:
    """What automation makes anew: what is new, what is made by other code, and what reads those, over views."""
    pending = [key for key, change in changes.items() if _starts(change, after)]
    found: set[str] = set()
    seen = set(pending)
    while pending:
        key = pending.pop()
        if after.assets[key].is_automated or key in changes:
            found.add(key)
        for reader in readers.get(key, ()):
            if reader not in seen and reader in after.assets and after.assets[reader].is_automated:
                seen.add(reader)
                pending.append(reader)
    return found


def _starts(change: AssetChange, after: Snapshot) -> bool:
    asset = after.assets.get(change.key)
    if asset is None or not asset.is_automated:
        return False
    return change.fate == "added" or any(reason.kind in ("SQL", "macro", "code") for reason in change.reasons)


def _owners(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    return {key: asset.owners for key, asset in snapshot.assets.items()}


def _affected(change: AssetChange, below: Iterable[str], owners: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    if not change.breaks:
        return ()
    return tuple(dict.fromkeys(owner for key in (change.key, *below) for owner in owners.get(key, ())))


def _timetable(was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name, verb in _differing(was, now):
        told = f": {was[name]} → {now[name]}" if verb == "changed" else f": {(now if name in now else was)[name]}"
        yield f"{name} {verb}{told}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
