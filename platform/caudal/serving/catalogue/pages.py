"""The front page, the list of all columns, and the entries that the search looks through."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING
from urllib.parse import quote

from caudal.serving.catalogue.frame import count, page, state_of, table_link, table_path, when
from caudal.serving.catalogue.markup import Markup, inline, table, tag, together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from caudal.serving.catalogue.values import Catalogue, Table

#: The schemas in the order in which an analyst wants them; others follow.
_ORDER = ("marts", "predictions", "evaluation", "explore", "staging", "raw", "quarantine")
_TOLD = {
    "marts": "What to query: one table for each thing that the business asks about.",
    "predictions": "What models say of days to come.",
    "evaluation": "How good those models are.",
    "explore": "Measures made on the way.",
    "staging": "Cleaned, one view for each source table. Mostly for those who build marts.",
    "raw": "As it came, typed as its contract says, with the file and row that each row is from.",
    "quarantine": "Rows that were refused, each with the reason.",
}


def front_page(catalogue: Catalogue) -> str:
    """Every table, by schema and domain."""
    parts = [tag("h1", f"What {catalogue.company} knows"), tag("p", _summary(catalogue), class_="lead")]
    for schema, tables in groupby(sorted(catalogue.tables, key=_place), key=lambda t: t.schema):
        found = list(tables)
        body = table(
            ("Table", "What it is", "Domain", "Rows", "Made", "State"),
            [_line(each) for each in found],
            f"The tables of {schema}",
            class_="tables stack",
        )
        parts += [tag("h2", schema, id=f"schema-{schema}"), tag("p", _TOLD.get(schema, "")), body]
    return page(catalogue, "Tables", together(*parts))


def columns_page(catalogue: Catalogue) -> str:
    """Every column of every table, by name: for searching with the browser where scripts do not run."""
    found = sorted(((c, t) for t in catalogue.tables for c in t.columns), key=lambda x: (x[0].name.lower(), _place(x[1])))
    lines = [
        (
            tag("a", column.name, href=f"{quote(table_path(owner))}#column-{quote(column.name)}"),
            tag("code", column.type),
            column.unit,
            table_link(owner, ""),
            inline(_first_sentence(column.description)),
        )
        for column, owner in found
    ]
    body = table(("Column", "Type", "Unit", "Table", "What it is"), lines, "All columns")
    return page(catalogue, "Columns", together(tag("h1", "Columns"), body))


def entries(catalogue: Catalogue) -> str:
    """What is searched, as a script that only holds data: `[kind, name, page, table, description, everything else]`."""
    found = []
    for each in sorted(catalogue.tables, key=_place):
        path, told = quote(table_path(each)), _first_sentence(each.description)
        also = " ".join((each.asset, each.domain, *each.owners, *each.tags, each.contract, each.description))
        found.append(["table", each.name, path, each.relation, told, also])
        for column in each.columns:
            also = " ".join((column.type, column.unit, column.classification or "", column.description, *column.constraints))
            anchor = f"{path}#column-{quote(column.name)}"
            found.append(["column", column.name, anchor, each.relation, _first_sentence(column.description), also])
    # As text in a string, `<` and the two line ends that are none in JSON can close nothing.
    told = json.dumps(found, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    return f'"use strict";\nconst ENTRIES = {told};\n'


def _line(each: Table) -> Sequence[Markup | str]:
    return (
        table_link(each, "", each.name),
        inline(_first_sentence(each.description)),
        each.domain,
        tag("span", count(each.rows), class_="number"),
        when(each.freshness.made_at) if each.freshness.made_at else "",
        state_of(each),
    )


def _summary(catalogue: Catalogue) -> Markup:
    columns = sum(len(t.columns) for t in catalogue.tables)
    failed = sum(c.status == "failed" for t in catalogue.tables for c in t.checks)
    late = sum(bool(t.freshness.late) for t in catalogue.tables)
    state = f"{failed or 'No'} {'check fails' if failed == 1 else 'checks fail' if failed else 'check fails'}"
    state += f", {late or 'no'} {'tables are' if late > 1 else 'table is'} late."
    return together(f"{len(catalogue.tables):,} tables with {columns:,} columns, as of ", when(catalogue.made_at), f". {state}")


def _place(each: Table) -> tuple[int, str, str, str]:
    rank = _ORDER.index(each.schema) if each.schema in _ORDER else len(_ORDER)
    return rank, each.schema, each.domain, each.name


def _first_sentence(text: str) -> str:
    flat = " ".join(text.split()).replace("`", "")
    end = flat.find(". ")
    return flat if end < 0 else flat[: end + 1]
