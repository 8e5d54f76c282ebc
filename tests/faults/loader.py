"""A loader to be killed: looks at the lake and loads, over and over, until it is ended."""

import sys
from pathlib import Path

from caudal.contracts import read_contract
from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.lake.watch import look
from caudal.warehouse.loading import load_pending


def main(data: Path, contract: Path, once: bool) -> None:
    env = Environment("local", "shop", data, data)
    dataset = Dataset("stall", "sales", "csv", read_contract(contract), path="*.csv", on_delete="remove")
    print("ready", flush=True)
    while True:
        ledger = Ledger(env.state / "ledger.db")
        look(env, ledger, [dataset])
        load_pending(env, dataset, "run", batch_files=3)
        if once:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), once=len(sys.argv) > 3)
