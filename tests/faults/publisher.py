"""A process to be killed: it builds, audits, publishes and rolls back, over and over.

A good version holds the same number in two tables and a view, once for each of 2,000 rows. Every third build is bad: its two tables
differ, which the audit finds.
"""

import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pyarrow as pa

from caudal.environment import Environment
from caudal.warehouse import versions
from caudal.warehouse.audits import Audit, AuditsFailed
from caudal.warehouse.candidate import open_candidate, publish_tables
from caudal.warehouse.rollback import rollback

ROWS = 2_000
AGREE = Audit(
    "agree",
    "marts.a",
    "SELECT n FROM marts.a EXCEPT SELECT n FROM marts.b UNION ALL SELECT n FROM marts.b EXCEPT SELECT n FROM marts.a",
)


def tables(a: int, b: int) -> dict[str, pa.Table]:
    return {f"marts.{name}": pa.table({"n": [n] * ROWS}) for name, n in (("a", a), ("b", b))}


def publish(env: Environment) -> None:
    number = 0
    while True:
        number += 1
        bad = number % 3 == 0
        try:
            publish_tables(env, tables(number, -1 if bad else number), [AGREE])
        except AuditsFailed:
            assert bad
        with open_candidate(env) as candidate:
            with candidate.connect() as connection:
                connection.execute("CREATE OR REPLACE VIEW marts.v AS SELECT a.n FROM marts.a AS a LIMIT 1")
            candidate.publish()
        if number == 1:
            print("ready", flush=True)
        if number % 2 == 0:
            oldest = versions.kept(env)[-3:][0]
            if oldest.record and {"marts.a", "marts.v"} <= oldest.record.relations.keys():
                rollback(env, None, oldest.name, "publisher")


def die_beside_a_rename(chance: random.Random) -> None:
    """Kill this process right before or after one of the calls by which what is on disk becomes visible, or goes."""

    def deadly(call):
        def wrapped(*arguments, **settings):
            before, after = (chance.random() < 0.04 for _ in range(2))
            if before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments, **settings)
            if after:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    for owner, name in ((Path, "replace"), (Path, "symlink_to"), (shutil, "rmtree"), (os, "fsync"), (Path, "unlink")):
        setattr(owner, name, deadly(getattr(owner, name)))


if __name__ == "__main__":
    data = Path(sys.argv[1])
    if len(sys.argv) > 2:
        die_beside_a_rename(random.Random(sys.argv[2]))
        print("ready", flush=True)
    versions.OPENING_GRACE_S = 20
    publish(Environment("local", "shop", data, data, kept_versions=3))
