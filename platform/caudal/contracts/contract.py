"""A dataset's contract, written once in ODCS v3.1 YAML (https://bitol-io.github.io/open-data-contract-standard/v3.1.0/).

`read_contract` refuses what it does not understand, with file and line. Everything else is a view of the result: the Arrow
schema of a part, the types of DuckDB and BigQuery, the columns of dbt sources and of Dagster's column tab. What a contract may
say is told in docs/guide/contracts.md.

Types. `integer` is 64 bits wide; `number` is an exact decimal, by default of precision 38 and scale 9, unless `physicalType`
says `DECIMAL(p,s)` or `DOUBLE`; `timestamp` has no time zone unless `logicalTypeOptions.timezone` is true; an `object` with
`properties` is a struct and an `array` with `items` a list; without, they are kept as JSON text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from caudal.contracts.access import Access, RowPolicy, classified, row_policies
from caudal.contracts.columns import Column, LogicalType
from caudal.contracts.layout import Layout, layout_of
from caudal.contracts.odcs import DataContract
from caudal.contracts.properties import PropertyError, column_of
from caudal.contracts.quality import rules_of
from caudal.contracts.rules import Rule
from caudal.declaration import Document, Place, read_yaml

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LINEAGE_COLUMNS", "Column", "Contract", "DriftPolicy", "LogicalType", "read_contract"]

DriftPolicy = Literal["freeze", "ignore", "evolve"]

#: Added to every part: the lake file, its version, the row's number in the file (from 1), and when it was loaded (UTC).
LINEAGE_COLUMNS = {"_file": "VARCHAR", "_version": "VARCHAR", "_row": "BIGINT", "_loaded_at": "TIMESTAMP WITH TIME ZONE"}

#: What of a property decides nothing about how rows are read and typed.
_TOLD_ONLY = ("description", "classification", "unique", "primaryKey", "primaryKeyPosition")


@dataclass(frozen=True)
class Contract:
    """What one dataset promises.

    Attributes:
        path: the file that declares it.
        columns: in the order of the raw table.
        drift: what to do with a column more or less: `freeze` quarantines the file; `ignore` leaves out a column that is not
            declared and fills an absent optional one with nulls; `evolve` adds it to the raw table, and does the latter.
        null_markers: texts that stand for no value in every column. (The columns' own have them too.)
        rules: what must be true of the whole table.
        layout: how the table is laid out on BigQuery.
        row_access: who sees which of its rows on BigQuery.

    """

    path: Path
    id: str
    name: str
    version: str
    description: str
    owner: str | None
    columns: tuple[Column, ...]
    drift: DriftPolicy = "freeze"
    tags: tuple[str, ...] = field(default=())
    null_markers: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    layout: Layout = field(default_factory=Layout)
    row_access: tuple[RowPolicy, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The key's columns, in the order of their positions, or of the columns where the contract gives none."""
        return tuple(c.name for c in sorted((c for c in self.columns if c.primary_key), key=lambda c: c.key_position or 0))

    @cached_property
    def older_names(self) -> Mapping[str, str]:
        """The column's name now, by each name that it had before."""
        return {older: column.name for column in self.columns for older in column.renamed_from}

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of all that decides how rows are read and typed; the same in every process and on every machine."""
        from caudal.contracts.declaring import property_of

        told = [_deciding(property_of(column)) for column in self.columns]
        return hashlib.sha256(json.dumps([told, self.drift], sort_keys=True).encode()).hexdigest()[:16]

    def with_columns(self, columns: Iterable[Column]) -> Contract:
        """The contract with `columns` at its end, nullable; without those that it has, or the platform adds."""
        known = {name.lower() for name in self.column_names} | set(LINEAGE_COLUMNS)
        nullable = {"required": False, "unique": False, "primary_key": False, "key_position": None}
        new = []
        for column in columns:
            if column.name.lower() not in known:
                known.add(column.name.lower())
                markers = () if column.logical_type in ("object", "array") else self.null_markers
                own = tuple(dict.fromkeys((*column.null_markers, *markers)))
                new.append(replace(column, null_markers=own, **nullable))
        return replace(self, columns=(*self.columns, *new))

    @property
    def access(self) -> Access:
        """How the raw table is guarded on BigQuery."""
        return Access(classified(self.columns), self.row_access)

    def arrow_schema(self) -> pa.Schema:
        """The schema of a part: the declared columns, then `LINEAGE_COLUMNS`."""
        import pyarrow as pa

        return pa.schema(
            [
                *(pa.field(c.name, c.arrow_type) for c in self.columns),
                pa.field("_file", pa.string()),
                pa.field("_version", pa.string()),
                pa.field("_row", pa.int64()),
                pa.field("_loaded_at", pa.timestamp("us", tz="UTC")),
            ]
        )


def read_contract(path: Path) -> Contract:
    """Read and check the contract at `path`.

    Raises:
        caudal.declaration.DeclarationError: with file, line and what was expected, one line a problem.

    """
    document = read_yaml(path)
    declared = document.validate(DataContract)
    if len(declared.schema_) != 1:
        raise document.error(("schema",), f"`schema` has {len(declared.schema_)} objects; a dataset's contract has one")
    table = declared.schema_[0]
    if not table.properties:
        raise document.error(("schema", 0), "`schema.0.properties` is empty; declare at least one column")
    markers = _null_markers(declared, document)
    columns, seen = [], set()
    for index, declared_column in enumerate(table.properties):
        place = ("schema", 0, "properties", index)
        lowered = declared_column.name.lower()
        if lowered in seen:
            raise document.error(place, f"column `{declared_column.name}` is declared twice (case is not told apart)")
        if lowered in LINEAGE_COLUMNS:
            raise document.error(place, f"column `{declared_column.name}`: the platform adds a column of this name; rename it")
        seen.add(lowered)
        try:
            columns.append(column_of(declared_column, markers))
        except PropertyError as bad:
            raise document.error((*place, *bad.place), str(bad)) from None
    _check_older_names(columns, document)
    _check_key(columns, document)
    return Contract(
        path=path,
        id=declared.id,
        name=declared.name or table.name,
        version=declared.version,
        description=(table.description or declared.purpose or "").strip(),
        owner=declared.owner,
        columns=tuple(columns),
        drift=_drift(declared, document),
        tags=tuple(declared.tags or ()),
        null_markers=markers,
        rules=rules_of(table, declared, document),
        layout=layout_of(declared, columns, document),
        row_access=_row_access(declared, document),
    )


def _custom(declared: DataContract, name: str) -> tuple[Any, Place]:
    """The value of the contract's custom property and its place; None without it."""
    for index, custom in enumerate(declared.customProperties or ()):
        if custom.property == name:
            return custom.value, ("customProperties", index, "value")
    return None, ()


def _drift(declared: DataContract, document: Document) -> DriftPolicy:
    value, place = _custom(declared, "driftPolicy")
    if place and value not in get_args(DriftPolicy):
        raise document.error(place, f"driftPolicy is {value!r}; expected `freeze`, `ignore` or `evolve`")
    return value or "freeze"


def _row_access(declared: DataContract, document: Document) -> tuple[RowPolicy, ...]:
    value, place = _custom(declared, "rowAccess")
    try:
        return row_policies(value) if place else ()
    except ValueError as bad:
        raise document.error(place, f"rowAccess: {bad}") from None


def _null_markers(declared: DataContract, document: Document) -> tuple[str, ...]:
    value, place = _custom(declared, "nullMarkers")
    if place and not (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
        raise document.error(place, f"nullMarkers is {value!r}; expected a list of texts, each in quotes")
    return tuple(dict.fromkeys(value or ()))


def _check_older_names(columns: list[Column], document: Document) -> None:
    taken = {column.name.lower() for column in columns} | set(LINEAGE_COLUMNS)
    for index, column in enumerate(columns):
        for older in column.renamed_from:
            if older.strip().lower() in taken or older != older.strip() or not older:
                place = ("schema", 0, "properties", index)
                problem = f"column `{column.name}`: renamedFrom has {older!r}, which is no name, or one of another column"
                raise document.error(place, problem)
            taken.add(older.lower())


def _check_key(columns: list[Column], document: Document) -> None:
    positions = [(index, c.key_position) for index, c in enumerate(columns) if c.primary_key]
    given = [position for _, position in positions if position is not None]
    if given and (len(given) < len(positions) or len(set(given)) < len(given)):
        problem = (
            f"primaryKeyPosition: the key's columns have {[p for _, p in positions]}; expected a position of its own for each"
        )
        raise document.error(("schema", 0, "properties", positions[-1][0]), problem)


def _deciding(told: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in told.items() if name not in _TOLD_ONLY}
    if "customProperties" in found:
        customs = [c for c in found.pop("customProperties") if c["property"] != "subjectKey"]
        if customs:
            found["customProperties"] = [c for c in customs if c["property"] != "unit"]
    if "properties" in found:
        found["properties"] = [_deciding(inner) for inner in found["properties"]]
    if "items" in found:
        found["items"] = _deciding(found["items"])
    return found
