"""`python -m caudal.runtime.access serve | audit | matrix | check`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(argv: Sequence[str]) -> int:
    """Do what the first argument says; the exit status."""
    if argv[:1] == ["serve"]:
        from caudal.runtime.access.webserver import main as serve

        return serve(argv[1:])
    parser = argparse.ArgumentParser(prog="python -m caudal.runtime.access", description="Roles in Dagster's webserver.")
    verbs = parser.add_subparsers(required=True, dest="verb")
    verbs.add_parser("serve", help="serve Dagster's UI; see serve --help")
    verbs.add_parser("matrix", help="print who may do what, as Markdown")
    audit = verbs.add_parser("audit", help="print who changed what, the newest last")
    audit.add_argument("--last", type=int, default=50, help="so many lines")
    audit.add_argument("--who", help="only of this person")
    audit.add_argument("--refused", action="store_true", help="only what was refused")
    audit.add_argument("--json", action="store_true", help="everything that is known, a line of JSON each")
    check = verbs.add_parser("check", help="read an access.yaml and say what it means")
    check.add_argument("path", type=Path)
    given = parser.parse_args(argv)
    return {"matrix": _matrix, "audit": _audit, "check": _check}[given.verb](given)


def _matrix(_given: argparse.Namespace) -> int:
    from caudal.runtime.access.roles import matrix

    sys.stdout.write(matrix())
    return 0


def _audit(given: argparse.Namespace) -> int:
    from caudal.environment import Environment
    from caudal.runtime.access.audit import Audit, audit_folder

    kept = Audit(audit_folder(Environment.current().logs)).records()
    chosen = (
        record
        for record in kept
        if (given.who is None or record.get("who") == given.who) and (not given.refused or record.get("outcome") == "refused")
    )
    for record in deque(chosen, maxlen=given.last):
        sys.stdout.write((json.dumps(record) if given.json else _line(record)) + "\n")
    return 0


def _line(record: dict[str, Any]) -> str:
    about = " ".join(record.get("target", ())) or record.get("run", "")
    why = record.get("reason") or record.get("error") or record.get("result") or ""
    facts = (record.get("at"), record.get("who"), record.get("role", ""), record.get("what"), record.get("outcome"), about, why)
    return "  ".join(str(fact) for fact in facts if fact)


def _check(given: argparse.Namespace) -> int:
    from caudal.declaration import DeclarationError
    from caudal.runtime.access.settings import read_settings

    try:
        found = read_settings(given.path)
    except DeclarationError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    for role, members in found.roles.items():
        sys.stdout.write(f"{role.value}: {', '.join((*members.people, *(f'group {group}' for group in members.groups)))}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
