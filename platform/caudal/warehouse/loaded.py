"""Raw tables and rejects before anything is published: the newest rows that have passed, under the names of published tables.

Once a version is published, readers see the raw that it pinned, and nothing newer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from caudal.warehouse import delta
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.published import NothingPublished, connect
from caudal.warehouse.quality import judged
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment


def connect_published_or_loaded(env: Environment) -> duckdb.DuckDBPyConnection:
    """A connection to the newest published version on this machine; before there is one, to what is loaded.

    Raises:
        NothingPublished: nothing is loaded yet either.

    """
    try:
        return connect(env)
    except NothingPublished:
        return _connect_loaded(env)


def _connect_loaded(env: Environment) -> duckdb.DuckDBPyConnection:
    views = []
    for schema, home in (("raw", env.raw), ("quarantine", env.quarantine)):
        for folder in sorted(home.glob("*")):
            newest = delta.version_of_table(folder)
            if newest is None:
                continue
            version = judged.version_of_table(env, folder.name, newest) if schema == "raw" else newest
            body = f"FROM delta_scan({text(str(folder))}, version => {newest if version is None else version})"
            views.append((schema, folder.name, body if version is not None else f"{body} WHERE false"))
    if not views:
        raise NothingPublished(f"Nothing is loaded in {env.raw} yet, and nothing is published: put files into the lake first.")
    connection = connect_memory(env)
    for schema, name, body in views:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        connection.execute(f"CREATE VIEW {schema}.{identifier(name)} AS {body}")
    connection.execute(
        "SET search_path = 'raw'" if all(s == "raw" for s, *_ in views) else "SET search_path = 'raw,quarantine'"
    )
    return connection
