"""Datasets declared in YAML, as assets of the lake."""

import datetime as dt
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg

from caudal.contracts import read_contract
from caudal.lake.dataset import CsvOptions, Dataset, Format
from caudal.lake.excel_options import ExcelBlock, ExcelOptions
from caudal.lake.options import Compression, FixedWidthOptions, JsonOptions, Limits, XmlOptions

# The setting `json` is called as its format is; pydantic has a method of that name, deprecated, which nobody calls.
warnings.filterwarnings("ignore", message='Field name "json"', category=UserWarning)

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
    escape: str = ""
    comment: str = ""
    skip_lines: int = 0
    skip_footer: int = 0


class JsonSettings(dg.Model, dg.Resolvable):
    """Where the array of rows stands in a JSON document."""

    records: str = ""


class XmlSettings(dg.Model, dg.Resolvable):
    """Which elements of an XML document are rows."""

    record: str = ""
    namespaces: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    null_markers: Sequence[str] = ()


class FixedWidthSettings(dg.Model, dg.Resolvable):
    """Where the values stand on a line: name -> [first place from 1, width]."""

    columns: dict[str, list[int]] = {}  # noqa: RUF012 - pydantic copies it
    widths: Sequence[int] = ()
    length: int | None = None
    encoding: str = "utf-8"
    skip_lines: int = 0
    skip_footer: int = 0
    null_markers: Sequence[str] = ()


class LimitSettings(dg.Model, dg.Resolvable):
    """What one lake file may cost. See `caudal.lake.options.Limits`."""

    unpacked_bytes: int = Limits.unpacked_bytes
    ratio: float = Limits.ratio
    ratio_from_bytes: int = Limits.ratio_from_bytes
    members: int = Limits.members
    free_disk_bytes: int = Limits.free_disk_bytes
    depth: int = Limits.depth


class ExcelBlockSettings(dg.Model, dg.Resolvable):
    """A table among others in a sheet."""

    range: str
    title_cell_as: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it


class ExcelSettings(dg.Model, dg.Resolvable):
    """Where the tables stand in the workbook. See `caudal.lake.excel_options.ExcelOptions`."""

    sheet: str | None = None
    sheets: str | Sequence[str] = ()
    other_sheets: Literal["ignore", "refuse"] = "ignore"
    header_row: int = 1
    header_rows: int = 1
    header_separator: str = " "
    ends_at: str | Sequence[str] = ()
    blocks: Sequence[ExcelBlockSettings] = ()
    block_starts: str | None = None
    sheet_name_as: str | None = None
    title_cell_as: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    null_markers: Sequence[str] = ()


class DatasetSettings(dg.Model, dg.Resolvable):
    """One dataset: which files, in which format, under which contract."""

    name: str
    format: Format
    contract: ResolvedPath
    path: str = "*"
    partition_by: Literal["none", "file", "day", "hour"] = "none"
    start: str | None = None
    end: str | None = None
    on_delete: Literal["keep", "remove"] = "keep"
    max_rejected_share: float = 0.0
    copies: Literal["load", "refuse"] = "load"
    workers: int = 1
    encoding: str = "utf-8"
    csv: CsvSettings = CsvSettings()
    excel: ExcelSettings = ExcelSettings()
    json: JsonSettings = JsonSettings()  # ty: ignore[incompatible-attribute-override]
    xml: XmlSettings = XmlSettings()
    fixed_width: FixedWidthSettings = FixedWidthSettings()
    compression: Compression = "auto"
    members: str = "*"
    limits: LimitSettings = LimitSettings()
    order_by: str | None = None
    duplicates: Literal["row", "key", "off"] = "row"
    expect_duplicates: bool = False
    rejects_retention_days: int | None = None
    timeout_s: float | None = None


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
            copies=settings.copies,
            workers=settings.workers,
            encoding=settings.encoding,
            csv=CsvOptions(**_options(settings.csv)),
            excel=_excel(settings.excel),
            json=JsonOptions(**_options(settings.json)),
            xml=XmlOptions(**_options(settings.xml)),
            fixed_width=FixedWidthOptions(**_options(settings.fixed_width)),
            compression=settings.compression,
            members=settings.members,
            limits=Limits(**_options(settings.limits)),
            order_by=settings.order_by,
            duplicates=settings.duplicates,
            expect_duplicates=settings.expect_duplicates,
            rejects_retention_days=settings.rejects_retention_days,
            timeout_s=settings.timeout_s,
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


def _excel(settings: ExcelSettings) -> ExcelOptions:
    given: dict[str, Any] = _options(settings)
    for name in ("sheets", "ends_at"):
        given[name] = (given[name],) if isinstance(given[name], str) else given[name]
    given["blocks"] = tuple(ExcelBlock(**_options(block)) for block in settings.blocks)
    return ExcelOptions(**given)


def _options(settings: dg.Model) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.model_dump().items()}
