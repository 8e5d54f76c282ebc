"""What of a mutation's arguments is written down: what it aimed at; no secret, no values of a run's configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

HIDDEN = "***"
LIMIT_CHARACTERS = 500
LIMIT_ITEMS = 50
LIMIT_DEPTH = 8
LIMIT_RECORD_CHARACTERS = 8_000

_SECRET_NAME = re.compile(
    r"passw|passphrase|secret|token|credential|api.?key|access.?key|private|authori[sz]ation|signature|cookie|session|dsn|conn.*str",
    re.IGNORECASE,
)
#: Whatever stands below these may hold a secret in any place: names are kept, values are not.
_VALUES_HIDDEN = frozenset({"runconfigdata", "runconfig", "attributes", "metadata", "config"})
_IN_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@]+@")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+")
_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
#: Arguments that name what a mutation aims at.
_TARGETS = {
    "runid": "run",
    "runids": "run",
    "parentrunid": "run",
    "backfillid": "backfill",
    "schedulename": "schedule",
    "sensorname": "sensor",
    "jobname": "job",
    "pipelinename": "job",
    "concurrencykey": "pool",
    "repositorylocationname": "location",
    "locationname": "location",
    "partitionsdefname": "partitions",
    "componentid": "component",
    "checkname": "check",
}
_ASSETS = frozenset({"assetkey", "assetkeys", "assetselection"})


def redacted(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, without secrets and no longer than a page."""
    found = {str(name): _redacted(name, value, LIMIT_DEPTH) for name, value in arguments.items()}
    text = json.dumps(found)
    if len(text) > LIMIT_RECORD_CHARACTERS:
        return {"cut": text[:LIMIT_RECORD_CHARACTERS]}
    return found


def targets(arguments: Mapping[str, Any]) -> list[str]:
    """What a mutation aims at, such as `run:6f1c...` or `asset:marts/sales/daily_sales`, each once."""
    return list(dict.fromkeys(_targets(arguments, LIMIT_DEPTH)))[:LIMIT_ITEMS]


def tag_names(arguments: Any, depth: int = LIMIT_DEPTH) -> Iterator[str]:
    """The names of all tags in the arguments."""
    if depth == 0:
        return
    if isinstance(arguments, Mapping):
        if set(arguments) == {"key", "value"}:
            yield str(arguments["key"])
        for inner in arguments.values():
            yield from tag_names(inner, depth - 1)
    elif isinstance(arguments, Sequence) and not isinstance(arguments, str | bytes):
        for inner in arguments:
            yield from tag_names(inner, depth - 1)


def _redacted(name: str, value: Any, depth: int, *, hidden: bool = False) -> Any:
    if _SECRET_NAME.search(str(name)) and value is not None:
        return HIDDEN
    if name.lower().replace("_", "") in _VALUES_HIDDEN:
        hidden, value = True, _unpacked(value)
    if value is None or isinstance(value, bool):
        return value
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        if set(value) == {"key", "value"}:  # a tag, whose name is its key
            return {"key": _text(value["key"]), "value": _redacted(str(value["key"]), value["value"], depth - 1, hidden=hidden)}
        items = list(value.items())[:LIMIT_ITEMS]
        return {_text(key): _redacted(str(key), inner, depth - 1, hidden=hidden) for key, inner in items}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        shown = [_redacted("", inner, depth - 1, hidden=hidden) for inner in value[:LIMIT_ITEMS]]
        return [*shown, f"... {len(value) - LIMIT_ITEMS} more"] if len(value) > LIMIT_ITEMS else shown
    if hidden:
        return HIDDEN
    if isinstance(value, int | float):
        return value
    return _text(value.value if isinstance(value, Enum) else value)


def _unpacked(value: Any) -> Any:
    """A configuration that is given as text, as what the text says."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        return HIDDEN
    return found if isinstance(found, dict | list) else HIDDEN


def _text(value: Any) -> str:
    text = _JWT.sub(HIDDEN, _BEARER.sub(rf"\1 {HIDDEN}", _IN_URL.sub(rf"\1{HIDDEN}@", str(value))))
    return text if len(text) <= LIMIT_CHARACTERS else text[:LIMIT_CHARACTERS] + "..."


def _targets(value: Any, depth: int) -> Iterator[str]:
    if depth == 0:
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            plain = str(name).lower().replace("_", "")
            if plain in _TARGETS:
                yield from (f"{_TARGETS[plain]}:{_text(one)}" for one in _each(inner) if isinstance(one, str))
            elif plain in _ASSETS:
                yield from (f"asset:{path}" for path in _asset_paths(inner))
            elif plain not in _VALUES_HIDDEN:
                yield from _targets(inner, depth - 1)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for inner in value:
            yield from _targets(inner, depth - 1)


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _asset_paths(value: Any) -> Iterator[str]:
    for one in _each(value):
        path = one.get("path") if isinstance(one, Mapping) else None
        if isinstance(path, Sequence) and not isinstance(path, str):
            yield _text("/".join(map(str, path)))
