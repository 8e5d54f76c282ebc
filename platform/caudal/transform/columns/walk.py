"""Following a column from table to table: up to what it is made of, down to what is made of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from caudal.transform.columns.stored import StoredTable
from caudal.transform.columns.values import Ref

Direction = Literal["up", "down"]
#: A column's values are copied, or computed from others, or it decides which rows there are.
#: Or an asset reads its table, and does not say what it makes of which column.
Kind = Literal["copied", "computed", "rows", "table"]

LEGEND = "= copied, f computed, ? reads the table and does not say which columns, rows: decides which rows there are"

#: Stands for all columns of an asset that does not say what each is made of.
WHOLE = "*"


class NoSuchColumn(LookupError):
    """There is no such asset, or it has no such column. The message says what there is."""


@dataclass(frozen=True)
class Edge:
    """`target` is made of `source`, or decided by it."""

    source: Ref
    target: Ref
    kind: Kind


@dataclass(frozen=True)
class Graph:
    """All tables of a company, and who reads which.

    Attributes:
        tables: by asset key, joined by `/`.
        reads: assets, by the asset that reads them, also where nobody says which columns.

    """

    tables: Mapping[str, StoredTable]
    reads: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def find(self, text: str) -> Ref:
        """The column that somebody means by `asset/key.column`, or by the asset's last name alone.

        Raises:
            NoSuchColumn: with what comes near.

        """
        asset, _, column = text.rpartition(".")
        if not asset:
            asset, column = text, ""
        known = sorted({*self.tables, *self.reads})
        meant = [asset] if asset in known else [key for key in known if key.split("/")[-1] == asset]
        meant = [key for key in meant if key in self.tables] or meant
        if len(meant) != 1:
            near = meant or difflib.get_close_matches(asset, known, n=5, cutoff=0.5)
            near = near or difflib.get_close_matches(asset.split("/")[-1], [key.split("/")[-1] for key in known], n=5)
            problem = "several assets are called" if meant else "there is no asset"
            raise NoSuchColumn(f"{problem} `{asset}`{_meant(near)}")
        key = meant[0]
        table = self.tables.get(key)
        names = [c.name for c in table.columns.values()] if table else []
        if column.lower() in (table.columns if table else {}) or (column and table is not None and table.is_open):
            return key, column.lower()
        if not names:
            raise NoSuchColumn(f"nobody declares the columns of `{key}`, nor what they are made of")
        near = difflib.get_close_matches(column.lower(), [name.lower() for name in names], n=5, cutoff=0.5)
        if not column:
            raise NoSuchColumn(f"say which column of `{key}`: {', '.join(f'`{name}`' for name in names)}")
        raise NoSuchColumn(f"`{key}` has no column `{column}`{_meant(near or names)}")

    def name(self, ref: Ref) -> str:
        """`asset/key.column`, as the column is written; the asset alone for all its columns."""
        table = self.tables.get(ref[0])
        found = table.columns.get(ref[1]) if table else None
        return ref[0] if ref[1] == WHOLE else f"{ref[0]}.{found.name if found else ref[1]}"

    def above(self, ref: Ref, *, rows: bool = False) -> list[Edge]:
        """What the column is made of; with `rows`, also what decides which rows its table has."""
        table = self.tables.get(ref[0])
        if table is None:
            return []
        column = table.columns.get(ref[1])
        if column is None:
            return [Edge((table.rest, ref[1]), ref, "copied")] if table.rest and table.rest != ref[0] else []
        edges = [Edge(origin, ref, "copied" if is_copy else "computed") for origin, is_copy in column.origins.items()]
        if rows:
            deciding = (column.influences | table.influences) - set(column.origins)
            edges += [Edge(origin, ref, "rows") for origin in sorted(deciding)]
        return edges

    def below(self, ref: Ref, *, rows: bool = False) -> list[Edge]:
        """What is made of the column; an asset that reads its table and does not say what of it counts as a whole."""
        edges = [edge for edge in self._below.get(ref, []) if rows or edge.kind != "rows"]
        for reader in self._readers.get(ref[0], ()):
            table = self.tables.get(reader)
            if table is None or ref[1] == WHOLE or table.unknown:
                edges.append(Edge(ref, (reader, WHOLE), "table"))
            elif table.rest == ref[0] and ref[1] not in table.columns:
                edges.append(Edge(ref, (reader, ref[1]), "copied"))
        return edges

    def decided_by(self, asset: str) -> list[str]:
        """The columns that decide which rows the asset has."""
        table = self.tables.get(asset)
        return [self.name(ref) for ref in sorted(table.influences)] if table else []

    def decides(self, ref: Ref) -> list[str]:
        """The assets of which the column decides the rows."""
        return sorted({edge.target[0] for edge in self._below.get(ref, []) if edge.kind == "rows"})

    @cached_property
    def _below(self) -> dict[Ref, list[Edge]]:
        found: dict[Ref, list[Edge]] = {}
        for key, table in self.tables.items():
            for name in table.columns:
                for edge in self.above((key, name), rows=True):
                    found.setdefault(edge.source, []).append(edge)
        return found

    @cached_property
    def _readers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for reader, read in self.reads.items():
            for key in read:
                found.setdefault(key, []).append(reader)
        return found


@dataclass(frozen=True)
class Walk:
    """What was found above or below a column.

    Attributes:
        start: the column that was asked of.
        edges: with the number of steps from there, from 1, in the order of a walk in depth.
        unknown: why nothing more is known, by asset.

    """

    start: Ref
    direction: Direction
    edges: tuple[tuple[int, Edge], ...]
    unknown: Mapping[str, str]

    def far_end(self, edge: Edge) -> Ref:
        """The end of an edge that is farther from the start."""
        return edge.source if self.direction == "up" else edge.target


def walk(graph: Graph, start: Ref, direction: Direction, *, depth: int | None = None, rows: bool = False) -> Walk:
    """Everything above or below `start`, each column once, at most `depth` steps away.

    With `rows`, columns that decide which rows a table has are followed as well, not only those whose values are in it.
    """
    found: list[tuple[int, Edge]] = []
    seen = {start}
    unknown: dict[str, str] = {}

    def visit(ref: Ref, steps: int) -> None:
        table = graph.tables.get(ref[0])
        if table is not None and table.unknown:
            unknown[ref[0]] = table.unknown
        if depth is not None and steps >= depth:
            return
        for edge in graph.above(ref, rows=rows) if direction == "up" else graph.below(ref, rows=rows):
            end = edge.source if direction == "up" else edge.target
            found.append((steps + 1, edge))
            if end not in seen:
                seen.add(end)
                visit(end, steps + 1)

    visit(start, 0)
    return Walk(start, direction, tuple(found), unknown)


def _meant(near: Sequence[str]) -> str:
    shown = [f"`{name}`" for name in near[:8]]
    return f"; did you mean {' or '.join(shown)}?" if shown else ""


def _steps(walked: Walk, graph: Graph) -> Iterator[tuple[int, str, str]]:
    """Depth, what the edge is, and the farther column."""
    for steps, edge in walked.edges:
        yield steps, edge.kind, graph.name(walked.far_end(edge))


def as_text(walked: Walk, graph: Graph) -> str:
    """A tree for people. A column that comes again is not followed again."""
    up = walked.direction == "up"
    words = {"copied": "=", "computed": "f", "rows": "rows", "table": "?"}
    lines = [graph.name(walked.start)]
    seen: set[str] = set()
    for steps, kind, name in _steps(walked, graph):
        again = " (see above)" if name in seen else ""
        seen.add(name)
        lines.append(f"{'   ' * steps}{'<-' if up else '->'} {words[kind]} {name}{again}")
    if len(lines) == 1:
        lines.append(f"   nothing is known {'above' if up else 'below'} it")
    if up and graph.decided_by(walked.start[0]):
        lines += ["", f"Rows of {walked.start[0]} are decided by: {', '.join(graph.decided_by(walked.start[0]))}"]
    if not up and graph.decides(walked.start):
        lines += ["", f"It decides rows of: {', '.join(graph.decides(walked.start))}"]
    lines += [f"\nUnknown of {asset}: {reason}" for asset, reason in walked.unknown.items()]
    return "\n".join([*lines, "", LEGEND])


def as_value(walked: Walk, graph: Graph) -> dict:
    """A value for JSON."""

    def column(ref: Ref) -> dict[str, str]:
        return {"asset": ref[0], "column": ref[1]}

    return {
        "asked": column(walked.start),
        "direction": walked.direction,
        "edges": [
            {"steps": steps, "from": column(edge.source), "to": column(edge.target), "kind": edge.kind}
            for steps, edge in walked.edges
        ],
        "rows_decided_by": graph.decided_by(walked.start[0]),
        "decides_rows_of": graph.decides(walked.start),
        "unknown": dict(walked.unknown),
    }


def as_mermaid(walked: Walk, graph: Graph) -> str:
    """A diagram for a Markdown page, drawn in the direction in which data goes."""
    numbers: dict[Ref, int] = {walked.start: 0}
    for _, edge in walked.edges:
        for ref in (edge.source, edge.target):
            numbers.setdefault(ref, len(numbers))
    arrows = {"copied": "-->", "computed": "-- f -->", "rows": "-. rows .->", "table": "-. table .->"}
    lines = ["flowchart LR"]
    lines += [f'    n{number}["{graph.name(ref)}"]' for ref, number in numbers.items()]
    drawn = dict.fromkeys(f"    n{numbers[e.source]} {arrows[e.kind]} n{numbers[e.target]}" for _, e in walked.edges)
    return "\n".join([*lines, *drawn])
