"""Whatever fails, recovers, crashes or cannot be reached, in whatever order: each cause is told, once, and taken back, once."""

import contextlib
import tempfile
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.runtime.alerts.book import Book
from caudal.runtime.alerts.delivery import Undeliverable, _drain
from caudal.runtime.alerts.facts import Ended, Facts, Problem, Target
from caudal.runtime.alerts.outbox import CLAIM_S, LONGEST_WAIT_S, Outbox
from caudal.runtime.alerts.settings import Channel, Settings

CAUSES = ("a", "b", "c")
CHANNEL = Channel("people", variable="X")
SETTINGS = Settings(channels={"people": CHANNEL}, default=("people",), remind_hours=())

causes = st.sampled_from(CAUSES)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("fail"), causes),
        st.tuples(st.just("succeed"), causes),
        st.tuples(st.just("look"), st.booleans()),
        st.tuples(st.just("deliver"), st.sampled_from(["well", "unreachable", "killed before", "killed after"])),
        st.tuples(st.just("wait"), st.integers(1, 1000)),
    ),
    max_size=40,
)


class Killed(BaseException):
    """The process is gone."""


class World:
    """What really is, what people were told, and a platform that may be killed at any point."""

    def __init__(self, path):
        self.path = path
        self.now = 1_000_000.0
        self.runs = 0
        self.unseen = []
        self.failing = dict.fromkeys(CAUSES, False)
        self.inbox = []
        self.killed_in = set()

    def end(self, cause, failed):
        self.now += 0.001
        self.runs += 1
        self.failing[cause] = failed
        problem = Problem("run", cause, "disk full", occurrence=str(self.runs), at_s=self.now, targets=(Target(cause),))
        ended = (
            Ended(str(self.runs), self.now, problems=(problem,))
            if failed
            else Ended(str(self.runs), self.now, made={cause: frozenset({""})})
        )
        self.unseen.append(ended)

    def look(self, killed):
        """A look is a transaction: killed within, it is repeated."""
        self.now += 1
        if killed:
            return
        Book(self.path).look(Facts(ended=self.unseen), SETTINGS, self.now)
        self.unseen = []

    def deliver(self, how):
        self.now += 1

        def send(_channel, what):
            if how == "unreachable":
                raise Undeliverable("nobody there")
            if how == "killed before":
                raise Killed
            self.inbox.append(what.title)
            if how == "killed after":
                self.killed_in.add(len(self.inbox))
                raise Killed

        with contextlib.suppress(Killed):
            _drain(Outbox(Book(self.path)), SETTINGS, CHANNEL, send, lambda: self.now, time.monotonic() + 60)

    def settle(self):
        """Enough time for every claim and wait to run out."""
        self.look(killed=False)
        for _ in range(400):
            self.now += CLAIM_S + LONGEST_WAIT_S
            self.deliver("well")
            if not Outbox(Book(self.path)).unsent():
                return
        raise AssertionError("messages are stuck")


@settings(max_examples=40, deadline=None)
@given(actions)
def test_each_cause_is_told_and_taken_back_whatever_happens(steps):
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "alerts.db")
        for action, argument in steps:
            if action in {"fail", "succeed"}:
                world.end(argument, failed=action == "fail")
            elif action == "look":
                world.look(killed=argument)
            elif action == "deliver":
                world.deliver(argument)
            else:
                world.now += argument
        world.settle()
        open_causes = {incident.subject for incident in Book(world.path).incidents()}
        assert open_causes == {cause for cause, failing in world.failing.items() if failing}
        for cause in CAUSES:
            told = []
            for number, title in enumerate(world.inbox, 1):
                if f" {cause}" not in title.partition(":")[2][:3]:
                    continue
                word = "over" if title.startswith("Resolved") else "failed"
                # Only after a kill between sending and recording may the same be told twice.
                if told and told[-1][0] == word:
                    assert told[-1][1] in world.killed_in, world.inbox
                    told[-1] = (word, number)
                else:
                    told.append((word, number))
            words = [word for word, _ in told]
            assert words == ["failed", "over"] * (len(words) // 2) + ["failed"] * (len(words) % 2)
            assert (words[-1:] == ["failed"]) == world.failing[cause], (words, world.inbox)
