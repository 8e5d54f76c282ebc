"""Freshness: promised of a mart, asked of everything that feeds it, and, when a mart is late, which source makes it so.

A promise says how old an asset may become. What feeds it may become no older, so each asset upstream has the tightest promise
of what depends on it, unless somebody promises something of it itself: a table of departments changes once a year. Views hold
nothing of their own: promises and blame go through them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from caudal.warehouse.quality.component import Promise

Parents = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Asked:
    """How fresh an asset has to be, and the asset that asks for it: itself, or one downstream."""

    promise: Promise
    by: str


@dataclass(frozen=True)
class Blame:
    """Why an asset is late.

    Attributes:
        chain: from the late asset to the one that makes it late.
        since_s: when that one was last made, in seconds since the epoch; None: never.
        has_newer: what it is made of is newer than it: it could have been refreshed, and was not.

    """

    chain: tuple[str, ...]
    since_s: float | None
    has_newer: bool = False

    @property
    def cause(self) -> str:
        return self.chain[-1]

    @property
    def told(self) -> str:
        """A sentence."""
        when = "never" if self.since_s is None else f"{datetime.fromtimestamp(self.since_s, UTC):%Y-%m-%d %H:%M} UTC"
        if self.has_newer:
            itself = "It was" if len(self.chain) == 1 else f"{self.cause} was"
            return f"{itself} not refreshed since {when}, though what it is made of is newer: look at its last runs and checks."
        if len(self.chain) == 1:
            return f"It was last refreshed {when}, and what it is made of is not late."
        return f"Late because of {self.cause}: nothing new since {when}."


def asked_of(promises: Mapping[str, Promise], parents: Parents) -> dict[str, Asked]:
    """How fresh each asset has to be: what is promised of it, else the tightest of what depends on it.

    Args:
        parents: of every asset.

    """
    found = {name: Asked(promise, name) for name, promise in promises.items()}
    pending = list(promises)
    while pending:
        name = pending.pop()
        asked = found[name]
        for parent in parents.get(name, ()):
            known = found.get(parent)
            if parent in promises or (known and known.promise.within_hours <= asked.promise.within_hours):
                continue
            found[parent] = asked
            pending.append(parent)
    return found


def blame(
    asset: str, parents: Parents, made: Mapping[str, float | None], late: Collection[str], virtual: Collection[str] = ()
) -> Blame:
    """What makes `asset` late: from it upstream along what is late and oldest, until nothing above is late.

    Args:
        made: when each asset was last materialized, in seconds since the epoch; None or absent: never.
        late: those that are older than was asked of them.
        virtual: views, which are as new as what they read.

    """
    chain = [asset]
    while True:
        current = chain[-1]
        above = _above(current, parents, virtual)
        own = made.get(current)
        newer = [p for p in above if (made.get(p) or 0.0) > (own or 0.0)]
        oldest = sorted((p for p in above if p in late and p not in chain), key=lambda p: (made.get(p) or 0.0, p))
        if oldest:
            chain.append(oldest[0])
            continue
        return Blame(tuple(chain), own, bool(newer))


def _above(asset: str, parents: Parents, virtual: Collection[str]) -> set[str]:
    """What an asset is made of, views looked through."""
    found: set[str] = set()
    seen: set[str] = set()
    pending = list(parents.get(asset, ()))
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in virtual:
            pending.extend(parents.get(name, ()))
        else:
            found.add(name)
    return found


def with_freshness(definitions: dg.Definitions, promises: Mapping[tuple[str, ...], Promise]) -> dg.Definitions:
    """The definitions, with Dagster's freshness policies on all that is promised, and on what feeds it.

    Raises:
        ValueError: a promise is of no asset, of a view, or of no time.

    """
    if not promises:
        return definitions
    specs = {_name(spec.key): spec for spec in definitions.resolve_all_asset_specs()}
    named = {"/".join(key): promise for key, promise in promises.items()}
    for name, promise in named.items():
        if name not in specs or specs[name].is_virtual:
            what = "is a view, which is as new as what it reads" if name in specs else "is not there"
            raise ValueError(f"freshness is promised of the asset {name}, which {what}")
        if not 0 < (promise.warn_hours or promise.within_hours / 2) < promise.within_hours:
            raise ValueError(f"freshness of {name}: expected 0 < warn_hours < within_hours")
    parents = {name: {_name(dep.asset_key) for dep in spec.deps} for name, spec in specs.items()}
    asked = asked_of(named, parents)

    def with_policy(spec: dg.AssetSpec) -> dg.AssetSpec:
        one = asked.get(_name(spec.key))
        if one is None or spec.is_virtual or spec.freshness_policy is not None:
            return spec
        told = f"at least every {one.promise.within_hours:g} hours"
        if one.by != _name(spec.key):
            told += f", asked for by {one.by}"
        return spec.replace_attributes(
            freshness_policy=_policy(one.promise), metadata={**spec.metadata, "freshness": dg.MetadataValue.text(told)}
        )

    return definitions.map_asset_specs(func=with_policy)


def _policy(promise: Promise) -> dg.FreshnessPolicy:
    warn = timedelta(hours=promise.warn_hours) if promise.warn_hours else None
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=promise.within_hours), warn_window=warn)


def _name(key: dg.AssetKey) -> str:
    return "/".join(key.path)
