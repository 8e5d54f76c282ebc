"""The rules of a contract: ODCS's `quality`, `relationships` and `slaProperties`, beyond what columns promise.

Of `quality` are read: `type: library` with `metric` (`nullValues`, `missingValues`, `invalidValues`, `duplicateValues`,
`rowCount`) and an operator (`mustBe...`, `unit: rows | percent`); `type: sql` with `query`, whose one number the operator
judges; `type: custom, engine: caudal`, whose `implementation` is a line as `rule_of` reads it. Of the library, what tolerates
none of a column's nulls, or none outside a list, is a promise of the column, kept at load; what tolerates none of its
duplicates is a test of dbt's source. Other types and engines are other people's, and are left alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from caudal.contracts.rules import (
    Bound,
    Kind,
    Rule,
    RuleError,
    Severity,
    check_name,
    checked_reference,
    default_severity,
    rule_of,
)

if TYPE_CHECKING:
    from caudal.contracts.odcs import DataContract, SchemaObject
    from caudal.declaration import Document, Place

METRICS: dict[str, Kind] = {
    "nullValues": "missing", "missingValues": "invalid", "invalidValues": "invalid", "duplicateValues": "duplicate",
    "rowCount": "count",
}  # fmt: skip

_WORDS: dict[str, Severity] = {
    **dict.fromkeys(("block", "blocking", "error", "critical", "high", "major"), "block"),
    **dict.fromkeys(("warn", "warning", "info", "low", "medium", "minor"), "warn"),
}
_WARNING_DIMENSIONS = ("timeliness", "coverage", "accuracy")
_HOURS = {
    "h": 1.0,
    "hour": 1.0,
    "d": 24.0,
    "day": 24.0,
    "m": 1 / 60,
    "min": 1 / 60,
    "minute": 1 / 60,
    "w": 168.0,
    "week": 168.0,
}


def rules_of(table: SchemaObject, declared: DataContract, document: Document) -> tuple[Rule, ...]:
    """The rules, in the order of the contract; no two of one name.

    Raises:
        caudal.declaration.DeclarationError: one is not understood; with file and line.

    """
    rules: list[Rule] = []
    for rule, place in _read(table, declared, document):
        taken = {r.name for r in rules}
        if rule.name in taken:
            raise document.error(place, f"two rules are called `{rule.name}`; give one of them another `name`")
        rules.append(rule)
    return tuple(rules)


def _read(table: SchemaObject, declared: DataContract, document: Document) -> Iterator[tuple[Rule, Place]]:
    names = [column.name for column in table.properties]
    found: list[tuple[Any, Place, str | None]] = []
    for index, column in enumerate(table.properties):
        home: Place = ("schema", 0, "properties", index)
        found += [(given, (*home, "quality", i), column.name) for i, given in enumerate(column.quality or ())]
        found += [(given, (*home, "relationships", i), column.name) for i, given in enumerate(column.relationships or ())]
    found += [(given, ("schema", 0, "quality", i), None) for i, given in enumerate(table.quality or ())]
    found += [(given, ("slaProperties", i), None) for i, given in enumerate(declared.slaProperties or ())]
    for given, place, column in found:
        if not isinstance(given, Mapping):
            continue
        try:
            if place[0] == "slaProperties":
                rule = _of_sla(given)
            elif "relationships" in place:
                rule = _of_relationship(given, str(column))
            else:
                rule = _of_quality(given, column)
            if rule is None:
                continue
            unknown = [c for c in (*rule.columns, *rule.distribution.columns, rule.volume.by) if c and c not in names]
            if unknown:
                raise RuleError(f"`{unknown[0]}` is no column of the contract; it has {', '.join(names)}")
        except (RuleError, TypeError) as bad:
            raise document.error(place, f"quality rule: {bad}") from None
        yield rule, place


def _of_quality(given: Mapping[str, Any], column: str | None) -> Rule | None:
    kind = given.get("type") or ("library" if "metric" in given else None)
    match kind:
        case "library":
            return _of_library(given, column)
        case "sql":
            query = given.get("query")
            if not isinstance(query, str) or not query.strip():
                raise RuleError("a rule of `type: sql` needs a `query` that selects one number")
            text = query.strip().rstrip(";")
            for mark, value in (("object", "this"), ("property", f'"{column}"' if column else "")):
                text = text.replace(f"${{{mark}}}", value).replace(f"{{{mark}}}", value)
            return _rule(given, "number", (column,) if column else (), bound=_bound(given), sql=text)
        case "custom" if given.get("engine") == "caudal":
            implementation = given.get("implementation")
            if not isinstance(implementation, Mapping):
                raise RuleError("`engine: caudal` needs an `implementation` of settings, such as {volume: {by: day}}")
            told = {name: given[name] for name in ("name", "description") if given.get(name)}
            own = rule_of(
                {**({"column": column} if column and _wants_column(implementation) else {}), **told, **implementation}
            )
            severity = implementation.get("severity") or _severity(given, own.kind)
            return rule_of({**({"column": column} if column and _wants_column(implementation) else {}), **told,
                            **implementation, "severity": severity})  # fmt: skip
        case _:
            return None


def _wants_column(implementation: Mapping[str, Any]) -> bool:
    return not {"sql", "unique", "freshness", "volume", "distribution"} & set(implementation)


def _of_library(given: Mapping[str, Any], column: str | None) -> Rule | None:
    metric = given.get("metric")
    if metric not in METRICS:
        close = difflib.get_close_matches(str(metric), METRICS, 1)
        hint = f"; is `{close[0]}` meant?" if close else f"; known are {', '.join(METRICS)}"
        raise RuleError(f"the metric {metric!r} is unknown{hint}")
    arguments = given.get("arguments") if isinstance(given.get("arguments"), Mapping) else {}
    assert arguments is not None
    kind, bound = METRICS[metric], _bound(given)
    is_promise = given.get("mustBe") == 0 and column is not None and "pattern" not in arguments
    if is_promise and metric in ("nullValues", "duplicateValues", "invalidValues"):
        return None
    columns: tuple[str, ...] = tuple(arguments.get("properties") or ()) or ((column,) if column else ())
    if kind != "count" and len(columns) == 0:
        raise RuleError(
            f"the metric `{metric}` of a table needs `arguments: {{properties: [...]}}`, the columns that it is about"
        )
    own: dict[str, Any] = {}
    if metric == "invalidValues":
        if not {"validValues", "pattern"} & set(arguments):
            raise RuleError("invalidValues needs `arguments` with `validValues` or `pattern`")
        own = {"allowed": tuple(arguments.get("validValues") or ()), "pattern": arguments.get("pattern")}
    if metric == "missingValues":
        listed = arguments.get("missingValues")
        if not isinstance(listed, list) or not listed:
            raise RuleError("missingValues needs `arguments: {missingValues: [...]}`, the values that stand for none")
        words = ", ".join("NULL" if v is None else "'" + str(v).replace("'", "''") + "'" for v in listed if v is not None)
        name = '"' + next(iter(columns)).replace('"', '""') + '"'
        absent = [f"{name} IS NULL"] if None in listed else []
        broken = " OR ".join([*absent, f"CAST({name} AS VARCHAR) IN ({words})"] if words else absent)
        kind, own = "rows", {"sql": f"SELECT * FROM this WHERE {broken}"}
    return _rule(given, kind, columns, bound=bound, **own)


def _of_relationship(given: Mapping[str, Any], column: str) -> Rule:
    if given.get("type", "foreignKey") != "foreignKey" or "to" not in given:
        raise RuleError("a relationship needs `to: <source>/<dataset>.<column>`, and is of `type: foreignKey`")
    custom = {c.get("property"): c.get("value") for c in given.get("customProperties") or () if isinstance(c, Mapping)}
    told = {**given, "severity": custom.get("severity")}
    reference = checked_reference(given["to"])
    return _rule(told, "reference", (column,), reference=reference)


def _of_sla(given: Mapping[str, Any]) -> Rule | None:
    """`{property: freshness, value: 26, unit: h, element: sales.sold_at}`, also under the name `latency`."""
    element = given.get("element")
    if given.get("property") not in ("freshness", "latency") or not isinstance(element, str):
        return None
    unit = str(given.get("unit", "")).lower()
    hours = _HOURS.get(unit) or _HOURS.get(unit.removesuffix("s"))
    value = given.get("value")
    if hours is None or isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise RuleError(f"{value!r} {unit!r} is no time; expected a number, and one of {', '.join(_HOURS)}")
    return _rule(given, "freshness", (element.rpartition(".")[2],), within_hours=value * hours)


def _rule(given: Mapping[str, Any], kind: Kind, columns: tuple[str, ...], **own: Any) -> Rule:
    words = {"count": "row_count", "number": "sql"}.get(kind, kind)
    name = check_name(str(given.get("name") or given.get("id") or "_".join([words, *columns])))
    return Rule(name, kind, _severity(given, kind), columns, str(given.get("description") or "").strip(), **own)


def _severity(given: Mapping[str, Any], kind: Kind) -> Severity:
    word = given.get("severity")
    if word is None:
        return "warn" if str(given.get("dimension") or "").lower() in _WARNING_DIMENSIONS else default_severity(kind)
    if str(word).lower() not in _WORDS:
        raise RuleError(f"severity is {word!r}; expected `block` (or error, critical, high) or `warn` (or warning, info, low)")
    return _WORDS[str(word).lower()]


def _bound(given: Mapping[str, Any]) -> Bound:
    unit = given.get("unit") or "rows"
    if unit not in ("rows", "percent"):
        raise RuleError(f"unit is {unit!r}; expected `rows` or `percent`")
    operators = [name for name in given if name.startswith("must")]
    if len(operators) != 1:
        raise RuleError("it needs one operator, such as `mustBe: 0`, `mustBeLessThan: 5` or `mustBeBetween: [1, 9]`")
    name, value = operators[0], given[operators[0]]
    pair = name.endswith("Between")
    numbers = value if pair and isinstance(value, list) else [value]
    if len(numbers) != 1 + pair or any(isinstance(v, bool) or not isinstance(v, int | float) for v in numbers):
        raise RuleError(f"{name} is {value!r}; expected {'two numbers' if pair else 'a number'}")
    first = numbers[0]
    match name:
        case "mustBe" | "mustNotBe":
            return Bound(first, first, outside=name == "mustNotBe", unit=unit)
        case "mustBeGreaterThan" | "mustBeGreaterOrEqualTo":
            return Bound(first, None, open_low=name == "mustBeGreaterThan", unit=unit)
        case "mustBeLessThan" | "mustBeLessOrEqualTo":
            return Bound(None, first, open_high=name == "mustBeLessThan", unit=unit)
        case "mustBeBetween" | "mustNotBeBetween":
            return Bound(first, numbers[1], outside=name == "mustNotBeBetween", unit=unit)
        case _:
            raise RuleError(f"the operator `{name}` is unknown")
