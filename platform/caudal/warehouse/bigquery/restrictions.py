"""Conditions of DuckDB's SQL that BigQuery's storage can apply before it sends rows.

Only what means the same on both sides, or keeps more rows there, is handed over; DuckDB applies the whole condition again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlglot import exp

_COMPARISONS = {"EQ": "=", "NEQ": "!=", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}
_MIRRORED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

#: DuckDB holds NaN to be more than any number, BigQuery to be comparable with none: these keep it on neither side.
_SAFE_FOR_FLOATS = {"=", "<", "<="}

#: More values than these are not worth a longer condition; the interface takes a megabyte.
_MOST_VALUES = 1000

#: Types whose NULL is stored as such; that of an array is an empty one.
_MAY_BE_NULL = {"INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC", "STRING", "BOOL", "DATE", "DATETIME", "TIMESTAMP", "TIME"}

#: The same type has two names in BigQuery's interfaces.
_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}


def kind_of(field: Any) -> str:
    """GoogleSQL's name of the type of a BigQuery field, without sizes; `ARRAY` for one that is repeated."""
    if field.mode == "REPEATED":
        return "ARRAY"
    plain = field.field_type.partition("(")[0].upper()
    return _NAMES.get(plain, plain)


def conjuncts(condition: exp.Expr) -> list[exp.Expr]:
    """What must all hold for `condition` to hold."""
    from sqlglot import exp

    if isinstance(condition, exp.Paren):
        return conjuncts(condition.this)
    if isinstance(condition, exp.And):
        return [*conjuncts(condition.this), *conjuncts(condition.expression)]
    return [condition]


def restriction(parts: Sequence[exp.Expr], table: str, fields: Mapping[str, Any]) -> str:
    """Those of `parts` that storage can apply, as one GoogleSQL condition; "" for none.

    Args:
        table: what the table is called in the statement.

    """
    told = [_Part(table, fields).told(part) for part in parts]
    return " AND ".join(f"({text})" for text in told if text)


class _Part:
    """One condition on the columns of one table."""

    def __init__(self, table: str, fields: Mapping[str, Any]) -> None:
        self._table = table.casefold()
        self._fields = {name.casefold(): (name, field) for name, field in fields.items()}

    def told(self, part: exp.Expr) -> str | None:
        from sqlglot import exp

        if isinstance(part, exp.Not) and isinstance(part.this, exp.Is):
            return self._null(part.this, "IS NOT NULL")
        if isinstance(part, exp.Is):
            return self._null(part, "IS NULL")
        if isinstance(part, exp.Between):
            low = self._compared(part.this, ">=", part.args["low"])
            high = self._compared(part.this, "<=", part.args["high"])
            return f"{low} AND {high}" if low and high and not part.args.get("symmetric") else None
        if isinstance(part, exp.In):
            return self._one_of(part)
        sign = _COMPARISONS.get(type(part).__name__)
        if sign is None:
            return None
        left, right = part.this, part.expression
        return self._compared(left, sign, right) or self._compared(right, _MIRRORED[sign], left)

    def _null(self, part: exp.Is, words: str) -> str | None:
        from sqlglot import exp

        found = self._column(part.this)
        if found is None or not isinstance(part.expression, exp.Null) or kind_of(found[1]) not in _MAY_BE_NULL:
            return None
        return f"{_quoted(found[0])} {words}"

    def _one_of(self, part: exp.In) -> str | None:
        found, values = self._column(part.this), part.expressions
        if found is None or not values or len(values) > _MOST_VALUES:
            return None
        literals = [_literal(kind_of(found[1]), value) for value in values]
        known = [literal for literal in literals if literal is not None]
        return f"{_quoted(found[0])} IN ({', '.join(known)})" if len(known) == len(values) else None

    def _compared(self, column: exp.Expr, sign: str, value: exp.Expr) -> str | None:
        found = self._column(column)
        if found is None:
            return None
        kind = kind_of(found[1])
        literal = _literal(kind, value)
        if literal is None or (kind == "FLOAT64" and sign not in _SAFE_FOR_FLOATS):
            return None
        return f"{_quoted(found[0])} {sign} {literal}"

    def _column(self, node: exp.Expr) -> tuple[str, Any] | None:
        from sqlglot import exp

        if not isinstance(node, exp.Column) or node.db or node.table.casefold() not in ("", self._table):
            return None
        return self._fields.get(node.name.casefold())


def _literal(kind: str, node: exp.Expr) -> str | None:
    """A literal of DuckDB as GoogleSQL's of the type `kind`; None if they might differ."""
    from sqlglot import exp

    if isinstance(node, exp.Boolean):
        return str(node.this).upper() if kind == "BOOL" else None
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
        return _number(kind, f"-{node.this.this}")
    if isinstance(node, exp.Literal) and not node.is_string:
        return _number(kind, node.this)
    declared = ""
    if isinstance(node, exp.Cast) and not isinstance(node, exp.TryCast):
        declared, node = node.to.sql("duckdb").upper(), node.this
    if not isinstance(node, exp.Literal) or not node.is_string:
        return None
    if kind == "STRING":
        return _text(node.this) if declared in ("", "TEXT", "VARCHAR") else None
    return _moment(kind, declared, node.this)


def _number(kind: str, text: str) -> str | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if kind == "INT64":
        return str(int(number)) if re.fullmatch(r"-?\d+", text) and -(2**63) <= number < 2**63 else None
    if kind == "FLOAT64":
        return repr(float(number)) if re.fullmatch(r"-?\d{1,15}", text) else None
    if kind in ("NUMERIC", "BIGNUMERIC") and re.fullmatch(r"-?\d{1,20}(\.\d{1,9})?", text):
        return f"{kind} '{text}'"
    return None


def _moment(kind: str, declared: str, text: str) -> str | None:
    """Of dates and times only those written out in full, so that neither side has anything to guess."""
    try:
        if kind == "DATE" and declared in ("", "DATE"):
            return f"DATE '{date.fromisoformat(text)}'" if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
        if kind == "TIME" and declared in ("", "TIME"):
            return f"TIME '{time.fromisoformat(text)}'" if re.fullmatch(r"\d\d:\d\d:\d\d(\.\d{6})?", text) else None
        if kind == "DATETIME" and declared in ("", "DATE", "TIMESTAMP"):
            if declared == "DATE" and len(text) != len("2024-01-01"):
                return None
            found = (
                datetime.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d{6})?)?", text) else None
            )
            return f"DATETIME '{found.isoformat(' ')}'" if found else None
        if kind == "TIMESTAMP" and declared in ("", "TIMESTAMPTZ"):
            zoned = re.fullmatch(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{6})?[+-]\d\d:\d\d", text)
            return f"TIMESTAMP '{datetime.fromisoformat(text).isoformat(' ')}'" if zoned else None
    except ValueError:
        return None
    return None


def _text(value: str) -> str | None:
    """A string literal of GoogleSQL."""
    if any(ord(letter) < 32 for letter in value):
        return None
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted(name: str) -> str:
    return f"`{name}`"
