"""How a table is laid out where the engine can do so: by which column it is partitioned, and by which it is clustered.

Custom properties of the contract: `partitionBy`, `partitionGranularity`, `clusterBy`, `requirePartitionFilter`. They decide
what a query costs on BigQuery and nothing about rows; Delta Lake is left as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from caudal.contracts.columns import Column

if TYPE_CHECKING:
    from caudal.contracts.odcs import DataContract
    from caudal.declaration import Document, Place

Granularity = Literal["hour", "day", "month", "year"]

PROPERTIES = ("partitionBy", "partitionGranularity", "clusterBy", "requirePartitionFilter")

#: Beside the contract's columns, those that the platform adds.
_ADDED = {"_file": "string", "_version": "string", "_row": "integer", "_loaded_at": "timestamp"}

#: https://cloud.google.com/bigquery/docs/clustered-tables#limitations
MOST_CLUSTERING_COLUMNS = 4


@dataclass(frozen=True)
class Layout:
    """How a table is laid out.

    Attributes:
        partition_by: a date or a timestamp; None: the table is one piece.
        granularity: of its values, how much one partition holds.
        cluster_by: rows are sorted by these, the first one first. By `_file`, unless something else is said: so the rows of a
            lake file are found when they are replaced.
        require_partition_filter: a query that does not say which partitions it reads is refused.

    """

    partition_by: str | None = None
    granularity: Granularity = "day"
    cluster_by: tuple[str, ...] = ("_file",)
    require_partition_filter: bool = False


def layout_of(declared: DataContract, columns: Sequence[Column], document: Document) -> Layout:
    """What the contract says.

    Raises:
        caudal.declaration.DeclarationError: with file and line: it cannot be done, or not be meant.

    """
    return _Reader(declared, columns, document).layout()


class _Reader:
    def __init__(self, declared: DataContract, columns: Sequence[Column], document: Document) -> None:
        self._document = document
        self._columns = {c.name: c for c in columns}
        self._given: dict[str, tuple[Any, Place]] = {}
        for index, custom in enumerate(declared.customProperties or ()):
            name, place = custom.property, ("customProperties", index, "value")
            if name in self._given:
                raise document.error(place, f"`{name}` is given twice; keep one")
            if name in PROPERTIES:
                self._given[name] = (custom.value, place)
            elif meant := difflib.get_close_matches(name, PROPERTIES, 1, 0.85):
                raise document.error(place, f"the custom property `{name}` is unknown; is `{meant[0]}` meant?")

    def layout(self) -> Layout:
        partition_by = self._partition_by()
        for name in ("partitionGranularity", "requirePartitionFilter"):
            if name in self._given and partition_by is None:
                raise self._refused(name, "it needs `partitionBy`, the column by which the table is partitioned")
        return Layout(partition_by, self._granularity(partition_by), self._cluster_by(), self._require_filter())

    def _partition_by(self) -> str | None:
        if "partitionBy" not in self._given:
            return None
        name = self._column("partitionBy", self._given["partitionBy"][0])
        if (kind := self._type(name)) not in ("date", "timestamp"):
            raise self._refused("partitionBy", f"column `{name}` is of the type {kind}; expected a date or a timestamp")
        return name

    def _granularity(self, partition_by: str | None) -> Granularity:
        if "partitionGranularity" not in self._given:
            return "day"
        value = self._given["partitionGranularity"][0]
        if value not in get_args(Granularity):
            raise self._refused("partitionGranularity", f"{value!r}; expected `hour`, `day`, `month` or `year`")
        if value == "hour" and partition_by is not None and self._type(partition_by) == "date":
            raise self._refused("partitionGranularity", f"column `{partition_by}` is a date, which has no hour; expected `day`")
        return cast("Granularity", value)

    def _cluster_by(self) -> tuple[str, ...]:
        if "clusterBy" not in self._given:
            return Layout.cluster_by
        value = self._given["clusterBy"][0]
        if (
            not isinstance(value, list)
            or not 1 <= len(value) <= MOST_CLUSTERING_COLUMNS
            or len(set(map(str, value))) < len(value)
        ):
            raise self._refused("clusterBy", f"{value!r}; expected a list of 1 to {MOST_CLUSTERING_COLUMNS} different columns")
        names = tuple(self._column("clusterBy", name) for name in value)
        for name in names:
            kind = self._type(name)
            column = self._columns.get(name)
            if kind in ("object", "array", "time") or (kind == "number" and column is not None and not column.is_decimal):
                raise self._refused("clusterBy", f"column `{name}` cannot sort a table on BigQuery: it is of the type {kind}")
        return names

    def _require_filter(self) -> bool:
        value = self._given.get("requirePartitionFilter", (False, ()))[0]
        if not isinstance(value, bool):
            raise self._refused("requirePartitionFilter", f"{value!r}; expected true or false")
        return value

    def _column(self, said: str, name: Any) -> str:
        if name in self._columns or name in _ADDED:
            return str(name)
        close = difflib.get_close_matches(str(name), [*self._columns, *_ADDED], 1)
        raise self._refused(said, f"there is no column {name!r}" + (f"; is `{close[0]}` meant?" if close else ""))

    def _type(self, name: str) -> str:
        return self._columns[name].logical_type if name in self._columns else _ADDED[name]

    def _refused(self, name: str, problem: str) -> Exception:
        return self._document.error(self._given[name][1], f"{name}: {problem}")
