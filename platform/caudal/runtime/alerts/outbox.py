"""Messages that are owed: claimed one at a time, and struck out only after they were sent.

A message is claimed in one transaction, sent, and recorded in another. Whoever dies in between leaves a claim, which runs out:
then it is sent again. So a message may come twice, and never not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from caudal.runtime.alerts.book import Book, select_incidents
from caudal.runtime.alerts.message import Incident, Occasion
from caudal.store.sqlite import reading, transaction

#: A claim is another's for so long; longer than one sending can take.
CLAIM_S = 120.0
#: The first wait after a failure, doubled with each, up to the longest.
FIRST_WAIT_S, LONGEST_WAIT_S = 15.0, 900.0


@dataclass(frozen=True)
class Claim:
    """A message that the caller is to send now."""

    number: int
    incident: Incident
    occasion: Occasion
    channel: str
    attempt: int


class Outbox:
    """The messages of a book."""

    def __init__(self, book: Book) -> None:
        self._path = book.path

    def waiting(self, now_s: float) -> set[str]:
        """The channels for which something may be sent now."""
        with reading(self._path) as db:
            due = "sent_s IS NULL AND NOT dropped AND next_s <= ? AND claimed_s <= ?"
            return {row[0] for row in db.execute(f"SELECT DISTINCT channel FROM message WHERE {due}", (now_s, now_s - CLAIM_S))}

    def unsent(self) -> int:
        with reading(self._path) as db:
            return db.execute("SELECT count(*) FROM message WHERE sent_s IS NULL AND NOT dropped").fetchone()[0]

    def failing(self) -> dict[str, str]:
        """The channels that take no messages now, and why."""
        with reading(self._path) as db:
            return dict(db.execute("SELECT name, problem FROM channel ORDER BY name").fetchall())

    def reroute(self, channels: Collection[str], default: Sequence[str]) -> None:
        """Give what is owed to channels that are no longer declared to the default ones."""
        with reading(self._path) as db:
            owed = db.execute("SELECT DISTINCT channel FROM message WHERE sent_s IS NULL AND NOT dropped").fetchall()
        gone = [name for (name,) in owed if name not in channels]
        if not gone:
            return
        with transaction(self._path) as db:
            for name in gone:
                for instead in default[1:]:
                    db.execute(
                        "INSERT INTO message (incident, occasion, channel, created_s, next_s) SELECT incident, occasion, ?, "
                        "created_s, 0 FROM message WHERE channel = ? AND sent_s IS NULL AND NOT dropped ORDER BY number",
                        (instead, name),
                    )
                db.execute(
                    "UPDATE message SET channel = ?, next_s = 0 WHERE channel = ? AND sent_s IS NULL AND NOT dropped",
                    (default[0], name),
                )

    def claim(self, channel: str, now_s: float) -> Claim | None:
        """The next message for the channel, if one may be sent now.

        Those tried least come first, so that one which is refused for what it says holds up no other; but those of one cause
        keep their order.
        """
        query = """
            SELECT m.number, m.incident, m.occasion, m.attempts FROM message m JOIN incident i ON i.number = m.incident
            WHERE m.channel = ? AND m.sent_s IS NULL AND NOT m.dropped AND m.next_s <= ? AND m.claimed_s <= ?
            AND NOT EXISTS (SELECT 1 FROM message e JOIN incident o ON o.number = e.incident WHERE o.fingerprint = i.fingerprint
                AND e.channel = m.channel AND e.number < m.number AND e.sent_s IS NULL AND NOT e.dropped)
            ORDER BY m.attempts, m.number LIMIT 1
        """
        with transaction(self._path) as db:
            row = db.execute(query, (channel, now_s, now_s - CLAIM_S)).fetchone()
            if row is None:
                return None
            number, incident, occasion, attempts = row
            db.execute("UPDATE message SET attempts = attempts + 1, claimed_s = ? WHERE number = ?", (now_s, number))
            (found,) = select_incidents(db, "number = ?", (incident,))
        return Claim(number, found, occasion, channel, attempts + 1)

    def sent(self, claim: Claim, now_s: float) -> str | None:
        """It was sent. What had failed before if the channel was failing until now; its other messages need not wait."""
        with transaction(self._path) as db:
            db.execute("UPDATE message SET sent_s = ? WHERE number = ?", (now_s, claim.number))
            before = db.execute("SELECT problem FROM channel WHERE name = ?", (claim.channel,)).fetchone()
            if before is None:
                return None
            db.execute("DELETE FROM channel WHERE name = ?", (claim.channel,))
            db.execute(
                "UPDATE message SET next_s = 0 WHERE channel = ? AND sent_s IS NULL AND NOT dropped AND attempts < 5",
                (claim.channel,),
            )
            return before[0]

    def failed(self, claim: Claim, problem: str, now_s: float) -> bool:
        """It could not be sent, and waits. Whether that is news: the channel did not fail before, or otherwise."""
        wait_s = min(FIRST_WAIT_S * 2 ** min(claim.attempt - 1, 20), LONGEST_WAIT_S)
        with transaction(self._path) as db:
            db.execute("UPDATE message SET next_s = ?, claimed_s = 0 WHERE number = ?", (now_s + wait_s, claim.number))
            before = db.execute("SELECT problem FROM channel WHERE name = ?", (claim.channel,)).fetchone()
            db.execute(
                "INSERT INTO channel VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET problem = excluded.problem",
                (claim.channel, now_s, problem),
            )
        return before is None or before[0] != problem
