"""Names and values as SQL text, and the one row of a query that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caudal.warehouse.connection import Connection


def identifier(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("'", "''") + "'"


def first_of(*cases: tuple[str, str], otherwise: str = "NULL") -> str:
    """A `CASE` of (condition, value)."""
    whens = " ".join(f"WHEN {condition} THEN {value}" for condition, value in cases)
    return f"CASE {whens} ELSE {otherwise} END"


def one_row(connection: Connection, query: str) -> tuple:
    """The first row of a query that always has one, such as an aggregate without groups."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return row
