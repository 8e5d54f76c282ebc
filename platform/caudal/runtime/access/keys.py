"""The public keys of a sign-in (JWKS, RFC 7517), from a file or a URL. They are kept for a while, and may be rotated."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from caudal.runtime.access.settings import TokenSettings

Key = Mapping[str, Any]

FETCH_TIMEOUT_S = 5.0
LIMIT_BYTES = 1_000_000
#: However many tokens with unknown keys arrive, the issuer is asked no more often than this.
PAUSE_S = 30.0
#: An issuer that cannot be reached does not lock everybody out at once: known keys are good for so long.
STALE_S = 86_400.0


class NoKeys(Exception):
    """The public keys cannot be had. The message says from where and why; nobody can be recognized."""


class KeySource(Protocol):
    """Where the keys come from."""

    def keys(self, wanted: str | None) -> Sequence[Key]:
        """The keys, new ones if none is named `wanted`.

        Raises:
            NoKeys: there are none.
        """
        ...


def source_of(settings: TokenSettings) -> KeySource:
    """The source that the settings name."""
    if settings.keys_file is not None:
        return KeysFile(settings.keys_file)
    return KeysUrl(settings.keys_url or "", settings.keys_lifetime_s)


@dataclass
class KeysFile:
    """Keys in a file, which is read again when it was changed."""

    path: Path
    _read: tuple[tuple[int, int, int], Sequence[Key]] | None = None

    def keys(self, wanted: str | None) -> Sequence[Key]:  # noqa: ARG002 - a changed file is always seen
        try:
            found = self.path.stat()
            version = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._read is None or self._read[0] != version:
                self._read = (version, _parse(self.path.read_bytes(), str(self.path)))
        except OSError as problem:
            raise NoKeys(f"{self.path} cannot be read: {problem.strerror}") from None
        return self._read[1]


class _StayPut(urllib.request.HTTPRedirectHandler):
    """Keys come from the address that the settings name, and from no other that it points to."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


def fetch(url: str) -> bytes:
    """What is at `url`, without following it elsewhere.

    Raises:
        OSError: it cannot be had, or is larger than keys are.
    """
    opener = urllib.request.build_opener(_StayPut)
    with opener.open(url, timeout=FETCH_TIMEOUT_S) as answer:
        found = answer.read(LIMIT_BYTES + 1)
    if len(found) > LIMIT_BYTES:
        raise OSError(f"it is larger than {LIMIT_BYTES:,} bytes")
    return found


@dataclass
class KeysUrl:
    """Keys at a URL. While one thread asks for them, the others wait for its answer."""

    url: str
    lifetime_s: float
    fetch: Callable[[str], bytes] = fetch
    clock: Callable[[], float] = time.monotonic
    _keys: Sequence[Key] = ()
    _fetched_s: float = float("-inf")
    _asked_s: float = float("-inf")
    _problem: str = "they were not asked for yet"
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keys(self, wanted: str | None) -> Sequence[Key]:
        with self._lock:
            now_s = self.clock()
            known = any(key.get("kid") == wanted for key in self._keys)
            due = now_s - self._fetched_s > self.lifetime_s or not known
            if due and now_s - self._asked_s >= PAUSE_S:
                self._asked_s = now_s
                self._ask(now_s)
            if not self._keys or now_s - self._fetched_s > max(STALE_S, self.lifetime_s):
                raise NoKeys(f"The keys at {self.url} cannot be had: {self._problem}")
            return self._keys

    def _ask(self, now_s: float) -> None:
        try:
            self._keys = _parse(self.fetch(self.url), self.url)
            self._fetched_s = now_s
        except NoKeys as problem:
            self._problem = str(problem)
        except (OSError, ValueError) as problem:
            self._problem = f"{type(problem).__name__}: {problem}"


def _parse(content: bytes, where: str) -> Sequence[Key]:
    """The keys of a JWKS document that can be public keys of signatures."""
    try:
        document = json.loads(content)
        found = document["keys"]
    except (ValueError, KeyError, TypeError):
        raise NoKeys(f'{where} is no JWKS document; expected JSON such as {{"keys": [...]}}') from None
    keys = [key for key in found if isinstance(key, dict)] if isinstance(found, list) else []
    if not keys:
        raise NoKeys(f"{where} holds no key")
    return tuple(keys)
