"""Datasets declared in YAML, as assets of the lake."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg

from caudal.contracts import read_contract
from caudal.lake.dataset import CsvOptions, Dataset, ExcelOptions

ResolvedPath = Annotated[
    Path, dg.Resolver(lambda context, value: context.resolve_source_relative_path(value), model_field_type=str)
]


class CsvSettings(dg.Model, dg.Resolvable):
    """How delimited text is written."""

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool = True
    null_markers: Sequence[str] = ()


class ExcelSettings(dg.Model, dg.Resolvable):
    """Where the table stands in the workbook."""

    sheet: str | None = None
    header_row: int = 1
    null_markers: Sequence[str] = ()


class DatasetSettings(dg.Model, dg.Resolvable):
    """One dataset: which files, in which format, under which contract."""

    name: str
    format: Literal["csv", "jsonl", "parquet", "excel"]
    contract: ResolvedPath
    path: str = "*"
    partition_by: Literal["none", "file", "day", "hour"] = "none"
    start: str | None = None
    end: str | None = None
    on_delete: Literal["keep", "remove"] = "keep"
    max_rejected_share: float = 0.0
    encoding: str = "utf-8"
    csv: CsvSettings = CsvSettings()
    excel: ExcelSettings = ExcelSettings()


class Datasets(dg.Component, dg.Model, dg.Resolvable):
    """The datasets of one source, each a folder `<source>/<name>` in the lake.

    A dataset is an asset of the lake, which the sensor observes, and a raw table of the warehouse, which is loaded from it.
    """

    source: str
    owners: Sequence[str] = ()
    datasets: Sequence[DatasetSettings]

    def declared(self) -> list[Dataset]:
        """The datasets with their contracts.

        Raises:
            caudal.declaration.DeclarationError: a contract is wrong; with file and line.
            ValueError: a setting contradicts another.

        """
        return [self._dataset(settings) for settings in self.datasets]

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """The declarations are checked here; their assets are made where all datasets of the company are known."""
        self.declared()
        return dg.Definitions()

    def _dataset(self, settings: DatasetSettings) -> Dataset:
        contract = read_contract(settings.contract)
        owners = tuple(self.owners) or ((f"team:{contract.owner}",) if contract.owner else ())
        return Dataset(
            source=self.source,
            name=settings.name,
            format=settings.format,
            contract=contract,
            path=settings.path,
            partition_by=settings.partition_by,
            start=dt.datetime.fromisoformat(settings.start) if settings.start else None,
            end=dt.datetime.fromisoformat(settings.end) if settings.end else None,
            on_delete=settings.on_delete,
            max_rejected_share=settings.max_rejected_share,
            encoding=settings.encoding,
            csv=CsvOptions(**_options(settings.csv)),
            excel=ExcelOptions(**_options(settings.excel)),
            owners=owners,
        )


def declared_datasets(tree: dg.ComponentTree) -> tuple[Dataset, ...]:
    """Every dataset that the company declares, with its contract."""
    return tuple(dataset for component in tree.get_all_components(Datasets) for dataset in component.declared())


def lake_key(dataset: Dataset) -> dg.AssetKey:
    """`lake/<source>/<dataset>`."""
    return dg.AssetKey(["lake", dataset.source, dataset.name])


def partitions_of(dataset: Dataset) -> dg.PartitionsDefinition | None:
    """How Dagster divides the dataset's lake and raw assets."""
    if dataset.partition_by == "file":
        return dg.DynamicPartitionsDefinition(name=f"files/{dataset.id}")
    if dataset.start is None:
        return None
    match dataset.partition_by:
        case "none":
            return None
        case "day":
            return dg.DailyPartitionsDefinition(start_date=dataset.start, end_date=dataset.end)
        case "hour":
            return dg.HourlyPartitionsDefinition(start_date=dataset.start, end_date=dataset.end)


def lake_spec(dataset: Dataset) -> dg.AssetSpec:
    """The dataset as an asset of the lake, for files that others drop there."""
    return dg.AssetSpec(
        lake_key(dataset),
        description=f"Files `{dataset.prefix}/{dataset.path}` in the lake.\n\n{dataset.contract.description}",
        group_name="lake",
        kinds={"file", dataset.format},
        owners=list(dataset.owners),
        tags={"source": dataset.source},
        partitions_def=partitions_of(dataset),
        metadata={"contract": dataset.contract.path.name, "contract version": dataset.contract.version},
    )


def _options(settings: dg.Model) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.model_dump().items()}
