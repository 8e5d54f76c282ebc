"""The time that a profile may take. What is not needed for it is left out when time runs out, and the page says so."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    import duckdb

#: Nothing that can be left out is begun later than this share of the time.
LATEST_BEGIN = 0.7


class ProfileTookTooLong(TimeoutError):
    """Not even the figures of the columns were there in time. The message says what can be done."""


class Allowance:
    """Seconds for one profile, from now on. `left_out` names what there was no time for."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self._began = time.monotonic()
        self.left_out: list[str] = []

    @contextmanager
    def needed(self, relation: str) -> Generator[None]:
        """What a profile is not one without.

        Raises:
            ProfileTookTooLong: the time was over first.

        """
        import duckdb

        try:
            with self._interrupting():
                yield
        except duckdb.InterruptException:
            raise ProfileTookTooLong(
                f"the profile of {relation} was not done after {self._seconds:g} seconds; give it more with `timeout_s` where "
                "the profiles are declared"
            ) from None

    @contextmanager
    def optional(self, what: str) -> Generator[bool]:
        """What can be left out. Gives whether there is time to begin; its queries end when the time is over."""
        import duckdb

        if time.monotonic() - self._began > LATEST_BEGIN * self._seconds:
            self.left_out.append(what)
            yield False
            return
        try:
            with self._interrupting():
                yield True
        except duckdb.InterruptException:
            self.left_out.append(what)

    @contextmanager
    def _interrupting(self) -> Generator[None]:
        left = self._seconds - (time.monotonic() - self._began)
        timer = threading.Timer(max(left, 0), self._connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
