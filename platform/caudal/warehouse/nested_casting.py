"""Structs and lists -> what the contract declares, each value inside by the rules of a column: whole, or not at all.

A reason begins with the path to the first value that is to blame, such as `lines[2].price: not a number`; items count from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.warehouse.json_split import function_name
from caudal.warehouse.rules import violations
from caudal.warehouse.sql import first_of, identifier, text

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.contracts import Column
    from caudal.warehouse.casting import Cast


_REQUIRED = ": no value, and one is required"


@dataclass(frozen=True)
class Inner:
    """SQL over one value inside: the typed one; and what is wrong with it, after its path, or NULL."""

    value: str
    reason: str


@dataclass(frozen=True)
class Scalar:
    """How a value inside that is neither struct nor list is cast: from SQL of it, which is text or of a type of its own."""

    cast: Cast
    s: str
    is_text: bool

    def absent(self, column: Column) -> str:
        """A condition: it stands for no value."""
        blank_is_none = self.is_text and column.logical_type != "string"
        return f"nullif(trim({self.s}), '') IS NULL" if blank_is_none else f"{self.s} IS NULL"


@dataclass(frozen=True)
class Place:
    """A value inside: SQL of it, the Arrow type that it comes in (None: texts all through), its path, lists around it."""

    x: str
    kind: pa.DataType | None
    path: str
    depth: int = 0

    def field(self, name: str) -> Place | None:
        """The field of a struct; None where it has none of the name."""
        if self.kind is not None and self.kind.get_field_index(name) < 0:
            return None
        kind = None if self.kind is None else self.kind.field(name).type
        return Place(f"struct_extract({self.x}, {text(name)})", kind, f"{self.path}.{name}", self.depth)

    def item(self) -> Place:
        """The items of a list, one after the other."""
        return Place(f"e{self.depth}", None if self.kind is None else self.kind.value_type, f"{self.path}[]", self.depth + 1)


class OtherType(Exception):
    """The value at a path is of a type that is no form of the declared one. The message is the path."""


def unknown_fields(column: Column, kind: pa.DataType, path: str) -> Iterator[tuple[str, str | None]]:
    """Yield the path of each field inside that the contract does not have, and the declared name that differs only in case."""
    if not _is_form_of(column, kind):
        return
    if column.items is not None:
        yield from unknown_fields(column.items, kind.value_type, f"{path}[]")
        return
    declared = {field.name: field for field in column.fields}
    lowered = {name.lower(): name for name in declared}
    for field in kind:
        known = declared.get(field.name)
        if known is None:
            yield f"{path}.{field.name}", lowered.get(field.name.lower())
        elif known.is_nested:
            yield from unknown_fields(known, field.type, f"{path}.{field.name}")


def split_text(column: Column, s: str) -> str:
    """SQL of the JSON text `s` as STRUCT(fault, value), the values inside as text."""
    return f"{function_name(column)}({s})"


def nested(column: Column, x: str, kind: pa.DataType | None, scalar: Callable[[Column, Place], Scalar]) -> Inner:
    """The struct or list `x`: its typed value; and where it has none, why, told from the column's name on."""
    inner = _Builder(scalar).whole(column, Place(x, kind, column.name))
    reason = f"{text(column.name)} || {inner.reason}"
    return Inner(first_of((f"({reason}) IS NULL", inner.value)), reason)


@dataclass(frozen=True)
class _Builder:
    scalar: Callable[[Column, Place], Scalar]

    def whole(self, column: Column, place: Place) -> Inner:
        """A struct or a list, without the rules about it as a whole."""
        if place.kind is not None and not _is_form_of(column, place.kind):
            raise OtherType(place.path)
        return self._list(column.items, place) if column.items is not None else self._struct(column.fields, place)

    def _value(self, column: Column, place: Place) -> Inner:
        """Any value inside, with all its rules."""
        if column.is_nested:
            inner = self.whole(column, place)
            rules = list(_rules(column, inner.value, f"{place.x} IS NULL"))
            return Inner(inner.value, f"coalesce({inner.reason}, {first_of(*rules)})") if rules else inner
        scalar = self.scalar(column, place)
        value, absent = scalar.cast.value, scalar.absent(column)
        fault = (f"({value}) IS NULL AND NOT ({absent})", f"': ' || {scalar.cast.reason}")
        return Inner(value, first_of(fault, *_rules(column, value, absent)))

    def _struct(self, fields: Sequence[Column], place: Place) -> Inner:
        values, reasons = [], ["CAST(NULL AS VARCHAR)"]
        for field in fields:
            there = place.field(field.name)
            inner = self._value(field, there) if there else Inner("NULL", text(_REQUIRED) if field.required else "NULL")
            values.append(f"{identifier(field.name)} := CAST({inner.value} AS {field.duckdb_type})")
            reasons.append(f"{text(f'.{field.name}')} || {inner.reason}")
        present = f"{place.x} IS NOT NULL"
        value = first_of((present, f"struct_pack({', '.join(values)})"))
        return Inner(value, first_of((present, f"coalesce({', '.join(reasons)})")))

    def _list(self, items: Column, place: Place) -> Inner:
        item, at, why = f"e{place.depth}", f"i{place.depth}", f"r{place.depth}"
        inner = self._value(items, place.item())
        value = f"list_transform({place.x}, lambda {item}: CAST({inner.value} AS {items.duckdb_type}))"
        told = f"'[' || ({at} - 1) || ']' || {inner.reason}"
        reasons = f"list_transform({place.x}, lambda {item}, {at}: {told})"
        return Inner(value, f"list_filter({reasons}, lambda {why}: {why} IS NOT NULL)[1]")


def _rules(column: Column, value: str, absent: str) -> Iterator[tuple[str, str]]:
    if column.required:
        yield absent, text(_REQUIRED)
    elif column.null_refused:
        yield absent, text(f": {column.null_refused}")
    for condition, reason in violations(column, f"({value})"):
        yield condition, text(f": {reason}")


def _is_form_of(column: Column, kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) if column.items is not None else pa.types.is_struct(kind)
