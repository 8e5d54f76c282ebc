"""A time limit for what runs in this process's main thread.

When it is over, `TimedOut` is raised where the program is: the step ends as if it had raised that itself, and whatever it
holds is released by its own `finally`. Code that does not come back to the interpreter, or that goes on in spite of it, is
reported as stuck after a grace: then its process has to end.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Self

#: How long after its limit something may take to end.
GRACE_S = 30.0

#: Raised again and again, for code that catches everything.
_AGAIN_S = 5.0


class TimedOut(Exception):
    """Something took longer than its limit. The message names both."""


class Deadline:
    """`limit_s` from entering on. What `running` surrounds is interrupted; what is between is not, but counts.

    Args:
        limit_s: seconds.
        what: for the message, such as `raw/shop/sales`.
        stuck: called in another thread, if it goes on `grace_s` after its limit.
        grace_s: see there.

    """

    def __init__(self, limit_s: float, what: str, stuck: Callable[[str], None], grace_s: float = GRACE_S) -> None:
        self._limit_s = limit_s
        self._message = f"{what} took longer than its limit of {limit_s:g} s (`caudal/timeout_s`)"
        self._inside = False
        self._over_s = 0.0
        self._timer = threading.Timer(limit_s + grace_s, stuck, [f"{self._message}, and did not end when it was told to"])
        self._timer.daemon = True
        self._previous: object = None
        self._by_signal = False

    def __enter__(self) -> Self:
        self._over_s = time.monotonic() + self._limit_s
        self._timer.start()
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getitimer(signal.ITIMER_REAL)[0] == 0:  # else it is somebody else's
            self._previous = signal.signal(signal.SIGALRM, self._alarm)
            signal.setitimer(signal.ITIMER_REAL, self._limit_s, _AGAIN_S)
            self._by_signal = True
        return self

    def __exit__(self, *_: object) -> None:
        self._inside = False
        self._timer.cancel()
        if self._by_signal:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._previous)  # ty: ignore[invalid-argument-type]

    @contextmanager
    def running(self) -> Generator[None]:
        """What may be interrupted.

        Raises:
            TimedOut: the limit was over before it began, or is meanwhile.

        """
        if time.monotonic() >= self._over_s:
            raise TimedOut(self._message)
        self._inside = True
        try:
            yield
        finally:
            self._inside = False

    def _alarm(self, _signal: int, _frame: FrameType | None) -> None:
        if self._inside:
            raise TimedOut(self._message)
