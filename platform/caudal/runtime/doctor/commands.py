"""`caudal doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from caudal.environment import Environment
from caudal.runtime.options import Company


def doctor(
    company: Company = None,
    as_document: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Look whether all is there that this environment needs; what is missing is told with what grants it. Exit 1 if so."""
    from caudal.runtime.doctor.checks import as_json, healthy, told
    from caudal.runtime.doctor.examining import examined

    checks = []
    for check in examined(Environment.current(company)):
        checks.append(check)
        if not as_document:
            typer.echo(told(check))
    if as_document:
        typer.echo(json.dumps(as_json(checks), indent=2))
    raise typer.Exit(0 if healthy(checks) else 1)
