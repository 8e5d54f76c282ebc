"""`caudal erasure`."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from caudal.environment import Environment
from caudal.runtime.options import Company

if TYPE_CHECKING:
    from caudal.runtime.erasure.subjects import Where

erasure = typer.Typer(
    help="Erase a person's rows everywhere (GDPR, article 17), by a plan that somebody else has read.", no_args_is_help=True
)

Id = Annotated[str, typer.Argument(metavar="ID", help="Of the plan, or the beginning of it.")]


@erasure.command("plan")
def make_plan(
    person: Annotated[
        str,
        typer.Argument(
            metavar="KEY[=VALUE]",
            help="Such as household=1234. With KEY alone the value is asked for, or read from standard input.",
        ),
    ],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Such as the ticket; not who it is.")] = "",
    rewrite_lake: Annotated[
        bool, typer.Option("--rewrite-lake", help="Also write lake files anew without the rows, where that can be done.")
    ] = False,
    company: Company = None,
) -> None:
    """Look for a person everywhere. Changes nothing; the plan is kept under an id, without the value."""
    from caudal.runtime.erasure.finding import find
    from caudal.runtime.erasure.plan import save
    from caudal.runtime.erasure.report import told
    from caudal.runtime.erasure.subjects import UnknownSubject

    env = Environment.current(company)
    key, given, value = person.partition("=")
    if not given:
        value = getpass.getpass(f"{key}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not value:
        _refuse("there is no value; expected KEY=VALUE, such as household=1234")
    try:
        places = _where(env, key)
    except UnknownSubject as unknown:
        _refuse(str(unknown))
    plan = find(env, places, value, reason=reason, asked_by=getpass.getuser(), rewrite_lake=rewrite_lake)
    save(env, plan)
    typer.echo(told(env, plan, None))
    typer.echo(f"to apply it: caudal erasure apply {plan.id} --reviewed-by NAME")


@erasure.command()
def apply(
    plan_id: Id,
    reviewed_by: Annotated[str, typer.Option("--reviewed-by", help="Who has read the plan: not who made it.")],
    company: Company = None,
) -> None:
    """Do what a reviewed plan says. One that was killed goes on where it was. Exit code 1 if some is left."""
    from caudal.runtime.erasure import applying
    from caudal.runtime.erasure.plan import NoSuchErasure, read
    from caudal.runtime.erasure.report import told, write
    from caudal.runtime.erasure.telling import tell

    env = Environment.current(company)
    try:
        plan = read(env, plan_id)
        journal = applying.apply(
            env,
            plan,
            _where(env, plan.key),
            reviewed_by,
            lambda datasets: tell(env, plan, applying.read_journal(env, plan.id), datasets),
        )
    except (NoSuchErasure, applying.Refused) as refused:
        _refuse(str(refused))
    path = write(env, plan, journal)
    typer.echo(told(env, plan, journal))
    typer.echo(f"kept as {path}")
    raise typer.Exit(1 if journal.left or journal.stays else 0)


@erasure.command()
def show(
    plan_id: Annotated[str | None, typer.Argument(metavar="ID", help="Of a plan; without one, all are listed.")] = None,
    company: Company = None,
) -> None:
    """Show a plan and what was done, or list all."""
    from caudal.runtime.erasure.applying import read_journal
    from caudal.runtime.erasure.plan import NoSuchErasure, ids, read
    from caudal.runtime.erasure.report import told

    env = Environment.current(company)
    if plan_id is None:
        for each in ids(env):
            plan, journal = read(env, each), read_journal(env, each)
            state = "planned" if journal is None else "done" if journal.is_done else "begun, not finished"
            typer.echo(f"{each}: {state}, {plan.rows:,} rows {plan.reason}".rstrip())
        return
    try:
        plan = read(env, plan_id)
    except NoSuchErasure as unknown:
        _refuse(str(unknown))
    typer.echo(told(env, plan, read_journal(env, plan.id)))


def _where(env: Environment, key: str) -> Where:
    from caudal.runtime.erasure.subjects import datasets_of, declared_columns, where

    datasets = datasets_of(env)
    where(env, key, datasets, {})  # An unknown key is told before lineage is read.
    return where(env, key, datasets, declared_columns(env, key, datasets))


def _refuse(problem: str) -> NoReturn:
    typer.echo(f"caudal erasure: {problem}", err=True)
    raise typer.Exit(2)
