"""A property of ODCS, read as a column.

What the standard has no word for is a custom property: `allowedValues`, `duration`, `falseValues`, `nanoseconds`,
`nullMarkers`, `numberFormat`, `renamedFrom`, `subjectKey`, `trueValues`, `unit`. Those of other names are other people's, and
are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from caudal.contracts.columns import Column
from caudal.contracts.formats import Duration, duration, strptime_format
from caudal.contracts.limits import option_problems
from caudal.contracts.masking import is_masked
from caudal.contracts.number_formats import NumberFormat, number_format
from caudal.contracts.odcs import SchemaItem, SchemaProperty
from caudal.contracts.property_limits import PropertyError, PropertyLimits

Place = tuple[str | int, ...]

_SUBJECT = re.compile(r"[a-z][a-z0-9_]*")


def column_of(declared: SchemaProperty | SchemaItem, null_markers: Sequence[str] = ()) -> Column:
    """The column that a property declares.

    Args:
        null_markers: of the whole contract.

    Raises:
        PropertyError: where it is wrong, and how.

    """
    return _Reader(declared, f"column `{declared.name}`", tuple(null_markers)).column()


class _Reader(PropertyLimits):
    """Reads one property."""

    def column(self) -> Column:
        declared, options = self._declared, self._options
        for name, problem in option_problems(options, self._type):
            raise self._refused(("logicalTypeOptions", name), problem)
        if self._inside:
            self._refuse_what_only_columns_have()
        precision, scale = self._digits()
        true_values, false_values = self._booleans()
        limits = self._limits()
        fields_, items = self._nested()
        if options.uniqueItems and items is None:
            raise self._refused(("logicalTypeOptions", "uniqueItems"), "uniqueItems needs `items`, which says what they are")
        return Column(
            name=declared.name,
            logical_type=self._type,
            description=(declared.description or "").strip(),
            precision=precision,
            scale=scale,
            required=declared.required or declared.primaryKey or self._tolerates_no("nullValues"),
            unique=declared.unique or self._tolerates_no("duplicateValues"),
            primary_key=declared.primaryKey,
            key_position=self._key_position(),
            format=self._format(),
            number_format=self._number_format(),
            duration=self._duration(),
            true_values=true_values,
            false_values=false_values,
            null_markers=self._null_markers(),
            timezone=options.timezone,
            cuts_nanoseconds=self._cuts_nanoseconds(),
            min_length=options.minLength,
            max_length=options.maxLength,
            pattern=options.pattern,
            min_items=options.minItems,
            max_items=options.maxItems,
            unique_items=options.uniqueItems,
            required_keys=self._required_keys(fields_),
            allowed=tuple(self._allowed()),
            renamed_from=self._texts("renamedFrom"),
            fields=fields_,
            items=items,
            classification=declared.classification or self._personal(),
            unit=self._custom.get("unit", (None, ()))[0],
            subject=self._subject(),
            **limits,
        )

    def _personal(self) -> str | None:
        """`personal` where the property says so by a tag, or by a custom property `personal` or `pii` that is true."""
        tagged = {str(tag).lower() for tag in self._declared.tags or ()} & {"personal", "personal-data", "pii"}
        return "personal" if tagged or any(self._declared.custom(name) is True for name in ("personal", "pii")) else None

    def _subject(self) -> str | None:
        """Whom the column's values identify. They are compared as text, so that they must have one form each."""
        if "subjectKey" not in self._custom:
            return None
        value, place = self._custom["subjectKey"]
        if self._inside or self._type not in ("string", "integer"):
            raise self._refused(place, "subjectKey is for columns of type string or integer, not for what is inside one")
        if not isinstance(value, str) or not _SUBJECT.fullmatch(value):
            raise self._refused(
                place, f"subjectKey is {value!r}; expected one word for whom it identifies, such as `household`"
            )
        if not is_masked(self._declared.classification or self._personal()):
            raise self._refused(place, "subjectKey is for columns that identify people: say `classification: personal` as well")
        return value

    def _refuse_what_only_columns_have(self) -> None:
        declared = self._declared
        for name, given in (("primaryKey", declared.primaryKey), ("unique", declared.unique)):
            if given:
                raise self._refused((name,), f"{name} is for columns, not for what is inside one")
        if "renamedFrom" in self._custom:
            raise self._refused(self._custom["renamedFrom"][1], "renamedFrom is for columns, not for what is inside one")

    def _format(self) -> str | None:
        """The format of a date, time or timestamp. Others' say what people may expect, or how wide they are."""
        given = self._options.format
        if given is None or self._type not in ("date", "time", "timestamp"):
            return None
        try:
            return strptime_format(given, self._type, timezone=self._options.timezone)
        except ValueError as bad:
            raise self._refused(("logicalTypeOptions", "format"), f"format {given!r}: {bad}") from None

    def _number_format(self) -> NumberFormat | None:
        return self._special("numberFormat", partial(number_format, logical_type=self._type), ("integer", "number"))

    def _duration(self) -> Duration | None:
        found = self._special("duration", duration, ("integer",))
        if found and "numberFormat" in self._custom:
            raise self._refused(self._custom["duration"][1], "it is a duration or has a number format, not both")
        return found

    def _cuts_nanoseconds(self) -> bool:
        if "nanoseconds" not in self._custom:
            return False
        value, place = self._custom["nanoseconds"]
        if self._type not in ("timestamp", "time") or self._options.format:
            told = "nanoseconds is for columns of type timestamp or time without a `format`"
            raise self._refused(place, told)
        if value != "cut":
            raise self._refused(place, f"nanoseconds is {value!r}; expected cut, or nothing where such values are refused")
        return True

    def _special(self, name: str, read: Any, types: Sequence[str]) -> Any:
        if name not in self._custom:
            return None
        value, place = self._custom[name]
        if self._type not in types:
            raise self._refused(place, f"{name} is for columns of type {' or '.join(types)}, and this is {self._type}")
        try:
            return read(value)
        except ValueError as bad:
            raise self._refused(place, f"{name}: {bad}") from None

    def _texts(self, name: str) -> tuple[str, ...]:
        if name not in self._custom:
            return ()
        value, place = self._custom[name]
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not listed or not all(isinstance(v, str) for v in listed):
            raise self._refused(place, f"{name} is {value!r}; expected a list of texts, each in quotes")
        return tuple(dict.fromkeys(listed))

    def _null_markers(self) -> tuple[str, ...]:
        if self._type in ("object", "array"):
            return self._texts("nullMarkers")
        return tuple(dict.fromkeys((*self._texts("nullMarkers"), *self._contract_markers)))

    def _booleans(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        true, false = self._texts("trueValues"), self._texts("falseValues")
        if not true and not false:
            return (), ()
        place = self._custom["trueValues" if true else "falseValues"][1]
        if self._type != "boolean":
            raise self._refused(place, f"trueValues and falseValues are for booleans, and this is {self._type}")
        both = {*true, "true"} & {*false, "false"}
        if not true or not false or both:
            why = f"{min(both)!r} is both" if both else "one is without the other"
            raise self._refused(place, f"trueValues and falseValues: {why}; expected two lists that share no text")
        return true, false

    def _key_position(self) -> int | None:
        given = self._declared.primaryKeyPosition
        if given == -1:
            return None
        if not self._declared.primaryKey or given < 1:
            raise self._refused(("primaryKeyPosition",), f"primaryKeyPosition is {given}; expected 1 or more, of a primaryKey")
        return given

    def _required_keys(self, fields_: Sequence[Column]) -> tuple[str, ...]:
        given = tuple(self._options.required)
        unknown = [name for name in given if name not in {c.name for c in fields_}]
        if unknown:
            raise self._refused(
                ("logicalTypeOptions", "required"), f"required names `{unknown[0]}`, which is none of its properties"
            )
        return given

    def _nested(self) -> tuple[tuple[Column, ...], Column | None]:
        declared, inner = self._declared, {}
        for index, given in enumerate(declared.properties or ()):
            place = ("properties", index)
            if self._type != "object":
                raise self._refused(("properties",), f"properties are for an object, and this is {self._type}")
            if given.name.lower() in inner:
                raise self._refused(place, f"property `{given.name}` is declared twice (case is not told apart)")
            inner[given.name.lower()] = self._inner(given, f"{self._path}.{given.name}", place)
        if declared.items is None:
            return tuple(inner.values()), None
        if self._type != "array":
            raise self._refused(("items",), f"items are for an array, and this is {self._type}")
        return (), self._inner(declared.items, f"{self._path}[]", ("items",))

    @property
    def _path(self) -> str:
        return self._label.removeprefix("column `").removesuffix("`")

    def _inner(self, given: SchemaProperty | SchemaItem, path: str, place: Place) -> Column:
        try:
            return _Reader(given, f"column `{path}`", self._contract_markers, is_inside=True).column()
        except PropertyError as bad:
            raise PropertyError((*place, *bad.place), str(bad)) from None
