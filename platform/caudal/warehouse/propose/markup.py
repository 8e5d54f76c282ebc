"""Which elements of an XML document are its rows: the outermost that are there again and again, and hold something."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate

from caudal.warehouse.propose.table import NoProposal

#: Looked at from the start of a document.
_HEAD_BYTES = 8 << 20

_DEPTH = 64


def record_path(file: Path, name: str) -> str:
    """The names that lead to the rows from the root on, such as `orders/order`.

    Raises:
        NoProposal: it is no XML, declares entities, or holds no such element.

    """
    elements = _Elements(name)
    parser = ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = elements.start, elements.end
    parser.EntityDeclHandler = elements.entity
    with file.open("rb") as opened:
        head = opened.read(_HEAD_BYTES)
        whole = len(head) < _HEAD_BYTES
    try:
        parser.Parse(head, whole)
    except ExpatError as bad:
        raise NoProposal(f"{name}: not well-formed XML: {bad}") from None
    inner = [path for path in elements.counts if len(path) > 1 and path in elements.holding]
    repeated = [path for path in inner if elements.counts[path] > 1]
    if not inner:
        raise NoProposal(f"{name}: no element in the XML document holds others: there is no row to be found")
    return "/".join(min(repeated or inner, key=lambda path: (len(path), -elements.counts[path])))


class _Elements:
    """Counts elements by the names that lead to them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._path: tuple[str, ...] = ()
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.holding: set[tuple[str, ...]] = set()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.holding.add(self._path)
        self._path = (*self._path, tag.rpartition(" ")[2])
        if len(self._path) > _DEPTH:
            raise NoProposal(f"{self._name}: elements of XML more than {_DEPTH} deep in each other are not read")
        self.counts[self._path] += 1
        if attributes:
            self.holding.add(self._path)

    def end(self, _tag: str) -> None:
        self._path = self._path[:-1]

    def entity(self, *_declared: Any) -> None:
        raise NoProposal(f"{self._name}: it declares XML entities, which are not read. Deliver it without")
