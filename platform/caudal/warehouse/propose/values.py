"""The values of one column of the sample, each once, and how many of them a declared type would refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from caudal.warehouse.casting import cast_text, is_absent
from caudal.warehouse.json_text import provide_json_fault
from caudal.warehouse.propose.markers import CODE, KNOWN
from caudal.warehouse.propose.table import text_contract
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb

    from caudal.contracts import Column
    from caudal.warehouse.propose.candidates import Candidate

#: Values that are looked at to see what a column may be; whether it is, all values say.
LOOKED_AT = 200

_TABLE = "caudal_values"


class Values:
    """The texts of a column: `s`, how often (`n`), and whether it may be a null marker (`m`). One at a time a connection.

    Attributes:
        rows: of the sample.
        present: rows with a text that is not blank.
        distinct: different texts among those.
        markers: texts that may stand for no value, and how often each is there.

    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, relation: str, column: str) -> None:
        self._connection = connection
        name = identifier(column)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS SELECT {name} AS s, count(*) AS n, false AS m "
            f"FROM {relation} WHERE trim({name}) <> '' GROUP BY 1"
        )
        bare = "lower(trim(s))"
        is_marker = f"{bare} IN ({', '.join(map(text, KNOWN))}) OR regexp_full_match({bare}, {text(CODE)})"
        connection.execute(f"UPDATE {_TABLE} SET m = true WHERE {is_marker}")
        found = connection.execute(f"SELECT s, n FROM {_TABLE} WHERE m ORDER BY n DESC, s").fetchall()
        self.markers: dict[str, int] = dict(found)
        self.rows = self._one(f"SELECT count(*) FROM {relation}")
        self.absent = self.rows - self._one(f"SELECT count({name}) FROM {relation}")
        self.present = self._one(f"SELECT coalesce(sum(n), 0)::BIGINT FROM {_TABLE}")
        self.distinct = self._one(f"SELECT count(*) FROM {_TABLE}")

    @property
    def marked(self) -> int:
        """Rows with a text that may be a null marker."""
        return sum(self.markers.values())

    def some(self, *, markers: bool = False) -> list[str]:
        """The most frequent texts, and some others."""
        source = f"SELECT s FROM {_TABLE}" + ("" if markers else " WHERE NOT m")
        half = LOOKED_AT // 2
        frequent = self._connection.execute(f"{source} ORDER BY n DESC, s LIMIT {half}").fetchall()
        others = self._connection.execute(f"{source} ORDER BY hash(s) LIMIT {half}").fetchall()
        return list(dict.fromkeys(s for (s,) in [*frequent, *others]))

    def misfits(
        self, candidates: Sequence[Candidate], among: Sequence[str] | None = None, *, markers: bool = False
    ) -> list[int]:
        """How many rows each candidate would reject; of `among` how many texts."""
        if not candidates:
            return []
        if any(c.meaning in ("object", "array") for c in candidates):
            provide_json_fault(self._connection, text_contract(["value"], logical_type="object"))
        refused = ", ".join(f"coalesce(sum(n) FILTER ({self._misfit(c.column('value'))}), 0)::BIGINT" for c in candidates)
        if among is not None:
            source, given = "(SELECT unnest($1::VARCHAR[]) AS s, 1 AS n)", [list(among)]
        else:
            source, given = f"(SELECT s, n FROM {_TABLE}{'' if markers else ' WHERE NOT m'})", []
        return list(self._connection.execute(f"SELECT {refused} FROM {source}", given).fetchone() or ())

    def refused(self, candidate: Candidate, limit: int = 3) -> list[tuple[str, int]]:
        """Texts that the candidate refuses, the most frequent first."""
        condition = self._misfit(candidate.column("value"))
        return self._connection.execute(
            f"SELECT s, n FROM {_TABLE} WHERE NOT m AND {condition} ORDER BY n DESC, s LIMIT {limit}"
        ).fetchall()

    def figures(self, *expressions: str) -> tuple:
        """Aggregates over the texts that are no markers, such as `max(length(s))`."""
        return self._connection.execute(f"SELECT {', '.join(expressions)} FROM {_TABLE} WHERE NOT m").fetchone() or ()

    def listed(self, limit: int) -> list[tuple[str, int]]:
        """The texts with their counts, the most frequent first."""
        return self._connection.execute(f"SELECT s, n FROM {_TABLE} ORDER BY n DESC, s LIMIT {limit}").fetchall()

    @staticmethod
    def _misfit(column: Column) -> str:
        cast = cast_text(column, "(s)")
        return f"(({cast.value}) IS NULL AND NOT ({is_absent(column, 's')}))"

    def _one(self, query: str) -> int:
        row = self._connection.execute(query).fetchone()
        assert row is not None
        return row[0]
