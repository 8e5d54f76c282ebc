"""`caudal lake`: one verb a line, each a thin call of the stage that does it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from caudal.environment import Environment
from caudal.runtime.options import Company

lake = typer.Typer(no_args_is_help=True, help="Look at the lake.")

DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="Such as pos/transactions.")]
OptionalDataset = Annotated[str | None, typer.Argument(metavar="DATASET", help="Such as pos/transactions; default all.")]
Paths = Annotated[list[str] | None, typer.Argument(metavar="PATH...", help="Only these files; default all that are concerned.")]
T = TypeVar("T")
Samples = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, or folders of them.")]


class CheckFormat(StrEnum):
    """How `caudal lake check` prints."""

    text = "text"
    json = "json"


@lake.command()
def status(
    dataset: Annotated[str | None, typer.Argument(help="Tell of each file of this one, such as pos/transactions.")] = None,
    company: Company = None,
) -> None:
    """Files and rows of every dataset, as the ledger knows them."""
    from caudal.lake.status import report

    typer.echo(report(Environment.current(company), dataset))


@lake.command()
def retry(dataset: OptionalDataset = None, paths: Paths = None, company: Company = None) -> None:
    """Have quarantined files read again. Those replaced, or whose contract was changed, are tried again by themselves."""
    from caudal.lake import operate

    _asked(lambda: operate.retry(Environment.current(company), dataset, paths or ()))


@lake.command()
def replay(
    dataset: DatasetName,
    paths: Paths = None,
    partition: Annotated[list[str] | None, typer.Option("--partition", "-p", help="Only files of this partition.")] = None,
    company: Company = None,
) -> None:
    """Have files read again whatever became of them; their rows are replaced."""
    from caudal.lake import operate

    _asked(lambda: operate.replay(Environment.current(company), dataset, paths or (), partition or ()))


@lake.command()
def forget(
    dataset: DatasetName,
    paths: Paths = None,
    gone: Annotated[bool, typer.Option("--gone", help="All files that are gone from the lake.")] = False,
    company: Company = None,
) -> None:
    """Remove the rows of files that are no longer in the lake, and forget the files."""
    from caudal.lake import operate

    _asked(lambda: operate.forget(Environment.current(company), dataset, paths or (), gone=gone))


@lake.command()
def rejects(
    dataset: DatasetName,
    into: Annotated[Path, typer.Option("--into", "-o", help="The CSV file to write.")],
    company: Company = None,
) -> None:
    """Write the rejected rows of a dataset to a CSV file, to be repaired there and released."""
    from caudal.runtime.location import dataset_named
    from caudal.warehouse.repairs import export

    env = Environment.current(company)
    done = _or_refused(lambda: export(env, dataset_named(env, dataset), into))
    typer.echo(f"{done.rows:,} rejected rows written to {into}; correct them there, then: caudal lake release {dataset} {into}")
    if done.others:
        typer.echo(f"{done.others:,} more concern whole files or lines that are no rows: caudal lake status {dataset}")


@lake.command()
def release(
    dataset: DatasetName,
    repaired: Annotated[Path, typer.Argument(help="The corrected file.", exists=True, dir_okay=False)],
    company: Company = None,
) -> None:
    """Load repaired rows in the place of the rejected ones. Exit code 1 if some still do not fit."""
    from caudal.contracts.masking import mask_rejected
    from caudal.runtime.location import dataset_named
    from caudal.warehouse.repairs import accept

    env = Environment.current(company)
    meant = _or_refused(lambda: dataset_named(env, dataset))
    done = _or_refused(lambda: accept(env, meant, repaired))
    typer.echo(
        f"{done.kept:,} rows fit and are loaded with the next run of raw/{dataset} ({done.files:,} files are read again)"
    )
    for file, row, column, value, reason in done.refused:
        shown = mask_rejected(meant.contract, column, value)
        typer.echo(f"  still refused: {file}, row {row}, {column or 'the whole row'}: {shown!r}: {reason}", err=True)
    raise typer.Exit(1 if done.refused else 0)


@lake.command()
def adopt(dataset: DatasetName, company: Company = None) -> None:
    """Write the columns that files brought (drift policy `evolve`) into the dataset's contract, as its next minor version."""
    from caudal.lake import adoption
    from caudal.runtime.location import dataset_named

    env = Environment.current(company)
    declared = dataset_named(env, dataset)
    adopted = _or_refused(lambda: adoption.adopt(env, declared))
    for name in adopted:
        typer.echo(f"{name}: now in {declared.contract.path}")
    typer.echo("look them over, then: caudal generate" if adopted else f"no file of {dataset} brought a new column")


