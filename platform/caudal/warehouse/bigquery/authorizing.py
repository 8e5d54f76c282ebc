"""Views that read tables which their readers may not: the views' dataset is authorized on the tables' one.

Whoever may read `marts` reads its views, and needs no access to the `raw` that they are made of. It is the dataset that is
authorized, with all the views that it will have, so that nothing has to be granted again when a view is replaced; only Caudal
writes to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from caudal.warehouse.bigquery.explained import explained

if TYPE_CHECKING:
    from caudal.warehouse.bigquery.service import BigQuery


def datasets_read(datasets: str, views: Mapping[str, str], project: str) -> dict[str, set[str]]:
    """By dataset that is read, the datasets of the views that read it.

    Args:
        datasets: what the names of the environment's datasets begin with.
        views: relation -> query.

    """
    named = re.compile(rf"`?{re.escape(project)}`?\.`?({re.escape(datasets)}\w+)`?\.")
    found: dict[str, set[str]] = {}
    for relation, query in views.items():
        own = f"{datasets}{relation.split('.', 1)[0]}"
        for read in named.findall(query):
            if read != own:
                found.setdefault(read, set()).add(own)
    return found


def authorize(service: BigQuery, views: Mapping[str, str]) -> list[str]:
    """Let the views, relation -> query, read what they read, whoever asks them; the datasets on which that was granted now."""
    from google.cloud import bigquery

    changed = []
    for read, readers in sorted(datasets_read(service.cloud.datasets, views, service.cloud.project).items()):
        with explained(service.cloud, f"authorize the views of {', '.join(sorted(readers))} on the dataset {read}"):
            dataset = service.client.get_dataset(f"{service.cloud.project}.{read}", retry=service.busy)
            entries: list[Any] = list(dataset.access_entries)
            missing = sorted(readers - _authorized(entries))
            if not missing:
                continue
            entries += [bigquery.AccessEntry.from_api_repr(_entry(service.cloud.project, reader)) for reader in missing]
            dataset.access_entries = entries
            service.client.update_dataset(dataset, ["access_entries"], retry=service.busy)
            changed.append(read)
    return changed


def _authorized(entries: Iterable[Any]) -> set[str]:
    granted = (entry.to_api_repr().get("dataset") for entry in entries)
    return {each["dataset"]["datasetId"] for each in granted if each and "VIEWS" in each.get("targetTypes", ())}


def _entry(project: str, dataset: str) -> dict[str, Any]:
    """As https://cloud.google.com/bigquery/docs/reference/rest/v2/datasets#DatasetAccessEntry has it."""
    return {"dataset": {"dataset": {"projectId": project, "datasetId": dataset}, "targetTypes": ["VIEWS"]}}
