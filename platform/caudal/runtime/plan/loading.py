"""A process that loads the definitions that its environment points to, and writes their snapshot into a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from caudal.environment import Environment
from caudal.runtime.plan.deployed import record
from caudal.runtime.plan.taking import take


def main(company: str, folder: str) -> None:
    """Write the snapshot of `company` into `folder`."""
    env = Environment.current(company)
    record(env, take(env, ""), Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
