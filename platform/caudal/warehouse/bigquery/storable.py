"""What of a contract BigQuery can store: known of its columns beforehand, and of values when files are read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caudal.contracts import Column, Contract

#: https://cloud.google.com/bigquery/docs/schemas#column_names
_NOT_IN_A_NAME = re.compile(r"[!\"$()*,./;?@\[\\\]^`{}~]")
_RESERVED = ("_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier", "_change_sequence_number",
             "_change_type", "_change_timestamp")  # fmt: skip
_LONGEST_NAME = 300
#: https://cloud.google.com/bigquery/quotas#all_tables: columns of a table, those within structs among them, and how deep
#: structs may stand within structs.
_MOST_COLUMNS = 10_000
_DEEPEST = 15
#: Raw tables have besides: the file, its version, the row, when it was loaded.
_OF_LINEAGE = 4

NULL_ITEM = "no value, and BigQuery's arrays hold none: have it left out, or declare the array without `items`, as JSON text"


class UnusableColumns(ValueError):
    """A contract has columns that BigQuery cannot have. The message is for people."""


def demand(contracts: Iterable[Contract]) -> None:
    """See to it that BigQuery can have the contracts' columns.

    Raises:
        UnusableColumns: it cannot; with all that is wrong.

    """
    found = [f"{contract.path}: {problem}" for contract in contracts for problem in problems(contract)]
    if found:
        raise UnusableColumns("BigQuery cannot have these columns:\n- " + "\n- ".join(found))


def problems(contract: Contract) -> Iterator[str]:
    """Yield what BigQuery cannot have of a contract's columns, for people."""
    yield from _twice(contract.columns, "")
    for column in contract.columns:
        for inner in _named(column):
            where = "" if inner is column else f" in `{column.name}`"
            if problem := problem_of_name(inner.name):
                yield f"`{inner.name}`{where}: {problem}: name it otherwise, with the files' name as `renamedFrom`"
            yield from _twice(_fields(inner), f" in `{inner.name}`")
        if (depth := _depth(column)) > _DEEPEST:
            yield (
                f"`{column.name}` has structs {depth} deep, and {_DEEPEST} are the most: declare an inner one without "
                "`properties`, as JSON text"
            )
    count = sum(1 for column in contract.columns for _ in _named(column)) + _OF_LINEAGE
    if count > _MOST_COLUMNS:
        yield f"{count:,} with those inside structs and of lineage, and {_MOST_COLUMNS:,} are the most: divide the dataset"


def without_null_items(contract: Contract) -> Contract:
    """The contract as BigQuery holds it to: an array with declared items has a value in each of them.

    Not within an array that stands in another array, which is JSON text there.
    """
    return replace(contract, columns=tuple(_full(column) for column in contract.columns))


def _full(column: Column) -> Column:
    if column.items is not None:
        items = column.items if column.items.items is not None else _full(column.items)
        return replace(column, items=replace(items, null_refused=NULL_ITEM))
    return replace(column, fields=tuple(_full(field) for field in column.fields))


def _fields(column: Column) -> tuple[Column, ...]:
    """The fields of a struct, or of the structs in an array."""
    return _fields(column.items) if column.items is not None else column.fields


def _named(column: Column) -> Iterator[Column]:
    yield column
    for field in _fields(column):
        yield from _named(field)


def problem_of_name(name: str) -> str:
    """Why BigQuery has no column of this name; "" where it may."""
    if found := _NOT_IN_A_NAME.search(name):
        return f"no name may hold `{found.group()}`"
    if name.lower().startswith(_RESERVED):
        return "names that begin so are BigQuery's own"
    return f"a name has at most {_LONGEST_NAME} characters" if len(name) > _LONGEST_NAME else ""


def _twice(columns: tuple[Column, ...], where: str) -> Iterator[str]:
    counted = Counter(column.name.casefold() for column in columns)
    for column in columns:
        if counted[column.name.casefold()] > 1:
            yield f"`{column.name}`{where}: another has the same name but for capital letters: name it otherwise"


def _depth(column: Column) -> int:
    fields = _fields(column)
    return 1 + max(_depth(field) for field in fields) if fields else 0
