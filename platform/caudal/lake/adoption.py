"""Columns that files brought, written into their contract: at the end of its list, everything else left as it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.contracts import Column, read_contract
from caudal.contracts.declaring import property_of
from caudal.lake.evolution import not_adopted
from caudal.lake.ledger import Ledger
from caudal.lake.operate import Refused
from caudal.store import write_atomically

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

#: A property is written on one line up to so many characters.
_LINE = 110

_VERSION = re.compile(r"(v?\d+\.)(\d+)((?:\.\d+)?)")


def adopt(env: Environment, dataset: Dataset) -> list[str]:
    """Write the columns that the dataset's files brought into its contract; their names.

    Raises:
        Refused: the contract's text cannot be edited so that it says exactly that.

    """
    recorded = not_adopted(dataset, Ledger(env.state / "ledger.db").evolved(dataset.id))
    columns = [Column.from_json(e.declared) for e in recorded]
    if columns:
        write_columns(dataset.contract.path, columns)
    return [column.name for column in columns]


def write_columns(path: Path, columns: Sequence[Column]) -> None:
    """Append columns to the contract at `path`, whose minor version is one higher then.

    Raises:
        Refused: its text cannot be edited so that it says exactly that.

    """
    with path.open(encoding="utf-8", newline="") as opened:
        text = opened.read()
    written = with_columns(text, columns)
    if written is None:
        listed = "\n".join(_item(column, 0, "\n") for column in columns)
        raise Refused(f"{path}: it is written in a way that is not safely edited. Add to its `properties` by hand:\n{listed}")
    with write_atomically(path) as temporary:
        temporary.write_bytes(written.encode())
    read_contract(path)


def with_columns(text: str, columns: Sequence[Column]) -> str | None:
    """The text of a contract with columns at the end of its list, and the next minor version.

    Every other character stays as it is. None where the result would not say exactly that, as with aliases in the YAML.
    """
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    properties, version = _at(root, "schema", 0, "properties"), _at(root, "version")
    edits = [_appended(properties, columns, text), _bumped(version, text)]
    written = text
    for start, end, replacement in sorted(edits, reverse=True):
        written = written[:start] + replacement + written[end:]
    expected = yaml.safe_load(text)
    expected["schema"][0]["properties"] += [property_of(column) for column in columns]
    expected["version"] = _next(str(expected["version"]))
    try:
        found = yaml.safe_load(written)
    except yaml.YAMLError:
        return None
    found["version"] = str(found["version"])
    return written if found == expected else None


def _at(node: Any, *place: str | int) -> Any:
    for step in place:
        node = node.value[step] if isinstance(step, int) else next(value for key, value in node.value if key.value == step)
    return node


def _bumped(version: Any, text: str) -> tuple[int, int, str]:
    """Where the version stands, and the next one. Without quotes, `1.10` would be the number 1.1."""
    start, end = version.start_mark.index, version.end_mark.index
    bumped = _next(version.value)
    quote = version.style or ("" if bumped.count(".") > 1 or bumped == version.value else '"')
    return (start, end, text[start:end] if bumped == version.value else f"{quote}{bumped}{quote}")


def _next(version: str) -> str:
    """The next minor version; the same where it is no such number."""
    found = _VERSION.fullmatch(version)
    return f"{found[1]}{int(found[2]) + 1}{'.0' if found[3] else ''}" if found else version


def _appended(properties: Any, columns: Sequence[Column], text: str) -> tuple[int, int, str]:
    """Where the list ends, and what to write there."""
    end = _end(properties.value[-1])
    if properties.flow_style:
        return end, end, "".join(f", {_flow(column)}" for column in columns)
    newline = "\r\n" if "\r\n" in text else "\n"
    items = newline.join(_item(column, properties.start_mark.column, newline) for column in columns) + newline
    if text[end - 1 : end] == "\n":
        return end, end, items
    line_end = text.find("\n", end) + 1
    return (line_end, line_end, items) if line_end else (len(text), len(text), newline + items)


def _end(node: Any) -> int:
    """Where the last character of a value stands. The end of a block is where the next thing begins, after comments."""
    if isinstance(node.value, list) and node.value and not node.flow_style:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _flow(column: Column) -> str:
    import yaml

    dumped = yaml.safe_dump(
        property_of(column), default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    return dumped.strip()


def _item(column: Column, indent: int, newline: str) -> str:
    """An item of a block list."""
    import yaml

    flow = _flow(column)
    if len(flow) <= _LINE:
        return f"{' ' * indent}- {flow}"
    block = yaml.safe_dump(property_of(column), default_flow_style=False, sort_keys=False, allow_unicode=True, width=_LINE)
    lines = block.strip().splitlines()
    return newline.join(f"{' ' * indent}{'- ' if number == 0 else '  '}{line}" for number, line in enumerate(lines))
