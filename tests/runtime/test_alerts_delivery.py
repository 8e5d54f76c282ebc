"""Messages on their way: real HTTP and SMTP servers, broken channels, killed processes, and no secret anywhere."""

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from caudal.runtime.alerts.book import Book
from caudal.runtime.alerts.delivery import deliver, try_out
from caudal.runtime.alerts.facts import Ended, Facts, Problem, Target
from caudal.runtime.alerts.message import message, plain
from caudal.runtime.alerts.outbox import CLAIM_S, Outbox
from caudal.runtime.alerts.settings import LOG, LOGGER, Channel, Route, Settings
from tests.services.servers import free_port

WEBHOOK = Channel("hook", variable="TEST_HOOK_URL")
MAIL = Channel("mail", variable="TEST_MAIL_URL")


class Hook(BaseHTTPRequestHandler):
    """A webhook's server."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        server.posted.append(json.loads(body))
        self.send_response(server.status)
        self.end_headers()

    def log_message(self, *_args):
        pass


@pytest.fixture
def hook(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.posted, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("TEST_HOOK_URL", f"http://127.0.0.1:{server.server_address[1]}/hook/s3cr3t-t0ken")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def mailbox(monkeypatch):
    from aiosmtpd.controller import Controller

    class Mailbox:
        def __init__(self):
            self.got = []

        async def handle_DATA(self, _server, _session, envelope):
            self.got.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
            return "250 OK"

    mailbox = Mailbox()
    port = free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    monkeypatch.setenv("TEST_MAIL_URL", f"mailto://127.0.0.1:{port}/?from=caudal@example.com&to=team@example.com&mode=insecure")
    yield mailbox
    controller.stop()


def at(later, start=None):
    """A clock that stands, so many seconds after the start, or from now."""
    now = (time.time() if start is None else start) + later
    return lambda: now


def problem(subject="marts/daily", detail="RuntimeError: disk full", **more):
    given = {"occurrence": "1", "at_s": time.time(), "targets": (Target(subject),), "link": "/runs/1"} | more
    return Problem("run", subject, detail, **given)


def fail(book, settings, *problems):
    book.look(Facts(ended=[Ended(p.occurrence, p.at_s, problems=(p,)) for p in problems]), settings, time.time())


def mend(book, settings, subject="marts/daily"):
    ended = Ended("", time.time() + 1, made={subject: frozenset({""})})
    book.look(Facts(ended=[ended]), settings, time.time())


def settings(*channels, **more):
    return Settings(
        channels={c.name: c for c in channels}, default=tuple(c.name for c in channels), ui_url="https://ui.example", **more
    )


def test_a_webhook_is_posted_what_failed_and_that_it_is_over(env, hook):
    book, to = Book.of(env), settings(WEBHOOK)
    fail(book, to, problem(owners=("team:a",)))
    deliver(book, to)
    mend(book, to)
    deliver(book, to)
    failed, over = hook.posted
    assert (failed["title"], failed["type"]) == ("Failed: marts/daily", "warning")
    assert "RuntimeError: disk full" in failed["message"]
    assert "https://ui.example/runs/1" in failed["message"]
    assert (over["title"], over["type"]) == ("Resolved: marts/daily: failed", "success")
    assert Outbox(book).unsent() == 0


def test_a_mail_is_delivered_with_markup_shown_as_text(env, mailbox):
    book, to = Book.of(env), settings(MAIL)
    fail(book, to, problem(detail="column <b>x</b> & <script>alert(1)</script>"))
    deliver(book, to)
    ((recipients, mail),) = mailbox.got
    assert recipients == ["team@example.com"]
    assert mail["subject"] == "Failed: marts/daily"
    html, text = mail.get_body(("html",)), mail.get_body(("plain", "html")).get_content()
    assert html is None or "<script>" not in html.get_content()
    assert "script" in text


def test_owners_are_told_by_their_routes_and_what_fits_none_by_the_default(env, hook, mailbox):
    book = Book.of(env)
    to = Settings(
        channels={c.name: c for c in (WEBHOOK, MAIL, Channel(LOG))},
        routes=(Route(("team:data-*",), ("hook",)), Route(("ann@example.com",), ("mail", "hook"), ("late",))),
    )
    assert to.channels_for("run", ("team:data-lake",)) == ("hook",)
    assert to.channels_for("late", ("ann@example.com", "team:data-lake")) == ("hook", "mail")
    assert to.channels_for("run", ("ann@example.com",)) == (LOG,)
    fail(book, to, problem("x", owners=("team:data-lake",)), problem("y", owners=("team:other",)))
    deliver(book, to)
    assert [post["title"] for post in hook.posted] == ["Failed: x"]
    assert mailbox.got == []


def test_a_broken_channel_is_told_of_once_loses_nothing_and_holds_up_no_other(env, hook, mailbox, caplog):
    book, to = Book.of(env), settings(WEBHOOK, MAIL)
    hook.status = 500
    later = 0.0
    fail(book, to, problem())
    for _ in range(4):
        deliver(book, to, clock=at(later))
        later += 1000
    assert len(mailbox.got) == 1
    assert len(hook.posted) == 4
    said = [r.getMessage() for r in caplog.records if r.name == LOGGER]
    assert said == ["Alerts channel hook: the message was not taken (HTTP status 500). Messages are kept, and tried again."]
    fail(book, to, problem("another"))
    hook.status = 200
    deliver(book, to, clock=at(later))
    assert sorted(post["title"] for post in hook.posted[4:]) == ["Failed: another", "Failed: marts/daily"]
    assert "Alerts channel hook takes messages again." in caplog.text
    assert Outbox(book).unsent() == 0


def test_a_failing_channel_is_tried_less_and_less_often(env):
    book, to = Book.of(env), settings(Channel("nowhere", variable="NOT_SET_ANYWHERE"))
    fail(book, to, problem())
    start, now, tried = time.time(), 0.0, []
    outbox = Outbox(book)
    while now < 4000:
        if outbox.waiting(start + now):
            tried.append(now)
            deliver(book, to, clock=at(now, start))
        now += 15
    assert [b - a for a, b in itertools.pairwise(tried)] == [15, 30, 60, 120, 240, 480, 900, 900, 900]
    assert outbox.failing() == {"nowhere": "the environment variable NOT_SET_ANYWHERE is not set"}


def test_a_channel_that_hangs_holds_up_nobody(env):
    book, to = Book.of(env), settings(Channel("slow", variable="A"), Channel("fast", variable="B"))
    sent, release = [], threading.Event()

    def send(channel, _what):
        if channel.name == "slow":
            release.wait(60)
        sent.append(channel.name)

    fail(book, to, problem())
    began = time.monotonic()
    deliver(book, to, within_s=1.0, send=send)
    assert time.monotonic() - began < 30
    assert sent == ["fast"]
    deliver(book, to, within_s=0.1, send=send)  # and is not told the same by another thread meanwhile
    release.set()
    deadline = time.monotonic() + 60
    while Outbox(book).unsent() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sent == ["fast", "slow"]


def test_no_address_stands_in_a_log_or_an_error(env, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TEST_HOOK_URL", "http://127.0.0.1:9/hook/s3cr3t-t0ken")
    monkeypatch.setenv("TEST_MAIL_URL", "mailto://ann:s3cr3t-t0ken@127.0.0.1:9/?to=b@example.com")
    odd = Channel("odd", variable="TEST_ODD_URL")
    monkeypatch.setenv("TEST_ODD_URL", "nosuch://s3cr3t-t0ken")
    outcome = try_out(settings(WEBHOOK, MAIL, odd))
    assert all(outcome.values())
    assert "none that apprise knows" in outcome["odd"]
    book, to = Book.of(env), settings(WEBHOOK, MAIL, odd)
    fail(book, to, problem())
    deliver(book, to)
    assert Outbox(book).unsent() == 3
    assert "s3cr3t" not in caplog.text
    assert "s3cr3t" not in str(outcome)
    assert b"s3cr3t" not in book.path.read_bytes()


def test_what_is_owed_to_a_channel_that_is_gone_goes_to_the_default_ones(env, hook):
    book = Book.of(env)
    fail(book, settings(Channel("gone", variable="GONE")), problem())
    deliver(book, settings(WEBHOOK))
    assert [post["title"] for post in hook.posted] == ["Failed: marts/daily"]


def test_five_hundred_runs_that_fail_for_one_cause_are_one_message(env, hook):
    book, to = Book.of(env), settings(WEBHOOK)
    failures = [problem(detail=f"part {n} of /tmp/{n}/x is broken", occurrence=str(n)) for n in range(500)]
    for start in range(0, 500, 100):
        fail(book, to, *failures[start : start + 100])
        deliver(book, to)
    assert [post["title"] for post in hook.posted] == ["Failed: marts/daily (100 times)"]
    (incident,) = book.incidents()
    assert incident.count == 500
    later = time.time() + 4 * 3600
    book.look(Facts(), to, later)
    book.look(Facts(), to, later)
    deliver(book, to)
    book.look(Facts(), to, later + 3600)
    deliver(book, to)
    assert [post["title"] for post in hook.posted][1:] == ["Still failed: marts/daily (500 times)"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from caudal.runtime.alerts import delivery
from caudal.runtime.alerts.book import Book
from caudal.runtime.alerts.settings import Channel, Settings

def send(channel, what):
    delivery.send_now(channel, what)
    os.kill(os.getpid(), signal.SIGKILL)

channel = Channel("hook", variable="TEST_HOOK_URL")
delivery.deliver(Book(Path(sys.argv[1])), Settings(channels={"hook": channel}, default=("hook",)), send=send)
"""


