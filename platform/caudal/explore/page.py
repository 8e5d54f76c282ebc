"""One page about a table: its profile, and pictures of its main columns and of its rows over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.explore import markdown
from caudal.explore.distributions import distribution, main_columns, time_series
from caudal.explore.plots import distribution_grid, series_plot
from caudal.explore.scan import profile_table

if TYPE_CHECKING:
    import duckdb

    from caudal.explore.profile import TableProfile


def table_page(connection: duckdb.DuckDBPyConnection, relation: str) -> tuple[TableProfile, str]:
    """The profile of `relation`, named `schema.table`, and its page: Markdown with pictures, below `markdown.MAX_BYTES`.

    Raises:
        duckdb.CatalogException: there is no such table.

    """
    profile = profile_table(connection, relation)
    pictures = []
    drawn = [distribution(connection, relation, column) for column in main_columns(profile)]
    if distributions := [found for found in drawn if found]:
        pictures.append(markdown.image(distribution_grid(distributions), f"{relation}: distributions"))
    if series := time_series(connection, relation, profile):
        pictures.append(markdown.image(series_plot(series), f"{relation}: rows over time"))
    page = profile.to_markdown()
    for picture in pictures:
        if len(page.encode()) + len(picture) < markdown.MAX_BYTES:
            page += f"\n\n{picture}"
    return profile, page
