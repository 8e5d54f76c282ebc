"""An erasure that is killed goes on where it was, wherever that is."""

import pickle
import signal
import subprocess
import sys

import pytest

from tests.runtime.erasure.conftest import holding

#: Applies what is in the file, and dies right after the named function has done its work.
APPLY = """
import os, pickle, pkgutil, signal, sys
from caudal.runtime.erasure import applying
env, plan, where = pickle.load(open(sys.argv[1], "rb"))
owner, name = pkgutil.resolve_name(sys.argv[2]), sys.argv[3]
before = getattr(owner, name)
def and_die(*args, **named):
    before(*args, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, and_die)
applying.apply(env, plan, where, "bob", lambda datasets: [])
"""


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("caudal.runtime.erasure.applying", "suppress"),
        ("caudal.warehouse.local_raw_tables:LocalRawTables", "remove_rows"),
        ("caudal.runtime.erasure.lake_files", "take_out_packed"),
        ("caudal.store.local:LocalStore", "exchange"),
        ("caudal.warehouse.local_candidate:LocalCandidate", "rewrite"),
        ("caudal.warehouse.local_candidate:LocalCandidate", "publish"),
        ("caudal.warehouse.versions", "remove_before"),
    ],
)
def test_whoever_goes_on_ends_it(everywhere, tmp_path, owner, name):
    plan = everywhere.plan(rewrite_lake=True)
    given = tmp_path / "given.pickle"
    given.write_bytes(pickle.dumps((everywhere.env, plan, everywhere.where)))
    command = [sys.executable, "-c", APPLY, str(given), owner, name]
    died = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    journal = everywhere.apply(plan)
    assert journal.is_done
    assert journal.left == []
    assert holding(everywhere.env.data) == []
    totals = everywhere.ledger.totals("stall/sales")
    assert (totals.rows_read, totals.rows_loaded, totals.rows_rejected, totals.rows_erased) == (7, 2, 1, 4)