def test_a_message_whose_sender_was_killed_before_recording_it_is_sent_again(env, hook):
    book, to = Book.of(env), settings(WEBHOOK)
    fail(book, to, problem())
    done = subprocess.run([sys.executable, "-c", _KILLED, str(book.path)], env=os.environ, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(hook.posted) == 1
    deliver(book, to)  # the claim of the dead still holds
    assert len(hook.posted) == 1
    deliver(book, to, clock=at(CLAIM_S + 1))
    assert [post["title"] for post in hook.posted] == ["Failed: marts/daily"] * 2
    assert Outbox(book).unsent() == 0


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("<!channel> @everyone [click](http://x)", "\u2039!channel\u203a @\u200beveryone (click)(http://x)"),
        ("postgres://ann:pw@db/x?password=pw2 token: abc", "postgres://db/x?password=... token: ..."),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ..."),
        ("two\nlines\x1b[31m", "two lines (31m"),
        ("x" * 50, "x" * 19 + "\u2026"),
    ],
)
def test_what_an_error_says_is_shown_without_effect(error, shown):
    assert plain(error, 20 if error.startswith("xx") else 100) == shown


def test_a_message_is_of_bounded_size(env):
    book, to = Book.of(env), settings(WEBHOOK)
    fail(book, to, problem("s" * 5000, "d" * 100_000, owners=tuple(f"team:{n}" for n in range(500))))
    (incident,) = book.incidents()
    told = message(incident, "opened", "https://ui.example")
    assert len(told.title) <= 200
    assert len(told.text) <= 1500
    assert "https://ui.example/runs/1" in told.text
