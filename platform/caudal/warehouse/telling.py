"""Versions and differences for people at a terminal, for pull requests and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from caudal.warehouse import versions
from caudal.warehouse.held_back import held

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.warehouse.difference import Difference
    from caudal.warehouse.versions import Kept

_MOST_CHANGES = 8
_LONGEST_VALUE = 60


def listing(env: Environment, relation: str | None) -> str:
    """The kept versions, the newest first; of a relation only those in which it became another one."""
    kept = versions.kept(env)
    if not kept:
        return "nothing is published yet"
    lines = [line for each in reversed(kept) for line in _version(each, relation)]
    if relation is None:
        total = sum(each.disk_bytes for each in kept)
        lines.append(f"{len(kept)} versions, {_mb(total)} on disk (blocks that they share count for each)")
    lines += [f"{name}: {why.sentence()}" for name, why in held(env).items() if relation in {None, name}]
    return "\n".join(lines) if lines else f"{relation} did not change in any kept version"


def difference(found: Difference, output: str) -> str:
    """As `text`, `json` or `markdown`."""
    if output == "json":
        return json.dumps(asdict(found) | {"differs": not found.is_none}, indent=1, default=str)
    title = f"{found.relation}, {found.a} -> {found.b}"
    lines = list(_difference(found))
    if output == "markdown":
        body = [f"### {title}", "", *(f"- {line}" for line in lines)]
        return "\n".join([*body, *(["", *_markdown(found)] if found.sample else [])])
    rows = ["  " + ", ".join(f"{name}={_short(value)}" for name, value in row.items()) for row in found.sample]
    return "\n".join([title, *(f"  {line}" for line in lines), *rows])


def _version(each: Kept, relation: str | None) -> Iterator[str]:
    record = each.record
    if record is None:
        if relation is None:
            yield f"{each.name}  {_mb(each.disk_bytes)}  (no record of what changed)"
        return
    changed = {name: what for name, what in record.changed.items() if relation in {None, name}}
    if relation is not None and not changed:
        return
    by = " ".join(part for part in (record.cause.by, record.cause.run_id and f"run {record.cause.run_id[:8]}") if part)
    seen = "  <- readers see this" if each.is_current else ""
    yield f"{each.name}  {record.published_at:%Y-%m-%d %H:%M:%S}  {_mb(each.disk_bytes)}  {by}{seen}"
    if record.cause.note:
        yield f"    {record.cause.note}"
    shown = [f"    {name}: {what}" for name, what in changed.items()]
    yield from shown[:_MOST_CHANGES]
    if len(shown) > _MOST_CHANGES:
        yield f"    and {len(shown) - _MOST_CHANGES} more"


def _difference(found: Difference) -> Iterator[str]:
    if found.note:
        yield found.note
    yield f"rows: {found.rows_a:,} -> {found.rows_b:,}"
    yield from (f"column {name} {kind} added" for name, kind in found.columns_added.items())
    yield from (f"column {name} {kind} removed" for name, kind in found.columns_removed.items())
    yield from (
        f"column {name} {old} -> {new}; its values are compared as text" for name, (old, new) in found.columns_retyped.items()
    )
    compared = f"by {', '.join(found.key)}" if found.key else "compared as a whole"
    changed = f", {found.rows_changed:,} changed" if found.key else ""
    yield f"rows {compared}: {found.rows_added:,} added, {found.rows_removed:,} removed{changed}"
    yield from (f"column {name}: {count:,} values changed" for name, count in found.cells_changed.items())
    if found.is_none:
        yield "no difference"


def _markdown(found: Difference) -> Iterator[str]:
    names = list(found.sample[0])
    yield _row(names)
    yield _row(["---"] * len(names))
    yield from (_row([_short(value) for value in row.values()]) for row in found.sample)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _short(value: str | None) -> str:
    text = "null" if value is None else value
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _mb(size: int) -> str:
    return f"{size / 1024**2:,.1f} MB"
