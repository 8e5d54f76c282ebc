"""What must be true of a whole table: rules as values, from a contract's `quality` or a line of YAML.

What must be true of one row by itself (type, required, range, pattern, allowed values) is a promise of a column: a row that
breaks it is rejected when its file is loaded, and never stands in the table. Rules are about the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

Severity = Literal["warn", "block"]

#: missing, invalid: rows whose value is absent, or is none of those that are meant. duplicate: rows that share their values
#: with another one. reference: rows whose value is in no row of another table. rows: rows that a query selects. count: how many
#: rows there are. number: the one number that a query selects. freshness, volume, distribution: compared with the clock, with
#: the periods before, with the loads before.
Kind = Literal["missing", "invalid", "duplicate", "reference", "rows", "count", "number", "freshness", "volume", "distribution"]

#: What blocks, where nothing else is said. What is compared with experience warns: experience may be wrong.
_BLOCKING = ("missing", "invalid", "duplicate", "rows", "count", "number")

_HOURS_A_DAY = 24


class RuleError(ValueError):
    """A rule cannot be understood. The message says what was expected."""


@dataclass(frozen=True)
class Bound:
    """Which numbers are accepted: those from `low` to `high`, or with `outside` the others.

    Attributes:
        unit: of the number: `rows`, or `percent` of all rows of the table.
        open_low, open_high: `low`, or `high`, itself is not among them.

    """

    low: float | None = None
    high: float | None = 0
    open_low: bool = False
    open_high: bool = False
    outside: bool = False
    unit: Literal["rows", "percent"] = "rows"

    def accepts(self, value: float) -> bool:
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        below = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return (above and below) != self.outside

    @property
    def told(self) -> str:
        """In words, such as `at most 5 %`."""
        unit = " %" if self.unit == "percent" else ""
        if self.low is not None and self.low == self.high:
            words = "none" if self.low == 0 and not self.outside else f"{self.low:,g}{unit}"
        elif self.low is None:
            words = "none" if self.high == 0 else f"{'less than' if self.open_high else 'at most'} {self.high:,g}{unit}"
        elif self.high is None:
            words = f"{'more than' if self.open_low else 'at least'} {self.low:,g}{unit}"
        else:
            words = f"{self.low:,g} to {self.high:,g}{unit}"
        return f"not {words}" if self.outside else words


@dataclass(frozen=True)
class VolumeSettings:
    """How many rows a period must have, by the periods before it. See `caudal.warehouse.quality.volume`.

    Attributes:
        by: the date or timestamp column whose days are the periods; None: each lake file is one.
        judged: so many of the newest periods are judged, each by those before it: a bad one keeps failing until it is
            repaired, or so many have come after it.
        history: so many periods before it are looked at.
        least_history: with fewer nothing is judged.
        tolerance: a period that differs by less than this share of what was expected is never told.
        spreads: how many robust standard deviations are too many.
        weekdays: each weekday has a level of its own, where there is history enough.
        leave_out: so many of the newest periods are still being filled.

    """

    by: str | None = None
    judged: int = 7
    history: int = 56
    least_history: int = 8
    tolerance: float = 0.3
    spreads: float = 5.0
    weekdays: bool = True
    leave_out: int = 0


@dataclass(frozen=True)
class DistributionSettings:
    """What tells that the newest load is unlike those before. See `caudal.warehouse.quality.distribution`.

    Attributes:
        columns: those to compare; none for all plain ones.
        loads: so many loads before are what it is compared with.
        least_rows: with fewer, in the load or before it, nothing is judged.
        index: a population stability index from which on a column has changed.
        nulls: a difference of the share of nulls from which on it has.

    """

    columns: tuple[str, ...] = ()
    loads: int = 20
    least_rows: int = 100
    index: float = 0.25
    nulls: float = 0.1


@dataclass(frozen=True)
class Rule:
    """One rule of one table; see `Kind` for what it wants.

    Attributes:
        name: of the check.
        columns: those that it is about.
        bound: how many rows may break it; of `count` and `number`: which numbers are accepted.
        sql: of `rows`: the query that selects the rows that break it; of `number`: the one that selects the number.
        minimum, maximum, allowed, pattern: of `invalid`.
        reference: of `reference`: `<source>/<dataset>.<column>` or `schema.table.column`.
        within_hours: of `freshness`: how old the newest value may be.

    """

    name: str
    kind: Kind
    severity: Severity
    columns: tuple[str, ...] = ()
    description: str = ""
    bound: Bound = Bound()
    sql: str | None = None
    minimum: Any = None
    maximum: Any = None
    allowed: tuple[Any, ...] = ()
    pattern: str | None = None
    reference: str | None = None
    within_hours: float | None = None
    volume: VolumeSettings = VolumeSettings()
    distribution: DistributionSettings = DistributionSettings()

    @property
    def blocks(self) -> bool:
        return self.severity == "block"


def default_severity(kind: Kind) -> Severity:
    return "block" if kind in _BLOCKING else "warn"


def check_name(text: str) -> str:
    """A name that Dagster accepts for a check."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_") or "rule"


_COMMON = {"name", "description", "severity", "at_most", "at_most_percent"}
_FORMS: dict[str, set[str]] = {
    "sql": set(),
    "unique": set(),
    "references": {"column"},
    "not_null": {"column"},
    "freshness": set(),
    "volume": set(),
    "distribution": set(),
    "valid": {"column", "minimum", "maximum", "allowed", "pattern"},
}


