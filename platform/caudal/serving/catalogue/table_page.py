"""The page of one table: what it is, how it stands, what is in it, where it comes from, how to query it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from caudal.serving.catalogue.frame import asset_address, count, page, report_path, state_of, table_link, when
from caudal.serving.catalogue.markup import Markup, inline, prose, table, tag, together
from caudal.serving.catalogue.recipes import recipes

if TYPE_CHECKING:
    from caudal.serving.catalogue.values import Catalogue, Check, Column, Table

_UP = "../../"
#: What a page shows at most, so that it stays below 200 kB however wide its table is.
MOST_COLUMNS, MOST_FIGURES, MOST_CHECKS, MOST_LINKS = 300, 100, 150, 60
LONGEST_DESCRIPTION = 160


def table_page(catalogue: Catalogue, each: Table) -> str:
    """The whole page."""
    title = tag("h1", tag("span", f"{each.schema}.", class_="schema"), each.name)
    sections = (
        ("columns", "Columns", _columns(catalogue, each)),
        ("examples", "First rows", _examples(each)),
        ("query", "Query it", _recipes(catalogue, each)),
        ("checks", "Checks", _checks(catalogue, each)),
        ("profile", "Profile", _profile(catalogue, each)),
        ("lineage", "Where it comes from", _lineage(catalogue, each)),
    )
    shown = [(name, heading, content) for name, heading, content in sections if content]
    contents = tag(
        "nav",
        tag("ul", (tag("li", tag("a", h, href=f"#{n}")) for n, h, _ in shown)),
        class_="contents",
        aria_label="On this page",
    )
    body = together(
        title,
        tag("div", prose(each.description) or tag("p", "Nobody has described it yet."), class_="lead"),
        _facts(catalogue, each),
        contents,
        *(tag("section", tag("h2", heading), content, id=name) for name, heading, content in shown),
    )
    return page(catalogue, each.relation, body, up=_UP)


def _facts(catalogue: Catalogue, each: Table) -> Markup:
    fresh = each.freshness
    lateness = {None: "", True: "late", False: "on time"}[fresh.late]
    facts: list[tuple[str, Markup | str]] = [
        ("State", state_of(each)),
        ("Made", together(when(fresh.made_at), f", {lateness}" if lateness else "") if fresh.made_at else ""),
        ("Expected by", when(fresh.expected_by) if fresh.expected_by else ""),
        ("Promise", fresh.rule),
        ("Rows", count(each.rows)),
        ("Cost", each.cost),
        ("Owner", ", ".join(each.owners)),
        ("Domain", each.domain),
        ("Kind", each.kind),
        ("Contract", each.contract),
        ("Tags", ", ".join(each.tags)),
        ("Asset", tag("a", each.asset, href=asset_address(catalogue, each.asset)) if each.asset else ""),
    ]
    return tag("dl", (tag("div", tag("dt", term), tag("dd", told)) for term, told in facts if told), class_="facts")


def _columns(catalogue: Catalogue, each: Table) -> Markup:
    with_origin = any(column.made_of for column in each.columns)
    header = ("Column", "Type", "What it is", "Unit", "Promised", *(("Made of",) if with_origin else ()))
    rows = []
    for column in each.columns[:MOST_COLUMNS]:
        name = tag("code", column.name, id=f"column-{column.name}")
        personal = (
            tag("span", "masked", class_="odd", title=f"Classified as {column.classification}") if column.personal else None
        )
        line = [
            together(name, " ", personal) if personal else name,
            tag("code", column.type.lower()),
            inline(_cut(column.description)),
            column.unit,
            "; ".join(column.constraints),
        ]
        rows.append([*line, _made_of(catalogue, column)] if with_origin else line)
    more = len(each.columns) - len(rows)
    return together(
        table(header, rows, f"The columns of {each.relation}", class_="columns stack"),
        tag("p", f"{more:,} more columns are not shown here; `describe` lists all.") if more > 0 else None,
    )


def _made_of(catalogue: Catalogue, column: Column) -> Markup:
    links = []
    for origin in column.made_of[:5]:
        relation, _, name = origin.rpartition(".")
        known = catalogue.by_relation.get(relation)
        links.append(tag("li", table_link(known, _UP, origin) if known else f"{relation}.{name}"))
    return tag("ul", links) if links else Markup("")


def _examples(each: Table) -> Markup:
    note = tag("p", each.examples.note) if each.examples.note else None
    if not each.examples.rows:
        return together(note)
    return together(
        table(
            [tag("code", c) for c in each.examples.columns], each.examples.rows, f"First rows of {each.relation}", class_="data"
        ),
        note,
    )


def _recipes(catalogue: Catalogue, each: Table) -> Markup:
    parts = []
    for recipe in recipes(each, catalogue):
        parts.append(
            tag(
                "details",
                tag("summary", recipe.tool),
                tag("p", inline(recipe.needs)) if recipe.needs else None,
                tag("div", tag("pre", tag("code", recipe.code)), class_="copied") if recipe.code else None,
                tag("ol", (tag("li", inline(step)) for step in recipe.steps)) if recipe.steps else None,
                open=not parts,
            )
        )
    return together(*parts)


_RANK = {"failed": 0, "warned": 1, "": 2, "passed": 3}
_CLASS = {"failed": "bad", "warned": "odd", "passed": "good", "": ""}


def _checks(catalogue: Catalogue, each: Table) -> Markup:
    if not each.checks:
        return tag("p", "Nothing checks it.") if each.asset else Markup("")
    ordered = sorted(each.checks, key=lambda check: (_RANK[check.status], check.name))
    rows = [_check(check) for check in ordered[:MOST_CHECKS]]
    more = len(ordered) - len(rows)
    return together(
        table(("Result", "Check", "What it looks for", "When"), rows, f"The checks of {each.relation}", class_="checks stack"),
        tag("p", f"{more} more checks passed.") if more > 0 else None,
        tag("p", tag("a", "Failing rows and history, in Dagster", href=asset_address(catalogue, each.asset, "checks"))),
    )


def _check(check: Check) -> tuple[Markup | str, ...]:
    result = tag("span", check.status or "not run", class_=_CLASS[check.status] or None)
    blocking = tag("span", "keeps the table from being published", class_="small") if check.blocking else None
    told = together(inline(_cut(check.description)), " ", blocking) if blocking else inline(_cut(check.description))
    return result, tag("code", check.name), told, when(check.at) if check.at else ""


def _profile(catalogue: Catalogue, each: Table) -> Markup:
    profile = each.profile
    if profile is None:
        return Markup("")
    header = ("Column", "Empty", "Distinct", "Smallest", "Median", "Largest", "Most frequent")
    rows = [
        (tag("code", f.column), f.nulls, f.distinct, f.minimum, f.median, f.maximum, f.top)
        for f in profile.figures[:MOST_FIGURES]
    ]
    links = [tag("a", "Pictures and all figures, in Dagster", href=asset_address(catalogue, profile.asset))]
    if profile.report:
        links.append(tag("a", "The whole report", href=_UP + quote(report_path(each))))
    return together(
        tag("p", f"Of {profile.rows:,} rows, ", when(profile.made_at), "."),
        table(header, rows, f"The profile of {each.relation}", class_="data"),
        tag("ul", (tag("li", link) for link in links), class_="links"),
    )


def _lineage(catalogue: Catalogue, each: Table) -> Markup:
    if not (each.reads or each.read_by):
        return Markup("")
    parts = (("Made of", each.reads), ("In the end from", each.origins), ("Read by", each.read_by))
    return tag(
        "dl",
        (tag("div", tag("dt", term), tag("dd", _assets(catalogue, found))) for term, found in parts if found),
        class_="facts",
    )


def _assets(catalogue: Catalogue, keys: tuple[str, ...]) -> Markup:
    items = []
    for key in keys[:MOST_LINKS]:
        known = catalogue.by_asset.get(key)
        items.append(tag("li", table_link(known, _UP) if known else tag("a", key, href=asset_address(catalogue, key))))
    more = len(keys) - len(items)
    return tag("ul", items, tag("li", f"and {more} more") if more > 0 else None, class_="links")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_DESCRIPTION * 3 else text[: LONGEST_DESCRIPTION * 3] + "…"
