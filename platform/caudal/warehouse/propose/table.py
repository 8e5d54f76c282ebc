"""The sample as a table of the database, read by the lake's own readers under a contract in which every column is text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.contracts import Column, Contract
from caudal.lake.readers.formats import read_lake_file
from caudal.lake.readers.rows import PLACE_COLUMNS, LakeFile, Rows, SourceColumn, Unreadable
from caudal.warehouse.native_casting import shown
from caudal.warehouse.propose.candidates import Candidate, candidate

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from caudal.lake.dataset import Dataset

#: The table.
RELATION = "caudal_sample"

#: Formats whose columns no header names: each row says which it has.
KEYED = ("jsonl", "json", "xml")

#: Formats that give their columns a type.
TYPED = ("parquet", "avro", "orc")

#: A column that no file has. Rows are then read one by one, whatever keys they have.
_NOBODY_HAS = "\x1fcaudal"

_SHOWN_PROBLEMS = 3


class NoProposal(ValueError):
    """Nothing can be proposed for the files. The message says why and what to do."""


@dataclass
class Sample:
    """What the files hold.

    Attributes:
        columns: as the files name them; the column n of the table is `c<n>`, text unless the format has types.
        files: that could be read.
        unreadable: files or members that could not, each with the reason.
        rows: in the table.
        refused: rows that the reader refuses whatever the contract.
        problems: the first of those: file, row, reason.
        varying: some file or row has a column more or less than others.
        cut: files of which only the first rows are in the table.
        typed: columns as the format types them, where it does and all files agree.

    """

    columns: tuple[SourceColumn, ...]
    files: list[LakeFile] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    rows: int = 0
    refused: int = 0
    problems: list[tuple[str, int, str]] = field(default_factory=list)
    varying: bool = False
    cut: list[str] = field(default_factory=list)
    typed: dict[str, Column] = field(default_factory=dict)


def read_sample(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, files: Sequence[LakeFile], rows_at_most: int
) -> Sample:
    """Fill the table `RELATION` from the files.

    Args:
        dataset: how they are read; its contract is not used.
        rows_at_most: of each file.

    Raises:
        NoProposal: none of them can be read.

    """
    declared, unreadable = _names(dataset, files, rows_at_most)
    names = list(declared)
    readable = [f for f in files if f.name not in {name for name, _ in unreadable}]
    if not names or not readable:
        raise NoProposal("\n".join(reason for _, reason in unreadable) or "there is no column in the files")
    sources = _sources(dataset, readable, names)
    known = {s.name for s in sources if s.kind != "text"} if dataset.format in TYPED else set()
    sample = Sample(sources, unreadable=unreadable, typed={n: c for n, c in declared.items() if n in known})
    fields = ", ".join(f"c{n} {_duckdb_type(connection, s)}" for n, s in enumerate(sources))
    connection.execute(f"CREATE OR REPLACE TABLE {RELATION} (_file INTEGER, _row BIGINT, {fields})")
    strict = _with(dataset, text_contract(names, drift="freeze"))
    loose = _with(dataset, text_contract(names, drift="ignore"))
    for file in readable:
        before = sample.refused
        _insert(connection, loose, file, sample, rows_at_most)
        sample.varying = sample.varying or _drifts(strict, file, rows_at_most, sample.refused - before)
    return sample


def text_contract(names: Sequence[str], drift: str = "ignore", logical_type: str = "string") -> Contract:
    """A contract of the given columns."""
    columns = tuple(Column(n, logical_type) for n in names)  # ty: ignore[invalid-argument-type]
    return Contract(Path("sample"), "sample", "sample", "1", "", None, columns, drift)  # ty: ignore[invalid-argument-type]


def _with(dataset: Dataset, contract: Contract) -> Dataset:
    return replace(dataset, contract=contract)


def _names(dataset: Dataset, files: Sequence[LakeFile], rows_at_most: int) -> tuple[dict[str, Column], list[tuple[str, str]]]:
    """The columns of all files, in the order in which they are met; and the files that cannot be read."""
    keyed = dataset.format in KEYED
    nothing = text_contract([_NOBODY_HAS], logical_type="object") if keyed else dataset.contract
    names: dict[str, Column] = {c.name: c for c in dataset.contract.columns}
    unreadable = []
    for file in files:
        try:
            rows = read_lake_file(_with(dataset, nothing), file)
            if keyed:
                _exhaust(rows, rows_at_most)
        except Unreadable as refused:
            unreadable.append((file.name, str(refused)))
            continue
        for column in rows.undeclared:
            names.setdefault(column.name, column)
    return names, unreadable


def _sources(dataset: Dataset, files: Sequence[LakeFile], names: Sequence[str]) -> tuple[SourceColumn, ...]:
    """The columns as the format types them; text where files differ in the type."""
    import pyarrow as pa

    found: dict[str, SourceColumn] = {}
    for file in files if dataset.format in TYPED else files[:1]:
        for column in read_lake_file(_with(dataset, text_contract(names)), file).columns:
            same = found.setdefault(column.name, column) == column
            if not same:
                found[column.name] = SourceColumn(column.name, "text", pa.string())
    return tuple(found.get(n, SourceColumn(n, "text", pa.string())) for n in names)


def _exhaust(rows: Rows, rows_at_most: int) -> None:
    read = 0
    for batch in rows.batches():
        read += batch.num_rows
        if read >= rows_at_most:
            return


def _drifts(strict: Dataset, file: LakeFile, rows_at_most: int, refused_anyway: int) -> bool:
    """Whether a file, or a row of it, is refused for a column more or less."""
    read = refused = 0
    try:
        rows = read_lake_file(strict, file)
        for batch in rows.batches() if strict.format in KEYED else ():
            read += batch.num_rows
            refused += len(batch["_problem"]) - batch["_problem"].null_count
            if read >= rows_at_most or refused > refused_anyway:
                break
    except Unreadable:
        return True
    return refused > refused_anyway


def _insert(connection: duckdb.DuckDBPyConnection, dataset: Dataset, file: LakeFile, sample: Sample, rows_at_most: int) -> None:
    import duckdb
    import pyarrow as pa

    rows = read_lake_file(dataset, file)
    stopped: list[Unreadable] = []
    own = [pa.field(f"f{n}", c.arrow_type) for n, c in enumerate(rows.columns)]
    schema = pa.schema([*own, ("_row", pa.int64()), *((n, pa.string()) for n in PLACE_COLUMNS[1:])])
    places = {c.name: n for n, c in enumerate(sample.columns)}
    taken = [(places[c.name], number, c) for number, c in enumerate(rows.columns)]
    values = "".join(f", {_as(c, f'f{number}', sample.columns[place])}" for place, number, c in taken)
    columns = "".join(f", c{place}" for place, _, _ in taken)
    batches = _batches(rows, schema, file, sample, rows_at_most, stopped)
    connection.register("caudal_file", pa.RecordBatchReader.from_batches(schema, batches))
    try:
        connection.execute(
            f"INSERT INTO {RELATION} (_file, _row{columns}) SELECT {len(sample.files)}, _row{values} FROM caudal_file"
        )
    except duckdb.Error:
        if not stopped:
            raise
        sample.unreadable.append((file.name, str(stopped[0])))
        return
    finally:
        connection.unregister("caudal_file")
    sample.files.append(file)
    count = connection.execute(f"SELECT count(*) FROM {RELATION}").fetchone()
    sample.rows = count[0] if count else 0


def _batches(
    rows: Rows, schema: pa.Schema, file: LakeFile, sample: Sample, rows_at_most: int, stopped: list[Unreadable]
) -> Iterator[pa.RecordBatch]:
    """The rows that the reader does not refuse; those that it does are counted."""
    import pyarrow as pa
    from pyarrow import compute

    read = 0
    try:
        for batch in rows.batches():
            given = pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            if read + given.num_rows > rows_at_most:
                given = given.slice(0, rows_at_most - read)
                sample.cut.append(file.name)
            read += given.num_rows
            problems = given["_problem"]
            if problems.null_count < len(problems):
                sample.refused += len(problems) - problems.null_count
                found = zip(given["_row"].to_pylist(), problems.to_pylist(), strict=True)
                told = [(file.name, row, reason) for row, reason in found if reason is not None]
                sample.problems += told[: _SHOWN_PROBLEMS - len(sample.problems)]
                given = given.filter(compute.call_function("is_null", [problems]))
            yield given
            if file.name in sample.cut:
                return
    except Unreadable as refused:
        stopped.append(refused)
        raise


def _as(found: SourceColumn, name: str, wanted: SourceColumn) -> str:
    """SQL of a value, as text where files have it in different types."""
    return name if found == wanted else shown(found, name)


def _duckdb_type(connection: duckdb.DuckDBPyConnection, source: SourceColumn) -> str:
    import pyarrow as pa

    empty = pa.table({"v": pa.array([], source.arrow_type)})
    connection.register("caudal_empty", empty)
    try:
        described = connection.execute("DESCRIBE SELECT v FROM caudal_empty").fetchone()
    finally:
        connection.unregister("caudal_empty")
    assert described is not None
    return described[1]


def native(source: SourceColumn) -> Candidate:
    """The declaration of a column that the format gives a type to."""
    import pyarrow as pa

    kind = source.kind.removesuffix("_ns")
    if kind == "decimal":
        return candidate("number", "number", physical=f"DECIMAL({source.arrow_type.precision},{source.arrow_type.scale})")
    if kind == "nested":
        is_object = pa.types.is_struct(source.arrow_type) or pa.types.is_map(source.arrow_type)
        return candidate("object", "object") if is_object else candidate("array", "array")
    if kind == "timestamptz":
        return candidate("timestamp", "timestamp", timezone=True)
    if kind in ("float", "double"):
        return candidate("number", "number", physical="DOUBLE")
    return candidate(kind, {"unsigned": "integer", "text": "string"}.get(kind, kind))
