"""Build, audit, publish: tables are made in a candidate, which becomes visible when all of it has been audited, or not at all.

What a candidate is depends on the engine: a copy of the published DuckDB file (`local_candidate`), or a dataset in BigQuery
(`bigquery.candidate`). Whoever builds in one knows this page alone. Candidates of one company are built one after another,
under a lock that dies with its holder, so that none is lost.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from caudal.warehouse import versions
from caudal.warehouse.audits import Audit, AuditOutcome, AuditsFailed, judge
from caudal.warehouse.held_back import Held, hold, let_go
from caudal.warehouse.versions import NOBODY, Cause

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from caudal.contracts.access import Access
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.warehouse.connection import Connection


class Candidate(Protocol):
    """An unpublished build. Tables and views are named as everywhere, `schema.name`; only dbt needs to know where they are.

    Attributes:
        start: the version that it started as, "" for none; the published one, unless another was asked for.
        parent: the version that readers see, "" for none.
        path: the DuckDB file in which it is built; None on BigQuery. One process at a time may open it.

    """

    @property
    def env(self) -> Environment: ...
    @property
    def version(self) -> str: ...
    @property
    def start(self) -> str: ...
    @property
    def parent(self) -> str: ...
    @property
    def path(self) -> Path | None: ...

    def connect(self) -> AbstractContextManager[Connection]:
        """Whoever asks in DuckDB's SQL, by `schema.name`, is answered from the candidate; it is writable."""
        ...

    def prepare(self, building: Iterable[str], views: Iterable[str] = (), incremental: Iterable[str] = ()) -> None:
        """Say what dbt is about to make; to be called before each build, and again with the same names without harm.

        Locally there is nothing to do: everything is in the file. On BigQuery, from here on, `physical` places all three in the
        candidate.

        Args:
            building: tables and views that dbt makes anew.
            views: views above these, which dbt makes anew too, so that tests read them as they will be.
            incremental: those of `building` that dbt adds to: each starts as a clone of what is published, if that is there.

        """
        ...

    def declare(self, access: Mapping[str, Access]) -> None:
        """Say how relations are to be guarded when they are published; of others nothing is said. Locally it does nothing."""
        ...

    def physical(self, relation: str, in_candidate: bool | None = None) -> tuple[str, str]:
        """`(dataset, table)` on BigQuery of a `schema.name`; locally `(schema, name)`.

        Args:
            in_candidate: None for where it is now: in the candidate if that holds it (raw tables that were loaded since the
                last one, what was prepared, and what was not restored), else what readers see.

        """
        ...

    def made_of(self) -> dict[str, str]:
        """What was written down of each `schema.name` as it stands: what it was made of. Locally nothing ever is."""
        ...

    def write_down(self, made_of: Mapping[str, str]) -> None:
        """Have the version say of each `schema.name` what it was made of, should it be published. Locally it does nothing."""
        ...

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        """Make each `schema.name` a table of these rows, whatever it was."""
        ...

    def restore(self, names: Iterable[str], /) -> None:
        """Put each `schema.name` back to what is published now; what was never published is dropped."""
        ...

    def holds(self, names: Iterable[str], /) -> set[str]:
        """Those of the `schema.name` that can be read, be it in the candidate or as published."""
        ...

    def bring(self, relation: str, kept: versions.Kept) -> None:
        """Make the relation what it is in a kept version.

        Raises:
            LookupError: that version does not have it.

        """
        ...

    def rewrite(self) -> None:
        """See that nothing is left in it, where it is files, of what was removed from its tables."""
        ...

    def broken_views(self, *, published: bool = False) -> dict[str, str]:
        """The views that cannot be read, in the candidate or in what is published, each with the reason."""
        ...

    def publish(self, changed: Iterable[str] = (), cause: Cause = NOBODY) -> str:
        """Make the candidate what readers see; its version.

        Args:
            changed: each `schema.name` that was made anew, if only with the same rows; others with another definition are
                found by themselves.
            cause: who publishes, and why.

        """
        ...


@contextmanager
def open_candidate(
    env: Environment, datasets: Sequence[Dataset] = (), start: versions.Kept | None = None
) -> Generator[Candidate]:
    """A candidate that starts as the published version, its raw tables pinned to the newest raw of `datasets`.

    Waits for the candidate of another process to be published or given up. Leaving the block without `publish` discards
    the candidate.

    Args:
        start: the version to start as, instead of the published one.

    """
    if env.cloud is None:
        from caudal.warehouse.local_candidate import open_local_candidate as opened
    else:
        from caudal.warehouse.bigquery.opening import open_bigquery_candidate as opened
    with opened(env, datasets, start) as candidate:
        yield candidate


@dataclass(frozen=True)
class Published:
    """Tables that Python made, published.

    Attributes:
        outcomes: of all audits, which passed.
        was_held: those of the tables that had been held back until now.

    """

    version: str
    outcomes: tuple[AuditOutcome, ...]
    was_held: Mapping[str, Held]


def publish_tables(
    env: Environment, tables: Mapping[str, pa.Table], audits: Sequence[Audit] = (), cause: Cause = NOBODY
) -> str:
    """Publish whole tables, named `schema.name`, in one version, replacing those of the same name; the version.

    Raises:
        AuditsFailed: one of `audits` does not hold in the candidate. Nothing is published: each table of `tables` keeps its
            last good version, and `held_back` says so until it is published again.

    """
    return published_tables_of(env, tables, audits, cause).version


def published_tables_of(
    env: Environment, tables: Mapping[str, pa.Table], audits: Sequence[Audit] = (), cause: Cause = NOBODY
) -> Published:
    """As `publish_tables`, and what came of the audits."""
    with open_candidate(env) as candidate:
        candidate.write(tables)
        with candidate.connect() as connection:
            outcomes = tuple(judge(connection, audits))
        blamed = tuple(outcome.why() for outcome in outcomes if not outcome.passed)
        if blamed:
            raise AuditsFailed(outcomes, hold(env, dict.fromkeys(tables, blamed), cause))
        version = candidate.publish(tables, cause)
    return Published(version, outcomes, let_go(env, tables))


def published_version(env: Environment) -> str | None:
    """The version that readers see, or None."""
    return versions.current(env)
