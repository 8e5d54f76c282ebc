"""What must hold of tables that Python makes before anybody sees them: SQL that selects the rows that must not be there.

dbt's models have dbt's tests; this is the same for `candidate.publish_tables`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.warehouse.connection import quoted, refusals
from caudal.warehouse.held_back import Held, Why
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    from caudal.warehouse.connection import Connection

_SAMPLE_ROWS = 10
_LONGEST_VALUE = 200


@dataclass(frozen=True)
class Audit:
    """One thing that must hold. It reads the candidate, so also tables that are published already.

    Attributes:
        name: unique among the audits of the table; letters, digits, underscores.
        failing: a query whose rows are the failures.

    """

    name: str
    relation: str
    failing: str
    description: str = ""


@dataclass(frozen=True)
class AuditOutcome:
    """How an audit went.

    Attributes:
        failures: how many rows it selected; None if it could not be run.
        problem: why it could not be run, or "".
        columns, rows: the first of the failing rows, as text.

    """

    audit: Audit
    failures: int | None
    problem: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str | None, ...], ...] = ()

    @property
    def passed(self) -> bool:
        return self.failures == 0

    def why(self) -> Why:
        """As the reason for which a table is held back."""
        said = self.problem or f"{self.failures:,} failing rows"
        return Why(f"its check {self.audit.name} failed: {said}", f"{self.audit.relation}: {self.audit.name}", self.failures)


class AuditsFailed(RuntimeError):
    """Tables are not published, and stay as they were before.

    Attributes:
        outcomes: of all audits.
        held: what is held back now, by `schema.name`.

    """

    def __init__(self, outcomes: Sequence[AuditOutcome], held: Mapping[str, Held]) -> None:
        self.outcomes, self.held = tuple(outcomes), held
        failed = "; ".join(f"{o.audit.name}: {o.problem or f'{o.failures:,} failing rows'}" for o in outcomes if not o.passed)
        super().__init__(f"Not published, and as before: {', '.join(held)}. What failed: {failed}")


def not_empty(relation: str) -> Audit:
    """The table has rows."""
    failing = f"SELECT 'no row' AS found WHERE NOT EXISTS (FROM {quoted(relation)})"
    return Audit("not_empty", relation, failing, "The table has rows.")


def not_null(relation: str, *columns: str) -> Audit:
    """No value of the columns is missing; of floating-point columns also none that is no number."""
    missing = " OR ".join(
        f"{identifier(c)} IS NULL OR (typeof({identifier(c)}) IN ('DOUBLE', 'FLOAT') AND {identifier(c)}::VARCHAR = 'nan')"
        for c in columns
    )
    name = f"not_null_{'_'.join(columns)}"
    return Audit(name, relation, f"SELECT * FROM {quoted(relation)} WHERE {missing}", f"Never missing: {', '.join(columns)}.")


def unique(relation: str, *columns: str) -> Audit:
    """No two rows have the same values in the columns."""
    key = ", ".join(map(identifier, columns))
    failing = f"SELECT {key}, count(*) AS n FROM {quoted(relation)} GROUP BY ALL HAVING count(*) > 1"
    return Audit(f"unique_{'_'.join(columns)}", relation, failing, f"One row for each {', '.join(columns)}.")


def holds(relation: str, name: str, condition: str, description: str = "") -> Audit:
    """The condition is true of each row; where it is neither true nor false, that is no failure."""
    failing = f"SELECT * FROM {quoted(relation)} WHERE NOT ({condition})"
    return Audit(name, relation, failing, description or f"`{condition}`")


def judge(connection: Connection, audits: Sequence[Audit]) -> list[AuditOutcome]:
    """The outcome of each."""
    return [_outcome(connection, audit) for audit in audits]


def _outcome(connection: Connection, audit: Audit) -> AuditOutcome:
    try:
        counted = connection.execute(f"SELECT count(*) FROM (\n{audit.failing}\n)").fetchone()
        failures = counted[0] if counted else 0
        if not failures:
            return AuditOutcome(audit, 0)
        found = connection.execute(f"SELECT * FROM (\n{audit.failing}\n) LIMIT {_SAMPLE_ROWS}")
        columns = tuple(column[0] for column in found.description or ())
        rows = tuple(tuple(None if v is None else str(v)[:_LONGEST_VALUE] for v in row) for row in found.fetchall())
    except refusals() as problem:
        return AuditOutcome(audit, None, f"it could not be run: {problem}")
    return AuditOutcome(audit, failures, "", columns, rows)
