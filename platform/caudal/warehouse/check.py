"""What would become of a file if it were dropped into the lake: read, typed and judged as a load does, with nothing kept.

Neither the lake nor the ledger is touched: parts and rejects go to a temporary folder, which is removed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import is_unfinished
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parts import LakeFile, Normalized, Quarantined, normalize_many
from caudal.warehouse.raw_tables import as_stored
from caudal.warehouse.sql import identifier, text
from caudal.warehouse.verdict import Reject, Table, Verdict

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

#: The `path` of a dataset that takes files of any name.
_ANY_NAME = "*"

#: Rejected rows that are shown unless all are asked for.
SHOWN_REJECTS = 20


class UnknownDataset(ValueError):
    """No declared dataset is meant. The message names those that there are."""


def files_below(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that the paths name; of a folder those in it that the lake would look at, by name.

    Raises:
        FileNotFoundError: with the path.

    """
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file())
            yield from (p for p in found if not is_unfinished(p.name))
        elif path.is_file():
            yield path
        else:
            raise FileNotFoundError(f"{path}: there is no such file")


def places(datasets: Sequence[Dataset], file: Path, wanted: str | None = None) -> list[tuple[Dataset, str]]:
    """The datasets that a file would belong to, each with the path that it would have in the lake.

    That is the dataset `wanted`; or the one whose folder `<source>/<dataset>` it lies in; or every one that takes its name, of
    which those that take any name at all count only where no other does, and its content is of their format.

    Raises:
        UnknownDataset: there is none.

    """
    if wanted is not None:
        named = [d for d in datasets if d.id == wanted]
        if not named:
            raise UnknownDataset(f"there is no dataset `{wanted}`. {_declared(datasets)}")
        return [(d, _within(d, file) or f"{d.prefix}/{file.name}") for d in named]
    inside = [(d, path) for d in datasets if (path := _within(d, file))]
    if inside:
        return inside
    matching = [(d, path) for d in datasets if d.refusal(path := f"{d.prefix}/{file.name}") is None]
    if not matching:
        raise UnknownDataset(
            f"{file}: no declared dataset takes a file of this name; name one with --dataset. {_declared(datasets)}"
        )
    return [(d, path) for d, path in matching if d.path != _ANY_NAME] or _of_its_format(matching, file)


def _of_its_format(matching: list[tuple[Dataset, str]], file: Path) -> list[tuple[Dataset, str]]:
    """Those datasets whose format the file has; all, if it is of none of theirs, so that each can say what it expects."""
    from caudal.warehouse.propose.sniff import sniff
    from caudal.warehouse.propose.table import NoProposal

    if len(matching) == 1:
        return matching
    try:
        found = sniff(file, file.name).format
    except NoProposal:
        return matching
    return [(d, path) for d, path in matching if d.format == found] or matching


def check(
    env: Environment,
    datasets: Sequence[Dataset],
    paths: Iterable[Path],
    wanted: str | None = None,
    *,
    all_rejects: bool = False,
) -> Iterator[list[Verdict]]:
    """What would become of each file, in each dataset that it would belong to.

    Raises:
        FileNotFoundError: there is no such file.
        UnknownDataset: no dataset takes it.

    """
    shown = None if all_rejects else SHOWN_REJECTS
    for file in files_below(paths):
        yield [judge(env, dataset, file, path, shown) for dataset, path in places(datasets, file, wanted)]


def judge(env: Environment, dataset: Dataset, file: Path, path: str, shown: int | None = SHOWN_REJECTS) -> Verdict:
    """What would become of `file` as the lake file `path` of the dataset.

    Args:
        shown: so many problems of rejected rows are told, None for all.

    """
    with tempfile.TemporaryDirectory(prefix="caudal-check-") as folder:
        work = Path(folder)
        with connect_memory(replace(env, data=work / "data")) as connection:
            return judge_files(connection, as_stored(env, dataset), [LakeFile(path, "unloaded", file)], work / "parts", shown)


