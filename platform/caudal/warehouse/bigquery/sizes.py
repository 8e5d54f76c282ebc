"""What a query would read, and how large published tables are, asked of BigQuery free of charge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.google_cloud import GoogleCloud
from caudal.warehouse.bigquery.costs import DryRun
from caudal.warehouse.bigquery.explained import NotThere, explained

if TYPE_CHECKING:
    from caudal.warehouse.bigquery.service import BigQuery


class Sizes:
    """Answers about one environment's published tables. Several threads may ask at once."""

    def __init__(self, bigquery: BigQuery) -> None:
        """Args: bigquery: whom to ask."""
        self._bigquery = bigquery
        self._sizes: dict[str, int | None] = {}

    @property
    def cloud(self) -> GoogleCloud:
        """The environment that is asked."""
        return self._bigquery.cloud

    def dry_run(self, sql: str, what: str) -> DryRun:
        """What a statement would read.

        Raises:
            caudal.warehouse.bigquery.explained.BigQueryRefused: the statement is wrong, or reads what is not there.

        """
        return self._bigquery.dry_run(sql, what)

    def size(self, relation: str) -> int | None:
        """The bytes of all columns of a published `schema.name`, of a view those that it reads; None if it is not there."""
        if relation not in self._sizes:
            self._sizes[relation] = self._ask(relation)
        return self._sizes[relation]

    def _ask(self, relation: str) -> int | None:
        table = self._bigquery.cloud.table(relation)
        try:
            with explained(self._bigquery.cloud, f"look how large {table} is"):
                found = self._bigquery.client.get_table(table, retry=self._bigquery.busy)
            if found.table_type == "VIEW":
                return self.dry_run(f"SELECT * FROM `{table}`", f"look how much {table} reads").bytes_processed
        except NotThere:
            return None
        return int(found.num_bytes or 0)
