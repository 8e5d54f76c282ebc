"""What every page of the catalogue has: head, search, foot; and how times, counts and addresses read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from caudal.serving.catalogue.markup import Markup, tag, together

if TYPE_CHECKING:
    from caudal.serving.catalogue.values import Catalogue, Table

#: Nothing runs and nothing is loaded but the site's own two files, whatever a description or a value says. `file:` is for the
#: site in a folder, where some browsers take no file for the page's own.
POLICY = (
    "default-src 'none'; style-src 'self' file:; script-src 'self' file:; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'"
)


def page(catalogue: Catalogue, title: str, content: Markup, *, up: str = "") -> str:
    """A whole page. `up` leads to the site's root: "" or `../../`."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{title} · {catalogue.company}"),
        tag("link", rel="stylesheet", href=f"{up}style.css"),
        tag("script", "", src=f"{up}entries.js", defer=True),
        tag("script", "", src=f"{up}search.js", defer=True),
    )
    links = tag(
        "nav",
        tag("a", "Tables", href=f"{up}index.html"),
        tag("a", "Columns", href=f"{up}columns.html"),
        tag("a", "Dagster", href=catalogue.dagster),
        aria_label="Site",
    )
    search = tag(
        "div",
        tag("label", "Search tables, columns, owners, tags and units", for_="search", class_="unseen"),
        tag(
            "input",
            id="search",
            type="search",
            placeholder="Search tables, columns, owners, tags, units",
            autocomplete="off",
            spellcheck="false",
            role="combobox",
            aria_expanded="false",
            aria_controls="found",
        ),
        tag("p", "", id="count", role="status", class_="unseen"),
        tag("ol", "", id="found", role="listbox", aria_label="Found", hidden=True),
        id="searching",
        hidden=True,
    )
    header = tag("header", tag("a", catalogue.company, class_="home", href=f"{up}index.html"), search, links)
    foot = tag(
        "footer",
        f"Version {catalogue.version or 'none'} as of ",
        when(catalogue.made_at),
        ". Personal data is masked: what contract or model classifies, and every column of the same name.",
    )
    skip = tag("a", "To the content", href="#content", class_="skip")
    body = tag("body", skip, header, tag("main", content, id="content"), foot, data_up=up)
    return "<!doctype html>\n" + tag("html", head, body, lang="en")


def table_path(table: Table) -> str:
    """Where the page of a table is: it changes only with the table's name."""
    return f"tables/{_file_name(table.schema)}/{_file_name(table.name)}.html"


def report_path(table: Table) -> str:
    """Where the whole report of a table's profile is."""
    return f"reports/{_file_name(table.schema)}/{_file_name(table.name)}.html"


def _file_name(name: str) -> str:
    """One part of a path, which neither leaves its folder nor hides in it."""
    quoted = quote(name, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def table_link(table: Table, up: str, text: str = "") -> Markup:
    """A link to a table's page. The path is quoted once more, since a file's name may hold a percent sign."""
    return tag("a", text or table.relation, href=up + quote(table_path(table)))


def asset_address(catalogue: Catalogue, asset: str, view: str = "") -> str:
    """The page of an asset in Dagster."""
    return f"{catalogue.dagster}/assets/{quote(asset)}" + (f"?view={view}" if view else "")


def when(moment: str) -> Markup:
    """A moment in UTC, to the minute."""
    if not moment:
        return tag("span", "never")
    read = datetime.fromisoformat(moment).astimezone(UTC)
    return tag("time", f"{read:%Y-%m-%d %H:%M} UTC", datetime=read.isoformat(timespec="seconds"))


def count(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def state_of(table: Table) -> Markup:
    """In one word how a table stands: failing checks first, then lateness."""
    failed = sum(check.status == "failed" for check in table.checks)
    warned = sum(check.status == "warned" for check in table.checks)
    words = []
    if failed:
        words.append(tag("span", f"{failed} failed", class_="bad"))
    if warned:
        words.append(tag("span", f"{warned} warned", class_="odd"))
    if table.freshness.late:
        words.append(tag("span", "late", class_="bad"))
    if not words and any(check.status == "passed" for check in table.checks):
        words.append(tag("span", "checked", class_="good"))
    return together(*words)
