"""What a property of ODCS says that values must be: digits, limits, steps, allowed values."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from caudal.contracts.limits import decimal_digits, integer_range, limit_value, step
from caudal.contracts.odcs import CustomProperty, SchemaItem, SchemaProperty

Place = tuple[str | int, ...]

CUSTOM = (
    "allowedValues", "duration", "falseValues", "nanoseconds", "nullMarkers", "numberFormat", "renamedFrom", "subjectKey",
    "trueValues", "unit",
)  # fmt: skip

_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


class PropertyError(ValueError):
    """What a property says is not understood. `place` is where in it."""

    def __init__(self, place: Place, problem: str) -> None:
        super().__init__(problem)
        self.place = place


class PropertyLimits:
    """One property. Problems are told with `label`, a column or a path inside one."""

    def __init__(
        self, declared: SchemaProperty | SchemaItem, label: str, null_markers: tuple[str, ...], *, is_inside: bool = False
    ) -> None:
        self._declared = declared
        self._label = label
        self._contract_markers = null_markers
        self._inside = is_inside
        self._type = declared.logicalType
        self._options = declared.logicalTypeOptions
        self._custom = dict(_customs(declared.customProperties, label))

    def _refused(self, place: Place, problem: object) -> PropertyError:
        return PropertyError(place, f"{self._label}: {problem}")

    def _digits(self) -> tuple[int | None, int | None]:
        if self._type != "number":
            return None, None
        width, physical = self._options.format, self._declared.physicalType
        if width not in (None, "f64"):
            raise self._refused(
                ("logicalTypeOptions", "format"),
                f"format is {width!r}, and the standard knows widths only; expected f64 for a DOUBLE, or the custom property "
                "`numberFormat` for how numbers are written",
            )
        try:
            digits = decimal_digits("DOUBLE" if width and physical is None else physical)
        except ValueError as bad:
            raise self._refused(("physicalType",), bad) from None
        if width and digits[0] is not None:
            raise self._refused(("logicalTypeOptions", "format"), f"format f64 is a DOUBLE, and physicalType is {physical!r}")
        return digits

    def _limits(self) -> dict[str, Any]:
        found = {name: self._limit(getattr(self._options, name), ("logicalTypeOptions", name)) for name in _LIMITS}
        if self._type == "integer":
            try:
                smallest, largest = integer_range(self._options.format)
            except ValueError as bad:
                raise self._refused(("logicalTypeOptions", "format"), bad) from None
            found["minimum"] = _tighter(max, found["minimum"], smallest)
            found["maximum"] = _tighter(min, found["maximum"], largest)
        low, high = (
            _tighter(max, found["minimum"], found["exclusiveMinimum"]),
            _tighter(min, found["maximum"], found["exclusiveMaximum"]),
        )
        if low is not None and high is not None and low > high:
            name = "minimum" if low == found["minimum"] else "exclusiveMinimum"
            raise self._refused(("logicalTypeOptions", name), f"minimum {low} is above maximum {high}")
        return {
            "minimum": found["minimum"],
            "maximum": found["maximum"],
            "exclusive_minimum": found["exclusiveMinimum"],
            "exclusive_maximum": found["exclusiveMaximum"],
            "multiple_of": self._step(),
        }

    def _step(self) -> Any:
        given, place = self._options.multipleOf, ("logicalTypeOptions", "multipleOf")
        if given is None:
            return None
        if self._type == "number" and self._digits()[0] is None:
            raise self._refused(place, "multipleOf of a DOUBLE, which holds few decimals exactly; declare DECIMAL")
        try:
            return step(given, self._type)
        except ValueError as bad:
            raise self._refused(place, f"multipleOf: {bad}") from None

    def _limit(self, value: Any, place: Place) -> Any:
        try:
            return None if value is None else limit_value(value, self._type, timezone=self._options.timezone)
        except ValueError as bad:
            raise self._refused(place, f"{place[-1]}: {bad}") from None

    def _allowed(self) -> Iterator[Any]:
        """The values of the custom property `allowedValues`, or of the standard's quality rule of no `invalidValues`."""
        rules = [(i, rule["arguments"]) for i, rule in self._intolerant("invalidValues")]
        listed: list[tuple[Any, Place]] = []
        listed += [(given["validValues"], ("quality", i)) for i, given in rules if "validValues" in given]
        if "allowedValues" in self._custom:
            listed.append(self._custom["allowedValues"])
        if len(listed) > 1:
            raise self._refused(listed[-1][1], "the allowed values are listed more than once; keep one list")
        for values, place in listed:
            if not isinstance(values, list) or not values:
                raise self._refused(place, f"allowedValues is {values!r}; expected a list")
            for value in values:
                if value is None:
                    raise self._refused(place, "null is no allowed value; a column without `required` accepts it")
                yield self._limit(value, (*place, "value"))

    def _intolerant(self, metric: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The quality rules that want none of something: `mustBe: 0` of the metric."""
        for index, rule in enumerate(self._declared.quality or ()):
            if isinstance(rule, Mapping) and rule.get("metric") == metric and rule.get("mustBe") == 0:
                arguments = rule.get("arguments")
                yield index, {**rule, "arguments": arguments if isinstance(arguments, Mapping) else {}}

    def _tolerates_no(self, metric: str) -> bool:
        return any(True for _ in self._intolerant(metric))


def _customs(given: Sequence[CustomProperty], label: str) -> Iterator[tuple[str, tuple[Any, Place]]]:
    seen = set()
    for index, custom in enumerate(given):
        place = ("customProperties", index, "value")
        if custom.property in seen and custom.property in CUSTOM:
            raise PropertyError(place[:2], f"{label}: the custom property `{custom.property}` is given twice; keep one")
        if custom.property not in CUSTOM and (meant := difflib.get_close_matches(custom.property, CUSTOM, 1, 0.85)):
            raise PropertyError(
                place[:2], f"{label}: the custom property `{custom.property}` is unknown; is `{meant[0]}` meant?"
            )
        seen.add(custom.property)
        yield custom.property, (custom.value, place)


def _tighter(choose: Any, one: Any, other: Any) -> Any:
    return choose((v for v in (one, other) if v is not None), default=None)
