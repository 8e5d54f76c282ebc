"""A branch's datasets in BigQuery and its folder in the bucket: clones, which cost nothing until they are changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from caudal.google_cloud import BRANCH, GoogleCloud
from caudal.store import open_store
from caudal.warehouse.bigquery.explained import BigQueryRefused, explained
from caudal.warehouse.bigquery.guard import TOKEN
from caudal.warehouse.bigquery.service import BigQuery

if TYPE_CHECKING:
    from google.cloud.bigquery.dataset import DatasetListItem
    from google.cloud.bigquery.table import TableListItem

    from caudal.environment import Environment

#: Requests at a time.
_AT_ONCE = 8

#: Schemas of production that are no branch's business.
_NOT_CLONED = ("candidate_", BRANCH)

#: Of a dataset, for who reads it there.
_OF_BRANCH = "The environment of the git branch "

#: Raw tables and rejects: they must agree with the ledger.
_RAW = ("loading", "quarantine", "raw")

T = TypeVar("T")


class BranchDatasets:
    """The datasets and objects of the branch whose environment `env` is."""

    def __init__(self, env: Environment) -> None:
        assert env.cloud is not None
        assert env.cloud.of_production is not None
        self._env, self._cloud, self._production = env, env.cloud, env.cloud.of_production
        self._service = BigQuery(env.cloud, {"branch": env.cloud.branch or ""})

    def loading(self) -> list[str]:
        """The names of production's raw tables."""
        names: set[str] = set()
        for dataset in self._production_datasets(_RAW):
            names |= {table.table_id for table in self._tables(dataset.dataset_id)}
        return sorted(names)

    def clone_raw(self) -> int:
        """Clone raw tables and rejects; how many. Nobody may write to them meanwhile."""
        return self._clone(self._production_datasets(_RAW))

    def clone_published(self) -> int:
        """Clone the tables of every other dataset, and make all views anew, above the branch's tables; how many."""
        self._make_dataset("versions")  # Without production's: what was published before is read as it is now.
        others = [d for d in self._production_datasets() if self._schema(d.dataset_id) not in _RAW]
        count = self._clone(others)
        views = [(d.dataset_id, t.table_id) for d in self._production_datasets() for t in self._tables(d.dataset_id, "VIEW")]
        self._make_views(views)
        return count + len(views)

    def drop(self) -> tuple[int, int]:
        """Remove all of the branch; how many datasets and objects that were."""
        service, found = self._service, list(_datasets(self._service, self._cloud.datasets))
        with explained(self._cloud, f"remove the datasets {self._cloud.datasets}..."):
            self._each(
                lambda d: service.client.delete_dataset(
                    d.reference, delete_contents=True, not_found_ok=True, retry=service.busy
                ),
                found,
            )
        store = open_store(self._cloud.folder("").rstrip("/"), self._cloud.impersonate)
        objects = [found.path for found in store.list("")]
        self._each(store.delete, objects)
        return len(found), len(objects)

    def _clone(self, datasets: Iterable[DatasetListItem]) -> int:
        tables = []
        for dataset in datasets:
            schema = self._schema(dataset.dataset_id)
            self._make_dataset(schema)
            tables += [(schema, table.table_id) for table in self._tables(dataset.dataset_id, "TABLE")]
        self._each(self._clone_table, tables)
        return len(tables)

    def _clone_table(self, table: tuple[str, str]) -> None:
        relation = ".".join(table)
        clone = f"CREATE TABLE IF NOT EXISTS `{self._cloud.table(relation)}` CLONE `{self._production.table(relation)}`"
        self._service.query(clone, what=f"clone {relation} of production")

    def _make_dataset(self, schema: str) -> None:
        from google.cloud import bigquery

        made = bigquery.Dataset(f"{self._cloud.project}.{self._cloud.dataset(schema)}")
        made.location, made.labels = self._cloud.location, self._service.labels
        made.description = f"{_OF_BRANCH}{self._env.branch}"
        with explained(self._cloud, f"make the dataset {made.dataset_id}"):
            self._service.client.create_dataset(made, exists_ok=True, retry=self._service.busy)

    def _make_views(self, views: list[tuple[str, str]]) -> None:
        """One that reads another one is made after it: those that could not be made are tried again, as long as some can."""
        from google.cloud import bigquery

        service, waiting = self._service, views
        refused: BigQueryRefused | None = None
        while waiting:
            later = []
            for dataset, name in waiting:
                try:
                    with explained(self._cloud, f"make the view {dataset}.{name} for the branch"):
                        there = service.client.get_table(f"{self._production.project}.{dataset}.{name}", retry=service.busy)
                        made = bigquery.Table(self._cloud.table(f"{self._schema(dataset)}.{name}"))
                        made.view_query, made.view_use_legacy_sql = self._moved(there.view_query), False
                        made.description = there.description
                        service.client.create_table(made, exists_ok=True, retry=service.busy)
                except BigQueryRefused as failed:
                    refused = failed
                    later.append((dataset, name))
            if len(later) == len(waiting):
                assert refused is not None
                raise refused
            waiting = later

    def _moved(self, sql: str) -> str:
        """A query that reads the branch's datasets where it names production's."""
        here, there = self._production.datasets, self._cloud.datasets

        def part(name: str) -> str:
            own = name.startswith(here) and not name.startswith(there)
            return f"{there}{name[len(here) :]}" if own else name

        def moved(name: str) -> str:
            plain = name.replace("`", "").replace(" ", "").split(".")
            if len(plain) < 2 or (plain[-2] == part(plain[-2]) and plain[0] == part(plain[0])):
                return name
            place = -2 if plain[-2] != part(plain[-2]) else 0
            plain[place] = part(plain[place])
            return ".".join(f"`{each}`" for each in plain)

        return TOKEN.sub(lambda m: moved(m.group()) if m.lastgroup == "name" else m.group(), sql)

    def _production_datasets(self, schemas: Collection[str] = ()) -> list[DatasetListItem]:
        found, own = [], _owner(self._production)
        for dataset in _datasets(self._service, self._production.datasets):
            schema = self._schema(dataset.dataset_id)
            if schema.startswith(_NOT_CLONED) or schema == "versions" or (schemas and schema not in schemas):
                continue
            if dataset.labels.get("caudal", own) == own:  # Else of another company, whose name begins with this one's.
                found.append(dataset)
        return found

    def _tables(self, dataset: str, kind: str = "") -> list[TableListItem]:
        with explained(self._cloud, f"list the tables of {dataset}"):
            found = list(self._service.client.list_tables(f"{self._cloud.project}.{dataset}", retry=self._service.busy))
        return [table for table in found if table.table_type == kind or not kind]

    def _schema(self, dataset: str) -> str:
        return dataset.removeprefix(self._production.datasets)

    @staticmethod
    def _each(do: Callable[[T], object], things: Iterable[T]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(do, things))


def branches_with_datasets(cloud: GoogleCloud) -> dict[str, str]:
    """The branches that have datasets beside those of production, by their short names, as git calls them if that is known."""
    service, found = BigQuery(cloud), {}
    begin = f"{cloud.datasets}{BRANCH}"
    for dataset in _datasets(service, begin):
        short = dataset.dataset_id.removeprefix(begin).partition("__")[0]
        if found.get(short, short) == short:
            with explained(cloud, f"look at the dataset {dataset.dataset_id}"):
                told = service.client.get_dataset(dataset.reference, retry=service.busy).description or ""
            found[short] = told.removeprefix(_OF_BRANCH) if told.startswith(_OF_BRANCH) else short
    return found


def _datasets(service: BigQuery, begin: str) -> Iterable[DatasetListItem]:
    with explained(service.cloud, f"list the datasets of {service.cloud.project}"):
        listed = list(service.client.list_datasets(retry=service.busy))
    return (dataset for dataset in listed if dataset.dataset_id.startswith(begin))


def _owner(cloud: GoogleCloud) -> str:
    return BigQuery(cloud).labels["caudal"]
