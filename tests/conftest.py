"""What every room's tests start from: an environment in a temporary folder and a dataset under a small contract."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from caudal.contracts import Contract, read_contract
from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.warehouse.parts import Normalized

ROOT = Path(__file__).resolve().parents[1]

SALES_CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
schema:
  - name: sales
    description: Sales of a stall.
    properties:
      - {name: item, logicalType: string, required: true}
      - {name: units, logicalType: integer, logicalTypeOptions: {minimum: 0}}
      - {name: amount, logicalType: number, physicalType: "DECIMAL(10,2)"}
"""


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment("local", "shop", ROOT, tmp_path / "data")


@pytest.fixture
def declare(tmp_path: Path) -> Callable[..., Dataset]:
    """Declare the dataset `stall/sales` (CSV), with other settings where given."""

    def make(contract: str = SALES_CONTRACT, **settings: object) -> Dataset:
        path = tmp_path / "sales.odcs.yaml"
        path.write_text(contract)
        given = {"source": "stall", "name": "sales", "format": "csv", "path": "*.csv"} | settings
        return Dataset(contract=read_contract(path), **given)

    return make


@pytest.fixture
def drop(env: Environment) -> Callable[[str, str], Path]:
    """Write a text file into the lake, the way a careful partner does."""
    from caudal.store import write_atomically

    def write(path: str, text: str) -> Path:
        target = env.lake / path
        with write_atomically(target) as temporary:
            temporary.write_text(text)
        return target

    return write


@pytest.fixture
def contract_of(tmp_path: Path) -> Callable[..., Contract]:
    """A contract of the given columns, each as ODCS has it; a name alone is a string."""

    def make(*columns: dict[str, object] | str, drift: str = "freeze") -> Contract:
        properties = [{"name": c, "logicalType": "string"} if isinstance(c, str) else c for c in columns]
        document = {
            "apiVersion": "v3.1.0",
            "kind": "DataContract",
            "id": "t",
            "version": "1.0.0",
            "status": "active",
            "schema": [{"name": "t", "properties": properties}],
            "customProperties": [{"property": "driftPolicy", "value": drift}],
        }
        path = tmp_path / "t.odcs.yaml"
        path.write_text(json.dumps(document))
        return read_contract(path)

    return make


@dataclass(frozen=True)
class Taken:
    """One lake file, normalized: `rows` as tuples of the contract's columns, `places` their `_row`, `rejects` as
    (row, column, value, reason)."""

    result: Normalized
    rows: list[tuple]
    places: list[int]
    rejects: list[tuple]


@pytest.fixture
def take(env: Environment, tmp_path: Path) -> Iterator[Callable[..., Taken]]:
    """Normalize one lake file of the given content, `t/t/<name>`, and read what came of it. Raises `Unreadable`."""
    import pyarrow.parquet as pq

    from caudal.lake.readers.formats import read_lake_file
    from caudal.warehouse.engine import connect_memory
    from caudal.warehouse.parts import LakeFile, Unreadable, normalize

    def rows_read_twice(dataset: Dataset, file: Path) -> list[int]:
        """A reader gives the same rows each time. (It is read in this thread, which coverage sees.)"""
        rows = read_lake_file(dataset, LakeFile(f"t/t/{file.name}", "1", file))
        return [sum(batch.num_rows for batch in rows.batches()) for _ in range(2)]

    with connect_memory(env) as connection:

        def taken(contract: Contract, file_format: str, content: bytes | str | Path, **settings: object) -> Taken:
            dataset = Dataset("t", "t", file_format, contract, **settings)
            file = content if isinstance(content, Path) else tmp_path / f"lake-file.{file_format}"
            if isinstance(content, str | bytes):
                file.write_bytes(content.encode() if isinstance(content, str) else content)
            given = {"path": f"t/t/{file.name}", "version": "1", "loaded_at": datetime(2020, 1, 1, tzinfo=UTC)}
            try:
                result = normalize(connection, dataset, file, into=tmp_path / "parts", **given)
            except Unreadable:
                with suppress(Unreadable):
                    rows_read_twice(dataset, file)
                raise
            assert rows_read_twice(dataset, file) == [result.files[0].rows_read] * 2
            part = pq.read_table(result.part) if result.part else None
            if part is not None:
                assert part.schema.equals(contract.arrow_schema())
            rows = list(zip(*(part[c].to_pylist() for c in contract.column_names), strict=True)) if part is not None else []
            rejects = pq.read_table(result.rejects).to_pylist() if result.rejects else []
            return Taken(
                result,
                rows,
                part["_row"].to_pylist() if part is not None else [],
                [(r["_row"], r["column"], r["value"], r["reason"]) for r in rejects],
            )

        yield taken
