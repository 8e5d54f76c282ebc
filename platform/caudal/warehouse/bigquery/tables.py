"""Tables of BigQuery, made and kept as contracts say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from caudal.warehouse.bigquery import schema
from caudal.warehouse.bigquery.explained import BigQueryRefused, explained

if TYPE_CHECKING:
    from google.cloud import bigquery

    from caudal.contracts import Layout
    from caudal.warehouse.bigquery.service import BigQuery


class Tables:
    """Tables by their full names, each asked for once; whoever uses one object is the only one that changes them."""

    def __init__(self, service: BigQuery) -> None:
        self._service = service
        self._known: dict[str, bigquery.Table] = {}

    def find(self, name: str, *, again: bool = False) -> bigquery.Table | None:
        """The table; None if it is not there.

        Args:
            again: ask, although it is known.

        """
        from google.api_core import exceptions

        if name not in self._known or again:
            self._known.pop(name, None)
            with explained(self._service.cloud, f"look at the table {name}"):
                try:
                    self._known[name] = self._service.client.get_table(name, retry=self._service.busy)
                except exceptions.NotFound:
                    return None
        return self._known[name]

    def forget(self, name: str) -> None:
        """The table has changed."""
        self._known.pop(name, None)

    def ready(self, name: str, fields: Sequence[bigquery.SchemaField], layout: Layout) -> tuple[bigquery.Table, bool]:
        """The table with all columns of `fields` and the layout, and whether it was made for that.

        Columns that it has beside them stay. How it is partitioned never changes.

        Raises:
            BigQueryRefused: BigQuery does not let the table become so; says why.

        """
        from google.api_core import exceptions

        table = self.find(name)
        if table is None:
            return self.create(name, fields, layout), True
        changed = []
        if new := schema.new_columns(table.schema, fields):
            table.schema = [*table.schema, *new]
            changed.append("schema")
        if tuple(table.clustering_fields or ()) != layout.cluster_by:
            table.clustering_fields = list(layout.cluster_by)
            changed.append("clustering_fields")
        required = layout.require_partition_filter and table.time_partitioning is not None
        if bool(table.require_partition_filter) != required:
            table.require_partition_filter = required
            changed.append("require_partition_filter")
        if changed:
            self.forget(name)
            with explained(self._service.cloud, f"change the {' and '.join(changed)} of the table {name}"):
                try:
                    self._known[name] = self._service.client.update_table(table, changed, retry=self._service.busy)
                except exceptions.PreconditionFailed:  # It is changed, and the answer was lost: so it is looked at again.
                    return self.ready(name, fields, layout)
        return self._known[name], False

    def create(
        self,
        name: str,
        fields: Sequence[bigquery.SchemaField],
        layout: Layout | None = None,
        expires: datetime | None = None,
    ) -> bigquery.Table:
        """Make the table, and its dataset if that is missing. One that is there is left as it is."""
        from google.api_core import exceptions
        from google.cloud import bigquery

        table = bigquery.Table(name, schema=list(fields))
        table.expires = expires
        if layout is not None:
            for attribute, value in self.layout_in_a_job(layout).items():
                setattr(table, attribute, value)
            if layout.require_partition_filter:
                table.require_partition_filter = True
        client, busy = self._service.client, self._service.busy
        with explained(self._service.cloud, f"make the table {name}"):
            try:
                made = client.create_table(table, exists_ok=True, retry=busy)
            except exceptions.NotFound:
                self.ensure_dataset(name)
                made = client.create_table(table, exists_ok=True, retry=busy)
        if expires is None:
            self._known[name] = made
        return made

    def ensure_dataset(self, name: str) -> None:
        """Make the dataset of the table `name`, where the settings say, unless it is there.

        Raises:
            BigQueryRefused: it is there, in another location.

        """
        from google.cloud import bigquery

        cloud = self._service.cloud
        dataset = bigquery.Dataset(name.rpartition(".")[0])
        dataset.location = cloud.location
        with explained(cloud, f"make the dataset {dataset.dataset_id}"):
            made = self._service.client.create_dataset(dataset, exists_ok=True, retry=self._service.busy)
        if made.location and made.location.lower() != cloud.location.lower():
            raise BigQueryRefused(
                f"the dataset {made.dataset_id} is in {made.location}, and jobs run in {cloud.location}, "
                f"which cannot see it. Set CAUDAL_GCP_LOCATION={made.location}, or have another prefix in CAUDAL_GCP_DATASETS",
                "location",
            )

    def remove(self, name: str) -> None:
        """Remove the table, if it is there."""
        self.forget(name)
        with explained(self._service.cloud, f"remove the table {name}"):
            self._service.client.delete_table(name, not_found_ok=True, retry=self._service.busy)

    @staticmethod
    def layout_in_a_job(layout: Layout) -> dict[str, Any]:
        """The layout as attributes of a table, or of a load job's configuration that makes one."""
        found: dict[str, Any] = {"clustering_fields": list(layout.cluster_by)}
        if (partitioning := schema.partitioning(layout)) is not None:
            found["time_partitioning"] = partitioning
        return found