def judge_files(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    files: Sequence[LakeFile],
    work: Path,
    shown: int | None = SHOWN_REJECTS,
) -> Verdict:
    """What would become of some files together. `work` is a folder for what is thrown away."""
    misplaced = next((why for f in files if (why := dataset.refusal(f.path))), None)
    verdict = Verdict(dataset.id, files[0].path, dialect(dataset), misplaced=misplaced)
    for result in normalize_many(connection, dataset, files, loaded_at=datetime.now(UTC), into=work):
        verdict = _with(verdict, result, connection, dataset, shown)
    return verdict


def dialect(dataset: Dataset) -> str:
    """How the dataset's files are read, in words, such as `csv, delimiter ";", encoding cp1252`."""
    pieces: list[str] = [dataset.format]
    options = getattr(dataset, dataset.format, None)
    for name, value in vars(options).items() if options is not None else ():
        if not name.startswith("_") and value not in (None, (), "", False):
            shown = ", ".join(map(repr, value)) if isinstance(value, tuple) else value if value is True else repr(value)
            pieces.append(f"{name} {shown}")
    if options is None and dataset.encoding != "utf-8":
        pieces.append(f"encoding {dataset.encoding}")
    return "; ".join(pieces)


def _with(
    verdict: Verdict,
    result: Normalized | Quarantined,
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    shown: int | None,
) -> Verdict:
    if isinstance(result, Quarantined):
        return replace(verdict, unreadable=(*verdict.unreadable, (result.name, result.reason)))
    tables = tuple(Table(f.name, f.rows_read, f.rows_loaded, f.rows_rejected) for f in result.files)
    names = dict.fromkeys((*verdict.undeclared, *(c.name for c in result.undeclared)))
    verdict = replace(verdict, tables=(*verdict.tables, *tables), undeclared=tuple(names))
    if result.part is not None:
        empty = _columns_without_value(connection, result.part, dataset)
        before = verdict.without_value if any(t.loaded for t in verdict.tables[: -len(tables)]) else empty
        verdict = replace(verdict, without_value=tuple(n for n in before if n in empty))
        result.part.unlink()
    if result.rejects is not None:
        left = None if shown is None else shown - len(verdict.rejects)
        first, count = _rejects(connection, result.rejects, left)
        verdict = replace(verdict, rejects=(*verdict.rejects, *first), problems=verdict.problems + count)
        result.rejects.unlink()
    return verdict


def _columns_without_value(connection: duckdb.DuckDBPyConnection, part: Path, dataset: Dataset) -> list[str]:
    names = dataset.contract.column_names
    counts = ", ".join(f"count({identifier(n)})" for n in names)
    row = connection.execute(f"SELECT {counts} FROM read_parquet({text(str(part))})").fetchone()
    return [n for n, count in zip(names, row or (), strict=False) if count == 0]


def _rejects(connection: duckdb.DuckDBPyConnection, rejects: Path, limit: int | None) -> tuple[list[Reject], int]:
    source = f"read_parquet({text(str(rejects))})"
    columns = '_file, _row, "column", value, reason'
    bounded = "" if limit is None else f" LIMIT {max(limit, 0)}"
    found = connection.execute(f"SELECT {columns} FROM {source} ORDER BY _file, _row{bounded}").fetchall()
    count = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    return [Reject(*row) for row in found], count[0] if count else 0


def _within(dataset: Dataset, file: Path) -> str | None:
    """The path below the lake, if the file lies in a folder `<source>/<dataset>`."""
    parts = file.resolve().parts
    for place in range(len(parts) - 3, -1, -1):
        if parts[place : place + 2] == (dataset.source, dataset.name):
            return "/".join(parts[place:])
    return None


def _declared(datasets: Sequence[Dataset]) -> str:
    listed = ", ".join(f"`{d.id}` ({d.path})" for d in datasets)
    return f"Declared are: {listed}" if listed else "None is declared"
