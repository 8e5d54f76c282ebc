"""`caudal sql` without a query: a shell on published tables.

It reads one version, as long as the person stays with it; a newer one is told of before the next prompt. A query runs in a
thread, so that Ctrl-C ends the query and not the shell. What may be asked is what `query.run` answers: queries, and nothing
that writes or reaches other files; `.output` writes the file that the person names.
"""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from caudal.warehouse import versions
from caudal.warehouse.loaded import connect_published_or_loaded
from caudal.warehouse.published import connect
from caudal.warehouse.query import RefusedQuery, check_query, confine, write_csv, write_parquet
from caudal.warehouse.shell_input import LineReader, is_whole, suggestions
from caudal.warehouse.shell_output import drawn
from caudal.warehouse.sql import identifier

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment

HELP = """\
A query ends with `;` and may have many lines. Ctrl-C ends a query or clears what is typed, Ctrl-D leaves, Tab completes.
  .tables [WORD]      tables, views and their columns' number; those whose name has the word
  .describe TABLE     the columns of a table
  .open [VERSION]     the newest version, or one that is kept; without a version, and on the newest, those there are
  .output [FILE]      write the next results to a .csv or .parquet file; without a file, show them again
  .help               this
  .quit               leave"""
COMMANDS = (".describe", ".help", ".open", ".output", ".quit", ".tables")
_WRITERS: dict[str, Callable[[Any, Any], int]] = {".csv": write_csv, ".parquet": write_parquet}


class Lines(Protocol):
    """Where lines come from."""

    def line(self, prompt: str) -> str:
        """The next line; EOFError at the end."""
        ...


