"""What every room's tests start from: an environment in a temporary folder and a dataset under a small contract."""

from collections.abc import Callable
from pathlib import Path

import pytest

from caudal.contracts import read_contract
from caudal.environment import Environment
from caudal.lake.dataset import Dataset

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
