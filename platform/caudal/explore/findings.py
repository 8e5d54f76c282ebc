"""Everything that is found out about a table for its page and its report, in the time that there is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from caudal.explore.allowance import Allowance
from caudal.explore.correlations import Correlation, correlations
from caudal.explore.distributions import Categories, Histogram, TimeSeries, distribution, main_columns, time_series
from caudal.explore.drift import Drift, find_drift
from caudal.explore.keys import KeyCandidate, key_candidates
from caudal.explore.profile import ColumnProfile, TableProfile
from caudal.explore.scan import of_sample, profile_table, source_of
from caudal.explore.snapshot import read_history, remember, shares_between, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import duckdb

    from caudal.explore.snapshot import Snapshot

TIMEOUT_S = 600.0
#: A report draws so many columns, the page of the asset fewer.
MOST_DRAWN = 60


@dataclass(frozen=True)
class Findings:
    """What there is to say of a table.

    Attributes:
        drawn: what can be drawn, of at most `MOST_DRAWN` columns; of the sample, if there is one.
        main: names of the columns that say something as a distribution.
        before: the profile that this one is compared with; None if it is the first.
        left_out: what there was no time for.

    """

    profile: TableProfile
    drawn: dict[str, Categories | Histogram]
    main: tuple[str, ...]
    series: TimeSeries | None
    correlations: tuple[Correlation, ...]
    keys: tuple[KeyCandidate, ...]
    drift: tuple[Drift, ...] = ()
    before: Snapshot | None = None
    left_out: tuple[str, ...] = ()


def examine(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    personal: Collection[str] = (),
    timeout_s: float = TIMEOUT_S,
    history: Path | None = None,
    version: str = "",
) -> Findings:
    """Profile `relation`, compare it with the last profile in `history` of another version, and remember it there.

    Args:
        personal: columns of which no value may be told.
        history: the file of former profiles; without it nothing is compared or remembered.
        version: the published version that `connection` reads.

    Raises:
        duckdb.CatalogException: there is no such table.
        caudal.explore.allowance.ProfileTookTooLong: not even the columns' figures were there within `timeout_s`.

    """
    allowance = Allowance(connection, timeout_s)
    with allowance.needed(relation):
        profile = profile_table(connection, relation, personal=personal)
    drift: tuple[Drift, ...] = ()
    before = None
    if history:
        with allowance.optional("the comparison with the profile before") as there_is_time:
            if there_is_time:
                before, drift = _compare(connection, profile, history, version)
    series, keys, related = None, (), ()
    with allowance.optional("the rows over time") as there_is_time:
        series = time_series(connection, relation, profile, sample=source_of(profile)) if there_is_time else None
    drawn: dict[str, Categories | Histogram] = {}
    with allowance.optional("distributions of some columns") as there_is_time:
        for column in _worth_drawing(profile) if there_is_time else ():
            if found := distribution(connection, source_of(profile), of_sample(connection, profile, column)):
                drawn[column.name] = found
    with allowance.optional("correlations") as there_is_time:
        related = tuple(correlations(connection, profile)) if there_is_time else ()
    with allowance.optional("candidates for keys") as there_is_time:
        keys = tuple(key_candidates(connection, profile)) if there_is_time else ()
    main = tuple(c.name for c in main_columns(profile))
    return Findings(profile, drawn, main, series, related, keys, drift, before, tuple(allowance.left_out))


def _compare(
    connection: duckdb.DuckDBPyConnection, profile: TableProfile, path: Path, version: str
) -> tuple[Snapshot | None, tuple[Drift, ...]]:
    now = take_snapshot(connection, profile, version, f"{datetime.now(UTC):%Y-%m-%d %H:%M}")
    history = read_history(path)
    before = next((s for s in reversed(history) if s.version != version), None)
    found: list[Drift] = []
    if before:
        edges = {n: c.edges for n, c in before.columns.items() if n in now.columns and c.type == now.columns[n].type}
        found = find_drift(before, now, shares_between(connection, profile, edges))
    remember(path, history, now)
    return before, tuple(found)


def _worth_drawing(profile: TableProfile) -> list[ColumnProfile]:
    main = main_columns(profile)
    others = (c for c in profile.columns if c not in main and not c.masked and c.distinct > 1 and (c.top or c.quantiles))
    return [*main, *others][:MOST_DRAWN]