@lake.command()
def compact(
    datasets: Annotated[list[str] | None, typer.Argument(help="Such as pos/transactions; all if none is named.")] = None,
    company: Company = None,
) -> None:
    """Write small files of raw tables together, and remove what nobody reads any more. A schedule does so every day."""
    from caudal.lake.component import declared_datasets
    from caudal.runtime.location import component_tree, dataset_named
    from caudal.runtime.upkeep import compact as tend
    from caudal.runtime.upkeep import declared_upkeep

    env = Environment.current(company)
    tree = component_tree(env)
    chosen = _or_refused(lambda: [dataset_named(env, name) for name in datasets] if datasets else declared_datasets(tree))
    for line in tend(env, chosen, declared_upkeep(tree)):
        typer.echo(line)
    if env.cloud is None and not env.raw.is_dir():
        typer.echo("nothing is loaded yet: there is no raw table")


@lake.command()
def propose(
    paths: Samples,
    source: Annotated[str | None, typer.Option("--source", "-s", help="Where the files come from, such as pos.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="What to call the dataset.")] = None,
    into: Annotated[Path | None, typer.Option("--write", "-w", help="Write defs.yaml and contracts/ into this folder.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Propose a dataset and its contract for sample files. Exit code 1 if some row of them would not fit."""
    from caudal.warehouse.check import files_below
    from caudal.warehouse.propose.proposal import propose as look
    from caudal.warehouse.propose.writing import texts, write

    proposal = _or_refused(lambda: look(Environment.current(), list(files_below(paths)), source, dataset))
    if into is None:
        typer.echo("---\n".join(f"# {path}\n{text}" for path, text in texts(proposal).items()), nl=False)
    else:
        for path in _or_refused(lambda: write(proposal, into, force=force)):
            typer.echo(f"written: {path}")
    typer.echo(proposal.outcome(), err=True)
    raise typer.Exit(0 if proposal.fits else 1)


@lake.command()
def check(
    paths: Samples,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Such as pos/transactions.")] = None,
    all_rejects: Annotated[bool, typer.Option("--all", help="Every rejected row, not the first 20.")] = False,
    output: Annotated[CheckFormat, typer.Option("--format", "-f", help="How to print the result.")] = CheckFormat.text,
    company: Company = None,
) -> None:
    """Tell what would become of files in the lake, without loading them: 0 all fits, 1 rows rejected, 2 cannot be read."""
    from caudal.lake.component import declared_datasets
    from caudal.runtime.location import component_tree
    from caudal.warehouse.check import check as judged
    from caudal.warehouse.verdict import printed

    env = Environment.current(company)
    datasets = declared_datasets(component_tree(env))
    verdicts = _or_refused(lambda: list(judged(env, datasets, paths, dataset, all_rejects=all_rejects)))
    typer.echo(printed(verdicts, output.value))
    raise typer.Exit(max(min(v.exit_code for v in of_file) for of_file in verdicts))


def _asked(ask: Callable[[], int]) -> None:
    count = _or_refused(ask)
    typer.echo(
        f"{count:,} files are pending; the lake sensor asks for a run that takes them" if count else "no file is concerned"
    )


def _or_refused(ask: Callable[[], T]) -> T:
    """What `ask` gives. What it refuses is told, and ends the command with exit code 2."""
    try:
        return ask()
    except (ValueError, LookupError, FileNotFoundError, FileExistsError) as refused:
        typer.echo(str(refused.args[0] if refused.args else refused), err=True)
        raise typer.Exit(2) from None