def rule_of(given: Mapping[str, Any]) -> Rule:
    """The rule that a line of YAML declares: `{name, severity, sql}`, or in the place of `sql` one of
    `unique: [a, b]`, `column` with `not_null: true`, `references`, `minimum`, `maximum`, `allowed` or `pattern`,
    `freshness: {column, within_hours}`, `volume: {...}`, `distribution: {...}`.

    Raises:
        RuleError: it is none of these.

    """
    form = next((f for f in _FORMS if f in given), "valid")
    unknown = sorted(set(given) - _COMMON - _FORMS[form] - {form})
    if unknown:
        beside = "" if form == "valid" else f" beside `{form}`"
        raise RuleError(f"`{unknown[0]}` is not understood{beside}; known are {', '.join(sorted(_ALL_KEYS))}")
    column = given.get("column")
    if "column" in _FORMS[form] and not isinstance(column, str):
        raise RuleError("`column` is missing: which column is it about?" if column is None else f"`column` is {column!r}")
    kind, own = _read_form(form, given, column)
    severity = given.get("severity") or default_severity(kind)
    if severity not in ("warn", "block"):
        raise RuleError(f"`severity` is {severity!r}; expected `warn` or `block`")
    name = given.get("name") or "_".join([kind, *own.get("columns", ())])
    bound = _tolerance(given, kind)
    return Rule(check_name(name), kind, severity, description=str(given.get("description") or ""), bound=bound, **own)


_ALL_KEYS = _COMMON | set(_FORMS) - {"valid"} | {key for keys in _FORMS.values() for key in keys}


def _read_form(form: str, given: Mapping[str, Any], column: Any) -> tuple[Kind, dict[str, Any]]:
    value = given.get(form)
    match form:
        case "sql":
            if not isinstance(value, str) or not value.strip():
                raise RuleError("`sql` is empty; expected a query that selects the rows that break the rule")
            return "rows", {"sql": value.strip().rstrip(";")}
        case "unique":
            columns = (value,) if isinstance(value, str) else tuple(value or ())
            if not columns:
                raise RuleError("`unique` is empty; expected a list of columns")
            return "duplicate", {"columns": columns}
        case "references":
            return "reference", {"columns": (column,), "reference": checked_reference(value)}
        case "not_null":
            if value is not True:
                raise RuleError(f"`not_null` is {value!r}; expected true")
            return "missing", {"columns": (column,)}
        case "freshness":
            return "freshness", _freshness(value)
        case "volume":
            return "volume", {"volume": settings_of(VolumeSettings, value or {})}
        case "distribution":
            return "distribution", {"distribution": settings_of(DistributionSettings, value or {})}
        case _:
            limits = {name: given[name] for name in ("minimum", "maximum", "pattern") if given.get(name) is not None}
            if given.get("allowed"):
                limits["allowed"] = tuple(given["allowed"])
            if not limits:
                raise RuleError("it says nothing that values must be; expected `sql`, `unique`, `references`, `minimum`, ...")
            return "invalid", {"columns": (column,), **limits}


def _freshness(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or set(value) != {"column", "within_hours"}:
        raise RuleError("`freshness` is not understood; expected {column: ..., within_hours: ...}")
    return {"columns": (value["column"],), "within_hours": positive(value["within_hours"], "within_hours")}


def checked_reference(value: Any) -> str:
    if not isinstance(value, str) or value.count(".") < 1:
        raise RuleError(f"`references` is {value!r}; expected `<source>/<dataset>.<column>` or `schema.table.column`")
    return value


def positive(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise RuleError(f"`{name}` is {value!r}; expected a number above 0")
    return float(value)


def _tolerance(given: Mapping[str, Any], kind: Kind) -> Bound:
    told = [n for n in ("at_most", "at_most_percent") if n in given]
    if not told:
        return Bound()
    if len(told) > 1 or kind in ("freshness", "volume", "distribution"):
        raise RuleError(f"`{told[-1]}` is no setting here; a rule about rows may have one of `at_most`, `at_most_percent`")
    value = given[told[0]]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise RuleError(f"`{told[0]}` is {value!r}; expected 0 or more")
    return Bound(high=value, unit="rows" if told[0] == "at_most" else "percent")


def settings_of(kind: Any, given: Any) -> Any:
    """Settings of a volume or distribution rule from YAML.

    Raises:
        RuleError: one is unknown, or of another type.

    """
    if not isinstance(given, Mapping):
        raise RuleError(f"{given!r} is not understood; expected settings, such as {{{fields(kind)[0].name}: ...}}")
    default = kind()
    known = {f.name for f in fields(kind)}
    for name, value in given.items():
        if name not in known:
            raise RuleError(f"`{name}` is no setting; known are {', '.join(sorted(known))}")
        if isinstance(getattr(default, name), int | float) and not isinstance(value, int | float):
            raise RuleError(f"`{name}` is {value!r}; expected a number")
    listed: dict[str, Any] = {
        n: tuple(v) if isinstance(v, Sequence) and not isinstance(v, str) else v for n, v in given.items()
    }
    return kind(**listed)
