"""What a person types into the shell: when a query is whole, what it could go on with, what was typed before."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

HISTORY_LINES = 5_000
KEYWORDS = tuple(
    """select from where group by order having limit join left inner full on using with as and or not in is null between like
    ilike case when then else end distinct union all except intersect describe show summarize explain asc desc over partition
    count sum avg min max date_trunc qualify exclude""".split()  # noqa: SIM905 - to be read as a list of words
)

#: Texts, quoted names and comments: a semicolon in one of these ends nothing. One that is still open reaches to the end.
_OPAQUE = re.compile(r"'[^']*('|\Z)|\"[^\"]*(\"|\Z)|--[^\n]*|/\*.*?(\*/|\Z)|\$\$.*?(\$\$|\Z)", re.DOTALL)
_WORD = re.compile(r"[\w.$]*\Z")


def is_whole(text: str) -> bool:
    """Whether the query is at its end: a semicolon that stands in no text, name or comment is the last of it."""
    return _plain(text).rstrip().endswith(";")


def _plain(text: str) -> str:
    def blank(found: re.Match[str]) -> str:
        whole = found.group()
        is_comment = whole.startswith("--") or (whole.startswith("/*") and whole.endswith("*/"))
        return " " if is_comment else "x"

    return _OPAQUE.sub(blank, text)


def suggestions(typed: str, commands: Sequence[str], relations: dict[str, Sequence[str]]) -> list[str]:
    """What the last word of `typed` could become: a command, a table, one of its columns, a keyword."""
    match = _WORD.search(typed)
    word = match.group() if match else ""
    if typed.startswith(".") and " " not in typed:
        return [command for command in commands if command.startswith(typed)]
    lowered = word.lower()
    owner, dot, start = word.rpartition(".")
    if dot and owner:
        columns = relations.get(owner) or relations.get(_full(owner, relations), ())
        found = [f"{owner}.{column}" for column in columns if column.lower().startswith(start.lower())]
        return sorted({*found, *(name for name in relations if name.lower().startswith(lowered))})
    plain = {name.rpartition(".")[2] for name in relations} | {name.partition(".")[0] + "." for name in relations}
    columns = {column for each in relations.values() for column in each}
    keywords = [each.upper() if word.isupper() else each for each in KEYWORDS]
    return sorted(name for name in {*plain, *columns, *keywords} if name.lower().startswith(lowered))


def _full(name: str, relations: dict[str, Sequence[str]]) -> str:
    return next((each for each in relations if each.rpartition(".")[2] == name), "")


class LineReader:
    """Lines from the terminal, with history and completion where Python has readline.

    Args:
        complete: what a line typed so far could go on with.
        history: the file in which lines are kept, for the person alone.

    """

    def __init__(self, complete: Callable[[str], list[str]], history: Path) -> None:
        self._history = history
        self._complete = complete
        self._found: list[str] = []
        try:
            import readline
        except ImportError:  # pragma: no cover - Pythons without it are rare
            self._readline = None
            return
        self._readline = readline
        readline.set_completer(self._next)
        readline.set_completer_delims(" \t\n,()=<>+-*/;")
        readline.parse_and_bind("tab: complete")
        with suppress(OSError):
            readline.read_history_file(history)

    def line(self, prompt: str) -> str:
        """One line, without its end.

        Raises:
            EOFError: there are no more.

        """
        return input(prompt)

    def close(self) -> None:
        """Keep the history."""
        if self._readline is None:
            return
        self._readline.set_completer(None)
        with suppress(OSError):
            self._history.parent.mkdir(parents=True, exist_ok=True)
            self._history.touch(mode=0o600)
            self._readline.set_history_length(HISTORY_LINES)
            self._readline.write_history_file(self._history)

    def _next(self, word: str, state: int) -> str | None:
        if state == 0 and self._readline is not None:
            typed = self._readline.get_line_buffer()[: self._readline.get_endidx()]
            self._found = [found for found in self._complete(typed) if found.lower().startswith(word.lower())]
        return self._found[state] if state < len(self._found) else None
