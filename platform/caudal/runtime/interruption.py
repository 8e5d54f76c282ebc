"""One interruption, whichever way a person or the system asks for it."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager


class Interrupted(BaseException):
    """A signal asked this process to stop."""


@contextmanager
def signals_interrupt() -> Generator[None]:
    """Ctrl-C, a request to terminate and a closed terminal all interrupt once; while stopping they are ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(_number: int, _frame: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
