"""The shell on published tables: what is typed and what is answered, directly and on a real terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.environment import Environment
from caudal.warehouse import versions
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.shell import COMMANDS, Shell
from caudal.warehouse.shell_input import is_whole, suggestions

WAIT_S = 120
RELATIONS = {"marts.daily_sales": ["day", "department", "sales"], "raw.pos__sales": ["day", "_file"]}
SLOW = "select count(*) from range(1000000000) a, range(1000000) b where hash(a.range * b.range) = 7;"


def publish(env, days: int = 3) -> str:
    return publish_tables(env, {"marts.daily_sales": pa.table({"day": list(range(days)), "sales": [1.5] * days})})


class Typed:
    """Lines as a person types them; what is callable is called in between, and interrupts where it raises."""

    def __init__(self, *lines: object) -> None:
        self.lines = list(lines)
        self.prompts: list[str] = []

    def line(self, prompt: str) -> str:
        self.prompts.append(prompt)
        if not self.lines:
            raise EOFError
        line = self.lines.pop(0)
        return line() if callable(line) else str(line)


@pytest.fixture(scope="module")
def stall(tmp_path_factory):
    """An environment with three days of sales, which no test changes."""
    env = Environment("local", "shop", Path(__file__).parents[2], tmp_path_factory.mktemp("stall"))
    publish(env)
    return env


def talk(env, *lines: object) -> str:
    """Type lines into a new shell; what it says."""
    said: list[str] = []
    shell = Shell(env, said.append)
    try:
        shell.run(Typed(*lines))
    finally:
        shell.close()
    return "\n".join(said)


@pytest.fixture
def session(stall):
    return lambda *lines: talk(stall, *lines)


def test_a_query_may_have_many_lines_and_ends_with_a_semicolon(session):
    said = session("select count(*) as days,", "'a;b' as text", "from daily_sales;")
    assert re.search(r"days\W+text", said)
    assert re.search(r"3\W+a;b", said)
    assert re.search(r"\(1 row, \d+\.\d{3} s\)", said)


def test_what_is_refused_is_told_and_the_shell_lives_on(session):
    said = session("drop table daily_sales;", "select * from no_such_table;", "select 1; select 2;", "from daily_sales;")
    assert "DROP is refused: published tables are read-only" in said
    assert "no_such_table" in said
    assert "found 2 statements" in said
    assert "(3 rows," in said


@pytest.mark.parametrize(
    "sql", ["from '/etc/passwd';", "from read_csv('/etc/passwd');", "set lock_configuration = false;", "attach 'x.db';"]
)
def test_other_files_cannot_be_reached(session, sql):
    assert "root:" not in (said := session(sql))
    assert "refused" in said or "disabled" in said or "Permission" in said or "not exist" in said


def test_tables_and_their_columns_are_listed(session):
    said = session(".tables", ".tables nothing", ".describe daily_sales", ".describe", ".describe no_such")
    assert "marts.daily_sales  2 columns" in said
    assert "No table has 'nothing'." in said
    assert re.search(r"sales\W+DOUBLE", said)
    assert "Say which table" in said
    assert "no_such" in said


def test_results_go_to_a_file_until_they_are_wanted_back(session, tmp_path):
    said = session(
        f".output {tmp_path}/a.csv",
        "from daily_sales order by day;",
        f".output {tmp_path}/a.parquet",
        "from daily_sales;",
        ".output",
        "select 41 + 1 as answer;",
        ".output a.xlsx",
        ".output /no/such/folder/a.csv",
    )
    assert (tmp_path / "a.csv").read_text().splitlines() == ['"day","sales"', "0,1.5", "1,1.5", "2,1.5"]
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 3
    assert f"(3 rows to {tmp_path}/a.csv," in said
    assert "42" in said
    assert "neither .csv nor .parquet" in said
    assert "There is no folder" in said


def test_a_newer_version_is_told_of_once_and_opened_when_asked(env):
    publish(env)
    first = versions.current(env)
    newer = []

    def publish_more() -> str:
        newer.append(publish(env, 5))
        return "select count(*) as n from daily_sales;"

    said = talk(
        env, publish_more, "select 1;", ".open", "select count(*) as n from daily_sales;", f".open {first}", "from daily_sales;"
    )
    assert said.count("has been published. `.open` moves to it.") == 1
    assert f"Reading version {newer[0]}." in said
    assert f"Reading version {first}." in said
    assert re.search(r"3\s+\(1 row.*5\s+\(1 row.*\(3 rows", said, re.DOTALL)


def test_versions_are_listed_and_one_that_is_not_kept_is_refused(stall, session):
    said = session(".open", ".open 1999")
    assert f"{versions.current(stall)} is the newest. There are:" in said
    assert "'1999'" in said


def test_ctrl_c_clears_what_is_typed(session):
    def interrupt() -> str:
        raise KeyboardInterrupt

    assert "(3 rows," in session("select rubbish", interrupt, "from daily_sales;")


def test_ctrl_c_ends_a_query_and_not_the_shell(session):
    def slow() -> str:
        import threading

        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        return SLOW

    began_s = time.monotonic()
    # The first query of a process imports what the others find: the signal is for a query that goes on.
    said = session("select 1;", slow, "from daily_sales;")
    assert "Cancelled." in said
    assert "(3 rows," in said
    assert time.monotonic() - began_s < WAIT_S / 2


def test_brackets_and_control_characters_of_values_are_shown(session):
    said = session("select '[red]x[/red]' as a, chr(27) || '[2J' as b;")
    assert "[red]x[/red]" in said
    assert "\x1b" not in said


def test_long_results_are_cut_and_it_is_said(session):
    said = session("select range as n from range(100000);")
    assert "(the first 500 rows; `.output` writes all," in said


def test_a_table_that_is_too_wide_is_shown_row_by_row(session):
    columns = ", ".join(f"{number} as c{number}" for number in range(60))
    said = session(f"select {columns};")
    assert "row 1" in said
    assert re.search(r"c59 +59", said)


def test_an_unknown_command_is_told_what_there_is(session):
    said = session(".tabels", ".help", "", ".quit", "never;")
    assert ".tabels is no command; there are: .describe" in said
    assert "Ctrl-C ends a query" in said
    assert "never" not in said


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("select 1;", True),
        ("select 1", False),
        ("select ';'", False),
        ("select ';", False),
        ("select 'it''s;';", True),
        ('select 1 as ";"', False),
        ("select 1; -- done", True),
        ("select 1 -- ;", False),
        ("select 1 /* ; */ ;  ", True),
        ("select 1; /* open", False),
        ("select $$;$$", False),
    ],
)
def test_a_query_is_whole_when_a_semicolon_that_ends_something_is_its_last(text, whole):
    assert is_whole(text) is whole


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (".de", [".describe"]),
        ("select * from dai", ["daily_sales"]),
        ("select * from marts.", ["marts.daily_sales"]),
        ("select daily_sales.d", ["daily_sales.day", "daily_sales.department"]),
        ("select depa", ["department"]),
        ("SEL", ["SELECT"]),
        ("select * from pos", ["pos__sales"]),
    ],
)
def test_tab_completes_commands_tables_columns_and_keywords(typed, found):
    assert suggestions(typed, COMMANDS, RELATIONS) == found


_WITH_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from caudal.cli import app
app()
"""