class Shell:
    """One person's session.

    Args:
        say: takes what is to be read, a text of one or more lines; `page` the same where it may be long.

    """

    def __init__(self, env: Environment, say: Callable[[str], None] = print, page: Callable[[str], None] | None = None) -> None:
        self._env = env
        self._say = say
        self._page = page or say
        self._output: Path | None = None
        self._told: str | None = None
        self.version = ""
        self._newest = True
        self._relations: dict[str, list[str]] = {}
        self._connection: duckdb.DuckDBPyConnection
        self.open()

    def open(self, version: str | None = None) -> None:
        """Read the newest version from now on, or another that is kept.

        Raises:
            caudal.warehouse.versions.NoSuchVersion: it is not kept; the message says which are.
            caudal.warehouse.published.NothingPublished: there is none yet.

        """
        if self._env.cloud is not None:
            raise RefusedQuery(
                "The shell reads a DuckDB file, and what is published is in BigQuery. Give one query, as in `caudal sql "
                "'select ...'`: what it will cost is said, and BigQuery runs it. Or use BigQuery's console"
            )
        kept = versions.find(self._env, version) if version else None
        newest = versions.current(self._env) or ""
        connection = connect(self._env, kept.file) if kept else connect_published_or_loaded(self._env)
        self.version = kept.name if kept else newest
        confine(connection, self._env)
        if self._relations:
            self._connection.close()
        self._connection, self._newest = connection, version is None
        found = connection.execute(
            "SELECT schema_name || '.' || table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() "
            "WHERE NOT internal AND schema_name <> 'caudal' AND database_name = current_database() GROUP BY 1 ORDER BY 1"
        )
        self._relations = dict(found.fetchall())

    def run(self, lines: Lines) -> None:
        """Answer until the person leaves."""
        reading = f"Version {self.version}" if self.version else "Nothing is published yet: raw tables as they were loaded"
        self._say(f"{reading}, read-only, {len(self._relations)} tables. `.help` tells what there is.")
        typed: list[str] = []
        while True:
            try:
                if not typed:
                    self._tell_of_newer()
                typed.append(lines.line("   ...> " if typed else "caudal> "))
                text = "\n".join(typed).strip()
                if text in (".quit", ".exit"):
                    return
                if not text or text.startswith(".") or is_whole(text):
                    typed = []
                    self._take(text)
            except KeyboardInterrupt:
                self._say("")
                typed = []
            except EOFError:
                self._say("")
                return

    def _take(self, text: str) -> None:
        if text.startswith("."):
            self.command(text)
        elif text:
            self.answer(text)

    def complete(self, typed: str) -> list[str]:
        """What the line typed so far could go on with."""
        return suggestions(typed, COMMANDS, dict(self._relations))

    def command(self, text: str) -> None:
        """Do what a line that starts with a dot says."""
        word, _, rest = text.partition(" ")
        rest = rest.strip().rstrip(";").strip()
        known = {".tables": self._tables, ".describe": self._describe, ".open": self._open, ".output": self._set_output}
        if word == ".help":
            self._say(HELP)
        elif word in known:
            known[word](rest)
        else:
            self._say(f"{word} is no command; there are: {', '.join(COMMANDS)}")

    def answer(self, sql: str) -> None:
        """Run one query and show or write its result, with what it took."""
        began_s = time.monotonic()
        try:
            told, body = self._cancellable(lambda: self._result(sql))
        except _Cancelled:
            self._say("Cancelled.")
        except Exception as refused:
            if not _is_a_refusal(refused):
                raise
            self._say(str(refused))
        else:
            if body:
                self._page(body)
            self._say(f"({told}, {time.monotonic() - began_s:.3f} s)")

    def close(self) -> None:
        """Let go of the version."""
        self._connection.close()

    def _result(self, sql: str) -> tuple[str, str]:
        check_query(self._connection, sql)
        reader = self._connection.execute(sql).to_arrow_reader(10_000)
        if self._output is None:
            return drawn(reader)
        with self._output.open("wb") as out:
            rows = _WRITERS[self._output.suffix.lower()](reader, out)
        return f"{rows:,} rows to {self._output}", ""

    def _cancellable(self, work: Callable[[], tuple[str, str]]) -> tuple[str, str]:
        """The result of `work`, which runs in a thread; Ctrl-C interrupts the connection's query, and is waited for."""
        ended: list[Any] = []

        def worker() -> None:
            try:
                ended.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
                ended.append(error)

        cancelled = threading.Event()
        thread = threading.Thread(target=worker, name="query", daemon=True)
        with _on_ctrl_c(cancelled.set):
            thread.start()
            while thread.is_alive():
                thread.join(0.1)
                if cancelled.is_set():  # Again and again: between two of its parts a query takes no interrupt.
                    self._connection.interrupt()
        if cancelled.is_set():
            raise _Cancelled
        if isinstance(ended[0], BaseException):
            raise ended[0]
        return ended[0]

    def _tell_of_newer(self) -> None:
        newest = versions.current(self._env)
        if self._newest and newest and newest not in (self.version, self._told):
            self._told = newest
            self._say(f"A newer version, {newest}, has been published. `.open` moves to it.")

    def _tables(self, word: str) -> None:
        found = [(name, columns) for name, columns in self._relations.items() if word.lower() in name.lower()]
        width = max((len(name) for name, _ in found), default=0)
        self._page(
            "\n".join(f"{name:<{width}}  {len(columns)} columns" for name, columns in found) or f"No table has {word!r}."
        )

    def _describe(self, table: str) -> None:
        name = ".".join(identifier(part.strip('"')) for part in table.split(".", 1))
        if not table:
            self._say("Say which table: `.describe daily_sales`")
        else:
            self.answer(f'SELECT column_name, column_type, "null" FROM (DESCRIBE {name})')

    def _open(self, version: str) -> None:
        if not version and self.version and self._newest and self.version == versions.current(self._env):
            listed = "\n".join(f"  {each.name}" for each in versions.kept(self._env))
            self._say(f"{self.version} is the newest. There are:\n{listed}")
            return
        try:
            self.open(version or None)
        except (versions.NoSuchVersion, FileNotFoundError) as missing:
            self._say(str(missing))
        else:
            self._say(f"Reading version {self.version}." if self.version else "Reading what is loaded by now.")

    def _set_output(self, given: str) -> None:
        path = Path(given).expanduser()
        if not given:
            self._output = None
            self._say("Results are shown.")
        elif path.suffix.lower() not in _WRITERS:
            self._say(f"{given} ends with neither .csv nor .parquet, so its format is unknown.")
        elif not path.parent.is_dir():
            self._say(f"There is no folder {path.parent}.")
        else:
            self._output = path
            self._say(f"The next results go to {path}, each in place of the one before. `.output` shows them again.")


@contextmanager
def _on_ctrl_c(do: Callable[[], object]) -> Generator[None]:
    """Within the block Ctrl-C does this, and raises nothing. Only the main thread hears of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _signal, _frame: do())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Cancelled(Exception):
    """The person does not want the answer any more."""


def shell(env: Environment) -> None:
    """The shell on this terminal, until the person leaves.

    Raises:
        caudal.warehouse.published.NothingPublished: nothing is there to be read yet.

    """
    session = Shell(env, page=_page)
    lines = LineReader(session.complete, Path.home() / ".caudal_sql_history")
    try:
        session.run(lines)
    finally:
        lines.close()
        session.close()


def _is_a_refusal(error: Exception) -> bool:
    import duckdb

    return isinstance(error, (RefusedQuery, duckdb.Error, OSError))


def _page(text: str) -> None:
    """Show it at once where it fits, else in the person's pager."""
    if text.count("\n") + 3 < shutil.get_terminal_size().lines:
        sys.stdout.write(f"{text}\n")
        return
    import pydoc

    pydoc.pager(text)
