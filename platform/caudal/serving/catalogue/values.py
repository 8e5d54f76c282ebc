"""The catalogue as a value, and the file that it is kept in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caudal.environment import Environment


@dataclass(frozen=True)
class Column:
    """One column of a published table.

    Attributes:
        constraints: what is promised of its values, in words.
        classification: as contract or model declare it; None where nobody says anything.
        personal: its values are masked, because it is classified, or a column of its name is elsewhere.
        made_of: `schema.table.column` of those that it is computed from, where column lineage is known.

    """

    name: str
    type: str
    description: str = ""
    unit: str = ""
    constraints: tuple[str, ...] = ()
    classification: str | None = None
    personal: bool = False
    made_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figures:
    """What a profile says of a column, as text to be shown."""

    column: str
    nulls: str
    distinct: str
    minimum: str = ""
    median: str = ""
    maximum: str = ""
    top: str = ""


@dataclass(frozen=True)
class Profile:
    """The newest profile of a table."""

    asset: str
    made_at: str
    rows: int
    figures: tuple[Figures, ...]
    report: str = ""


@dataclass(frozen=True)
class Check:
    """A check and how it ended last.

    Attributes:
        status: `passed`, `warned`, `failed`, or "" where it has not run.
        at: when, ISO 8601 in UTC.

    """

    name: str
    description: str = ""
    blocking: bool = False
    status: str = ""
    at: str = ""


@dataclass(frozen=True)
class Freshness:
    """When a table was made, and when it should be.

    Attributes:
        late: None where nothing is promised.
        rule: the promise, in words.
        expected_by: when it must be made next, ISO 8601 in UTC; "" where nothing is promised.

    """

    made_at: str = ""
    late: bool | None = None
    rule: str = ""
    expected_by: str = ""


@dataclass(frozen=True)
class Examples:
    """The first rows, as text, personal data masked. `note` says why there are none."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A published table or view.

    Attributes:
        relation: `schema.name`, which is what its page is called.
        asset: its asset key, `stage/domain/name`; "" if it is none.
        contract: id and version, or "".
        reads, read_by: asset keys, direct ones.
        origins: asset keys of the lake files that it comes from in the end.
        lookup: the column by which the HTTP API looks up its rows, and its name there; None if it does not.
        cost: what making it was billed for the last time, in words; "" where nothing is billed.

    """

    relation: str
    kind: str
    asset: str = ""
    domain: str = ""
    description: str = ""
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    contract: str = ""
    columns: tuple[Column, ...] = ()
    rows: int | None = None
    freshness: Freshness = Freshness()
    checks: tuple[Check, ...] = ()
    reads: tuple[str, ...] = ()
    read_by: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    profile: Profile | None = None
    examples: Examples = Examples()
    lookup: tuple[str, str] | None = None
    cost: str = ""

    @property
    def schema(self) -> str:
        return self.relation.partition(".")[0]

    @property
    def name(self) -> str:
        return self.relation.partition(".")[2]


@dataclass(frozen=True)
class Catalogue:
    """Every published table of a company.

    Attributes:
        version: the published version that it describes; "" before there is one.
        made_at: when it was made, ISO 8601 in UTC.
        database: the file that readers open, or `bigquery://<project>/<what the names of datasets begin with>`.
        dagster: where Dagster's pages are.

    """

    company: str
    version: str
    made_at: str
    database: str
    dagster: str
    tables: tuple[Table, ...]

    @cached_property
    def by_relation(self) -> dict[str, Table]:
        return {table.relation: table for table in self.tables}

    @cached_property
    def by_asset(self) -> dict[str, Table]:
        return {table.asset: table for table in self.tables if table.asset}


class NoCatalogue(FileNotFoundError):
    """It was never made, or was made by another version of this code."""


def catalogue_path(env: Environment) -> Path:
    """Where the company's catalogue is kept."""
    return env.state / "catalogue.json"


def write_catalogue(catalogue: Catalogue, path: Path) -> None:
    """Replace the file in one step."""
    from caudal.store import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as temporary:
        temporary.write_bytes(_adapter().dump_json(catalogue))


def read_catalogue(path: Path) -> Catalogue:
    """The catalogue that was written to `path`.

    Raises:
        NoCatalogue: with what to do about it.

    """
    from pydantic import ValidationError

    try:
        return _adapter().validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError) as missing:
        raise NoCatalogue(f"There is no catalogue in {path} yet. Make it with `caudal catalogue`.") from missing


@cache
def _adapter() -> Any:
    """Made once: the model of the whole value takes some milliseconds."""
    from pydantic import TypeAdapter

    return TypeAdapter(Catalogue)
