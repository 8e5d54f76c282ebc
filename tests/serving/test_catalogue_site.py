"""The catalogue's pages: complete, linked, small, and harmless whatever they show."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin

import pytest

from caudal.serving.catalogue.markup import inline, prose, tag
from caudal.serving.catalogue.recipes import recipes
from caudal.serving.catalogue.site import LISTED, NotOurFolder, content, paths, write_site
from caudal.serving.catalogue.values import (
    Catalogue,
    Check,
    Column,
    Examples,
    Figures,
    Freshness,
    NoCatalogue,
    Profile,
    Table,
    read_catalogue,
    write_catalogue,
)

HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&lt;`</code><script>`\u2028\u202e]]>"


def table_of(relation: str, text: str = "Sales by day.", columns: int = 3, **given: object) -> Table:
    """A table with everything there may be, all of it saying `text`."""
    named = tuple(Column(f"{text[:40]}{i}", "VARCHAR", text, unit=text, constraints=(text,)) for i in range(columns))
    filled = {
        "kind": "table",
        "asset": f"marts/sales/{relation}",
        "domain": text,
        "description": f"{text}\n\nA second paragraph with `code`.",
        "owners": (text,),
        "tags": (text,),
        "contract": text,
        "columns": named,
        "rows": 12,
        "freshness": Freshness("2026-01-02T03:04:05+00:00", late=True, rule=text, expected_by="2026-01-03T03:04:05+00:00"),
        "checks": (Check(text, text, blocking=True, status="failed", at="2026-01-02T03:04:05+00:00"), Check("second", text)),
        "reads": (text, "marts/sales/other"),
        "read_by": (text,),
        "origins": (text,),
        "profile": Profile("profile/sales/x", "2026-01-02T03:04:05+00:00", 3, (Figures(text, text, text, text),)),
        "examples": Examples(tuple(c.name for c in named), (tuple(text for _ in named),), text),
    }
    return Table(relation, **(filled | given))


def catalogue_of(*tables: Table) -> Catalogue:
    return Catalogue("shop", "v1", "2026-01-02T03:04:05+00:00", "/data/warehouse.duckdb", "http://127.0.0.1:3000", tables)


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.append((name, found))
        self.links += [found[a] or "" for a in ("href", "src") if a in found]
        self.ids += [found["id"] or ""] if "id" in found else []

    def handle_data(self, data: str) -> None:
        self.text += data


def pages_of(folder: Path) -> dict[str, Page]:
    return {p.relative_to(folder).as_posix(): Page(p.read_text()) for p in folder.rglob("*.html")}


def broken_links(folder: Path) -> list[tuple[str, str]]:
    """Links to nothing, as a browser resolves them."""
    pages, broken = pages_of(folder), []
    for path, page in pages.items():
        for link in page.links:
            if link.startswith("http://127.0.0.1:3000"):
                continue
            target, _, anchor = (
                urljoin(f"http://site/{path.replace('%', '%25')}", link).removeprefix("http://site/").partition("#")
            )
            file = unquote(target)
            known = (folder / file).is_file()
            if not known or (anchor and unquote(anchor) not in pages[file].ids):
                broken.append((path, link))
    return broken


@pytest.fixture
def site(tmp_path):
    tables = (table_of("marts.daily_sales"), table_of("marts.Odd name/%2f?#"), table_of("..hidden.x"), table_of("raw.a__b"))
    write_site(catalogue_of(*tables), tmp_path / "site")
    return tmp_path / "site"


def test_every_table_has_a_page_and_every_link_leads_somewhere(site):
    assert len(list((site / "tables").rglob("*.html"))) == 4
    assert not [p for p in site.parent.rglob("*.html") if not p.is_relative_to(site)]
    assert broken_links(site) == []


def test_the_search_knows_every_table_and_column(site):
    text = (site / "entries.js").read_text()
    entries = json.loads(text.partition("const ENTRIES = ")[2].rstrip(";\n"))
    assert {(e[0], e[3]) for e in entries} >= {("table", "marts.daily_sales"), ("column", "raw.a__b")}
    assert len(entries) == 4 + 4 * 3
    assert all((site / unquote(e[2].partition("#")[0])).is_file() for e in entries)
    assert "Sales by day." in entries[0][5]


def test_without_scripts_all_tables_and_columns_are_plain_lists(site):
    pages = pages_of(site)
    assert all(name in pages["index.html"].text for name in ("daily_sales", "a__b", "Odd name/%2f?#"))
    assert pages["columns.html"].text.count("Sales by day.0") >= 4
    assert [a["hidden"] for _, a in pages["index.html"].tags if a.get("id") == "searching"] == [None]


def test_a_hostile_text_is_shown_and_never_run():
    hostile = catalogue_of(table_of(f"marts.{HOSTILE}", HOSTILE), table_of("marts.x", HOSTILE))
    for path in paths(hostile):
        if not path.endswith(".html"):
            continue
        page = Page((content(hostile, path) or b"").decode())
        scripts = [a for name, a in page.tags if name == "script"]
        assert [s["src"].rpartition("/")[2] for s in scripts] == ["entries.js", "search.js"]
        assert not [name for name, _ in page.tags if name in ("img", "iframe", "object", "style", "form", "base")]
        assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]
        assert "alert(1)" in page.text
        assert "\u202e" not in page.text
    entries = (content(hostile, "entries.js") or b"").decode()
    assert "<" not in entries
    assert "\u2028" not in entries


def test_links_into_dagster_cannot_be_scripts():
    page = Page(
        (content(catalogue_of(table_of("marts.x", HOSTILE, asset="javascript:alert(1)")), "tables/marts/x.html")).decode()
    )
    assert [link for link in page.links if link.partition(":")[0] not in ("http",) and ":" in link] == []


def test_each_page_says_that_only_its_own_two_files_may_run(site):
    for path, page in pages_of(site).items():
        (policy,) = [a["content"] for n, a in page.tags if n == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy


def test_the_script_puts_no_text_into_a_page_but_as_text(site):
    script = (site / "search.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|XMLHttp|import\(", script)


@pytest.mark.parametrize("columns", [3, 1000])
def test_a_page_stays_below_200_kb_however_wide_the_table(columns):
    text = "What a shop sold on a day, less what it took back, in its own currency and with tax. " * 3
    wide = table_of("marts.wide", text, columns)
    wide = replace(wide, columns=tuple(replace(c, unit="USD", constraints=("never empty",)) for c in wide.columns))
    rows = tuple(tuple("x" * 60 for _ in range(40)) for _ in range(5))
    wide = replace(wide, examples=Examples(tuple(f"c{i}" for i in range(40)), rows))
    page = content(catalogue_of(wide), "tables/marts/wide.html") or b""
    assert len(page) < 200_000
    assert (b"more columns are not shown" in page) == (columns > 300)


def test_a_site_that_is_written_again_loses_the_tables_that_are_gone(tmp_path):
    write_site(catalogue_of(table_of("marts.a"), table_of("marts.b")), tmp_path / "site")
    write_site(catalogue_of(table_of("marts.b")), tmp_path / "site")
    assert [p.name for p in (tmp_path / "site" / "tables").rglob("*.html")] == ["b.html"]
    assert "tables/marts/a.html" not in (tmp_path / "site" / LISTED).read_text()


def test_a_folder_of_other_files_is_not_written_into(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(NotOurFolder, match="give an empty folder"):
        write_site(catalogue_of(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_list_of_files_that_was_tampered_with_removes_nothing_elsewhere(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    site = tmp_path / "site"
    site.mkdir()
    (site / LISTED).write_text("../outside.txt")
    write_site(catalogue_of(), site)
    assert outside.read_text() == "mine"


def test_the_catalogue_is_the_same_after_it_was_written_and_read(tmp_path):
    catalogue = catalogue_of(table_of("marts.a", HOSTILE), Table("raw.plain", "view"))
    write_catalogue(catalogue, tmp_path / "state" / "catalogue.json")
    assert read_catalogue(tmp_path / "state" / "catalogue.json") == catalogue


def test_a_file_of_another_version_counts_as_no_catalogue(tmp_path):
    (tmp_path / "catalogue.json").write_text('{"company": 1}')
    with pytest.raises(NoCatalogue, match="caudal catalogue"):
        read_catalogue(tmp_path / "catalogue.json")


def test_a_text_is_escaped_wherever_it_stands():
    assert tag("a", "R & D <b>", href='x"y') == '<a href="x&quot;y">R &amp; D &lt;b&gt;</a>'
    assert inline("use `a<b` here") == "use <code>a&lt;b</code> here"
    assert prose("one\n\ntwo\x00") == "<p>one</p><p>two\N{REPLACEMENT CHARACTER}</p>"


def test_python_and_duckdb_recipes_run_as_they_are_written(tmp_path, monkeypatch):
    import duckdb

    file = tmp_path / "it's" / "warehouse.duckdb"
    file.parent.mkdir()
    with duckdb.connect(str(file)) as made:
        made.execute('CREATE SCHEMA marts; CREATE TABLE marts."Odd ""name" AS SELECT 7 AS units')
    table = table_of('marts.Odd "name')
    found = {r.tool: r for r in recipes(table, replace(catalogue_of(table), database=str(file)))}
    variables: dict = {}
    exec(found["Python: pandas"].code, variables)
    assert variables["frame"]["units"].tolist() == [7]
    with duckdb.connect() as memory:
        assert memory.execute(found["DuckDB"].code).fetchall() == [(7,)]


def test_nothing_is_claimed_to_be_where_it_is_not():
    found = {r.tool: r for r in recipes(table_of("marts.x"), catalogue_of())}
    assert "not in BigQuery" in found["BigQuery"].needs
    assert "cannot be looked up over HTTP" in found["HTTP API"].needs
    assert found["HTTP API"].code == ""
    looked_up = {r.tool: r for r in recipes(table_of("marts.x", lookup=("x", "id")), catalogue_of())}
    assert looked_up["HTTP API"].code == "curl API/v1/tables/x/KEY"


def test_the_report_of_a_profile_is_part_of_the_site(tmp_path):
    report = tmp_path / "daily_sales.html"
    report.write_text("<!doctype html><p>All figures")
    profile = Profile("profile/sales/daily_sales", "2026-01-02T03:04:05+00:00", 3, (), str(report))
    write_site(catalogue_of(table_of("marts.daily_sales", profile=profile)), tmp_path / "site")
    assert broken_links(tmp_path / "site") == []
    assert (tmp_path / "site" / "reports" / "marts" / "daily_sales.html").read_text() == report.read_text()