class Terminal:
    """`caudal sql` on a pseudo-terminal of its own."""

    def __init__(self, env, home) -> None:
        places = {"CAUDAL_ROOT": str(env.root), "CAUDAL_DATA": str(env.data), "HOME": str(home), "TERM": "dumb", "PAGER": "cat"}
        ours, theirs = pty.openpty()
        self.descriptor = ours
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WITH_TERMINAL, "sql", "--company", "shop"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, **places},
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C until the prompt is there: one that comes just before the query begins has nothing to cancel."""
        for _ in range(20):
            self.type("\x03")
            try:
                self.until(r"caudal> ", WAIT_S / 20)
            except AssertionError:
                continue
            return
        raise AssertionError(f"Ctrl-C brought no prompt; there is {self.seen!r}")

    def until(self, pattern: str, within_s: float = WAIT_S) -> str:
        """What was printed up to the pattern, which must come."""
        end_s = time.monotonic() + within_s
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.descriptor], [], [], max(0, end_s - time.monotonic()))
            assert ready, f"{pattern!r} did not come; there is {self.seen!r}"
            self.seen += os.read(self.descriptor, 65536).decode()
        before, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return before

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self.descriptor)


def test_on_a_terminal_it_completes_cancels_remembers_and_leaves(stall, tmp_path):
    terminal = Terminal(stall, tmp_path)
    try:
        assert "read-only" in terminal.until("caudal> ")
        terminal.type("select count(*) as n from dai\t;\n")
        assert re.search(r"3\W+\(1 row", terminal.until(r"\(1 row, [^)]*\)[\s\S]*caudal> "))
        terminal.type(SLOW + "\n")
        terminal.until(r"= 7;\s*\n")
        terminal.interrupt()
        terminal.type("select 41 + 1 as answer;\n")
        terminal.until(r"42[\s\S]*caudal> ")
        terminal.type("\x04")
        assert terminal.process.wait(WAIT_S) == 0
    finally:
        terminal.end()
    history = tmp_path / ".caudal_sql_history"
    assert "select count(*) as n from daily_sales" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_without_a_terminal_and_without_a_query_nothing_is_opened(env):
    places = {"CAUDAL_ROOT": str(env.root), "CAUDAL_DATA": str(env.data)}
    command = [sys.executable, "-m", "caudal.cli", "sql"]
    done = subprocess.run(
        command, env={**os.environ, **places}, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 2
    assert "the shell needs a terminal" in re.sub(r"[\s│]+", " ", done.stderr)
