"""The process that looks at Dagster's instance for `caudal up`, which has no need to import Dagster itself.

    python -m caudal.runtime.observer COMPANY SINCE_S POLL_S DESCRIPTOR

sends an `Observation` through the pipe each time it has looked, until nobody reads them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import warnings
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from caudal.forking.client import UNKNOWN_STATUS
from caudal.runtime.supervisor import Process, Service, Supervisor

if TYPE_CHECKING:
    from caudal.runtime.observation import Subject
    from caudal.runtime.progress import Observation


class CannotObserve(RuntimeError):
    """Nobody can tell what goes on. The log of the observer says why."""


@dataclass
class Watching:
    """The reading end: what the process saw last."""

    supervisor: Supervisor
    command: tuple[str, ...]
    _process: Process = field(init=False)
    _pipe: Connection = field(init=False)

    @classmethod
    def of(cls, supervisor: Supervisor, company: str, since_s: float, poll_s: float) -> Watching:
        """Start the process."""
        watching = cls(supervisor, (sys.executable, "-m", "caudal.runtime.observer", company, repr(since_s), repr(poll_s)))
        watching.start()
        return watching

    def start(self) -> None:
        reading, writing = os.pipe()
        try:
            self._process = self.supervisor.run(Service("observer", self.command), [writing])
        finally:
            os.close(writing)
        self._pipe = Connection(reading, writable=False)

    def newest(self, within_s: float) -> Observation | None:
        """The newest observation that has not been given yet, waiting for one; None if there is none.

        A process that was killed is started again.

        Raises:
            CannotObserve: it ended by itself.
        """
        seen = None
        try:
            while self._pipe.poll(0.0 if seen is not None else within_s):
                seen = self._pipe.recv()
        except (EOFError, OSError):
            self._pipe.close()
            status = self._process.wait(10)
            if 0 <= status != UNKNOWN_STATUS:
                raise CannotObserve(f"the process that looks at Dagster's state ended with exit code {status}") from None
            self.start()
        return seen

    def stop(self) -> None:
        """The process ends when it finds nobody reading; this does not wait for that."""
        self._pipe.close()
        self._process.terminate()


def main(arguments: list[str]) -> int:
    """Look, until the pipe is closed; the exit status."""
    import dagster as dg

    from caudal.environment import Environment
    from caudal.runtime.observation import Observer, ledger_files

    company, since_s, poll_s = arguments[0], float(arguments[1]), float(arguments[2])
    env = Environment.current(company)
    subject = _subject(company)
    with Connection(int(arguments[3]), readable=False) as pipe, dg.DagsterInstance.get() as instance:
        observer = Observer(instance, subject, ledger_files(env.state / "ledger.db"), since_s)
        while True:
            try:
                pipe.send(observer.look())
            except OSError:
                return 0
            time.sleep(poll_s)


def _subject(company: str) -> Subject:
    """What is looked at. The definitions, which are large beside it, are loaded by a process that ends with them."""
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)
    loading = context.Process(target=_tell_subject, args=(company, writing))
    loading.start()
    writing.close()
    try:
        return reading.recv()
    except EOFError:
        raise CannotObserve(f"the definitions of {company} could not be loaded; why is told above") from None
    finally:
        loading.join()


def _tell_subject(company: str, writing: Connection) -> None:
    from caudal.runtime.location import load_definitions
    from caudal.runtime.observation import Subject

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the code server has logged them
        writing.send(Subject.of(load_definitions(company), company))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
