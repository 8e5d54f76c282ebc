"""The rows of an XML document, as its parser comes upon them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xml.parsers.expat import XMLParserType

    from caudal.lake.options import XmlOptions

#: What an element takes beside its text.
_ELEMENT_BYTES = 64

_XSI = "http://www.w3.org/2001/XMLSchema-instance"


class Refused(Exception):
    """Something that is never read. The message says what, and what to do."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        values: text, None, or what becomes JSON text, by column.
        line: on which its element starts.
        fault: why it is refused.

    """

    values: dict[str, Any]
    line: int
    fault: str | None = None


@dataclass
class _Element:
    name: str
    attributes: dict[str, str]
    is_nil: bool = False
    text: list[str] = field(default_factory=list)
    children: list[_Element] = field(default_factory=list)

    @property
    def joined(self) -> str:
        return "".join(self.text)


class RecordHandler:
    """Collects rows while a document is parsed.

    Attributes:
        others: names of elements that stand where rows should.
        row_bytes: about how large the row is that is not at its end.

    """

    #: Between the URI and the name, in what the parser gives: no character of XML.
    separator = "\x1f"

    def __init__(self, options: XmlOptions, depth: int) -> None:
        self._steps = [self._step(step, options) for step in options.steps]
        self._wanted = options.steps
        self._prefixes = {uri: prefix for prefix, uri in options.namespaces.items()}
        self._most = depth
        self._depth = self._matched = 0
        self._open: list[_Element] = []
        self._fault: str | None = None
        self._line = 0
        self._called: dict[str, str] = {}
        self._rows: list[Row] = []
        self.others: set[str] = set()
        self.row_bytes = 0

    def listen_to(self, parser: XMLParserType) -> None:
        """Be told by `parser` what it comes upon."""
        self._parser = parser
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype

    def take(self) -> list[Row]:
        """The rows since it was called last."""
        rows, self._rows = self._rows, []
        return rows

    @staticmethod
    def _step(step: str, options: XmlOptions) -> tuple[str | None, str]:
        prefix, _, name = step.rpartition(":")
        return (options.namespaces[prefix] if prefix else None), name

    def _doctype(self, *_: object) -> None:
        raise Refused(
            "a document type declaration (`<!DOCTYPE`), which may unfold to any size or read other files, is not read. "
            "Deliver the document without one"
        )

    def _start(self, full: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > self._most:
            raise Refused(f"elements are nested more than {self._most} deep. If that is right, raise `limits.depth`")
        if self._open:
            self._add(full, attributes)
            return
        if self._depth != self._matched + 1:
            return
        uri, _, name = full.rpartition(self.separator)
        wanted_uri, wanted = self._steps[self._matched]
        if name != wanted or (wanted_uri is not None and uri != wanted_uri):
            if self._depth == 1:
                raise Refused(f"the root element is `{name}`; expected `{self._wanted[0]}`. Correct `xml.record`")
            self.others.add("/".join([*self._wanted[: self._matched], name]))
            return
        self._matched += 1
        if self._matched == len(self._steps):
            self._line, self._fault, self.row_bytes = self._parser.CurrentLineNumber, None, 0
            self._add(full, attributes)

    def _add(self, full: str, given: dict[str, str]) -> None:
        attributes, is_nil = {}, False
        for name, value in given.items():
            uri, _, local = name.rpartition(self.separator)
            self.row_bytes += len(name) + len(value)
            if uri == _XSI:
                is_nil = is_nil or (local == "nil" and value.strip() in ("true", "1"))
                continue
            called = f"@{self._name(name)}"
            if called in attributes:
                self._fault = f"attributes `{called[1:]}` of two namespaces; declare `xml.namespaces`"
            attributes[called] = value
        self.row_bytes += len(full) + _ELEMENT_BYTES
        element = _Element(full, attributes, is_nil)
        if self._open:
            self._open[-1].children.append(element)
        self._open.append(element)

    def _characters(self, text: str) -> None:
        if self._open:
            self._open[-1].text.append(text)
            self.row_bytes += len(text)

    def _end(self, _name: str) -> None:
        self._depth -= 1
        if self._open:
            element = self._open.pop()
            if element.children and element.joined.strip():
                self._fault = f"text and elements stand side by side in `{self._name(element.name)}`"
            if self._open:
                return
            values = self._columns(element)
            self._rows.append(Row(values, self._line, self._fault))
            self.row_bytes = 0
        self._matched = min(self._matched, self._depth)

    def _columns(self, record: _Element) -> dict[str, Any]:
        if not record.children and record.joined.strip():
            self._fault = "text stands in the row itself; expected elements"
        values: dict[str, Any] = dict(record.attributes)
        for name, elements in self._grouped(record).items():
            (first, *more) = elements
            found: dict[str, Any] = {}
            if more:
                found[name] = [self._nested(e) for e in elements]
            elif first.children:
                found[name] = self._nested(first)
            else:
                found = {f"{name}/{attribute}": value for attribute, value in first.attributes.items()}
                found[name] = None if first.is_nil else first.joined
            values |= found
        return values

    def _nested(self, element: _Element) -> Any:
        if not element.children and not element.attributes:
            return None if element.is_nil else element.joined
        values: dict[str, Any] = dict(element.attributes)
        for name, elements in self._grouped(element).items():
            found = [self._nested(e) for e in elements]
            values[name] = found if len(found) > 1 else found[0]
        if not element.children:
            values["#text"] = None if element.is_nil else element.joined
        return values

    def _grouped(self, element: _Element) -> dict[str, list[_Element]]:
        """The children by what they are called."""
        groups: dict[str, list[_Element]] = {}
        for child in element.children:
            group = groups.setdefault(self._name(child.name), [])
            if group and group[0].name != child.name:
                self._fault = f"elements `{self._name(child.name)}` of two namespaces; declare `xml.namespaces`"
            group.append(child)
        return groups

    def _name(self, full: str) -> str:
        """What a name is called: with its prefix, if its namespace is declared."""
        called = self._called.get(full)
        if called is None:
            uri, _, name = full.rpartition(self.separator)
            prefix = self._prefixes.get(uri)
            called = self._called[full] = f"{prefix}:{name}" if prefix else name
        return called
