"""`caudal plan`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from caudal.environment import Environment
from caudal.runtime.options import Company

if TYPE_CHECKING:
    from caudal.runtime.plan.money import Costs
    from caudal.runtime.plan.plan import Plan

NOTHING_BREAKS, BREAKS, CANNOT_PLAN = 0, 1, 2


class Format(StrEnum):
    """How a plan is printed."""

    text = "text"
    markdown = "markdown"
    json = "json"


class Data(StrEnum):
    """From which rows the candidate of a plan is built."""

    none = "none"
    sample = "sample"
    whole = "whole"


def plan(
    against: Annotated[
        str | None,
        typer.Option("--against", help="A commit, such as origin/main, or a snapshot's .json. Default: what is deployed."),
    ] = None,
    against_published: Annotated[
        bool, typer.Option("--against-published", help="Compare with what is deployed, which is the default.")
    ] = False,
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.text,
    data: Annotated[
        Data, typer.Option("--data", help="Build what changed where nobody looks, and count the rows that would change.")
    ] = Data.none,
    cost: Annotated[
        bool, typer.Option("--cost", help="What making anew would be billed for in BigQuery, by dry runs, which are free.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            help="With --cost: these assets, compared with nothing. A name, with + for all downstream, or as Dagster selects.",
        ),
    ] = None,
    allow_breaking: Annotated[bool, typer.Option("--allow-breaking", help="Exit with 0 whatever breaks.")] = False,
    company: Company = None,
) -> None:
    """What would change if the definitions of this checkout were deployed. Runs and publishes nothing.

    Exit code: 0 nothing breaks, 1 something does, 2 cannot plan.
    """
    if against is not None and against_published:
        _refuse("--against and --against-published: give one of them")
    env = Environment.current(company)
    if select:
        if against is not None or data is not Data.none:
            _refuse("--select shows the costs of assets and compares nothing: leave out --against and --data")
        with _said_beside():
            costs = _costs_of_selection(env, select)
        _print_costs(costs, output)
        raise typer.Exit(NOTHING_BREAKS)
    with _said_beside():
        found = _plan(env, against, data)
        costs = _costs_of_plan(env, found) if cost else None
    match output:
        case Format.text:
            from rich.console import Console

            from caudal.runtime.plan.text import show

            show(found, Console())
            if costs is not None:
                _print_costs(costs, output)
        case Format.markdown:
            from caudal.runtime.plan.markdown import to_markdown

            sys.stdout.write(to_markdown(found))
            if costs is not None:
                _print_costs(costs, output)
        case Format.json:
            from caudal.runtime.plan.document import to_json

            typer.echo(to_json(found, costs))
    raise typer.Exit(BREAKS if found.breaking and not allow_breaking else NOTHING_BREAKS)


def _plan(env: Environment, against: str | None, data: Data) -> Plan:
    from caudal.runtime.plan import costs
    from caudal.runtime.plan.against import Commit, NothingToCompareWith, UnreadableSnapshot, resolve
    from caudal.runtime.plan.plan import Plan
    from caudal.runtime.plan.rows import NoRows, with_rows
    from caudal.runtime.plan.taking import take

    try:
        with_whom = resolve(env, against)
    except (NothingToCompareWith, UnreadableSnapshot) as problem:
        _refuse(str(problem))
    try:
        try:
            taken = take(env, "the working tree")
        except Exception as problem:  # noqa: BLE001 - definitions may raise anything; the plan says so and ends
            _refuse(f"the definitions of the working tree cannot be loaded: {type(problem).__name__}: {problem}")
        known = with_whom.known() if isinstance(with_whom, Commit) else with_whom
        found = Plan.between(known.snapshot, taken.snapshot)
        found = replace(found, costs=costs.of(env, found.refreshed))
        return with_rows(env, found, taken, known, data.value) if data is not Data.none else found
    except (NothingToCompareWith, UnreadableSnapshot, NoRows) as problem:
        _refuse(str(problem))
    finally:
        if isinstance(with_whom, Commit):
            with_whom.end()


def _costs_of_plan(env: Environment, found: Plan) -> Costs:
    from caudal.runtime.plan.pricing import in_order

    return _priced(env, lambda: in_order(env, found.refreshed))


def _costs_of_selection(env: Environment, select: Sequence[str]) -> Costs:
    from caudal.runtime.plan.pricing import chosen

    return _priced(env, lambda: chosen(env, select))


def _priced(env: Environment, keys: Callable[[], Sequence[str]]) -> Costs:
    from caudal.runtime.plan.pricing import NoSuchAssets, costs_of
    from caudal.runtime.plan.taking import take
    from caudal.warehouse.bigquery.explained import BigQueryError

    try:
        taken = take(env, "the working tree")
    except Exception as problem:  # noqa: BLE001 - definitions may raise anything; the plan says so and ends
        _refuse(f"the definitions of the working tree cannot be loaded: {type(problem).__name__}: {problem}")
    try:
        return costs_of(env, taken, keys())
    except (NoSuchAssets, BigQueryError) as problem:
        _refuse(str(problem))


def _print_costs(costs: Costs, output: Format) -> None:
    from caudal.runtime.plan import money
    from caudal.runtime.report import console

    match output:
        case Format.text:
            money.show(costs, console())
        case Format.markdown:
            sys.stdout.write(money.to_markdown(costs))
        case Format.json:
            typer.echo(json.dumps(money.document(costs), indent=2, ensure_ascii=False))


@contextmanager
def _said_beside() -> Generator[None]:
    """What dbt and others print meanwhile goes to standard error: standard output is the plan's."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _refuse(problem: str) -> NoReturn:
    typer.echo(f"caudal plan: {problem}", err=True)
    raise typer.Exit(CANNOT_PLAN)
