"""Sending what is owed, each channel by itself: a slow or broken one holds up no other.

Nothing here says an address: not in the log, not in an error. What apprise logs is not shown, for it may hold addresses.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from caudal.environment import NoSecret
from caudal.runtime.alerts.book import Book
from caudal.runtime.alerts.message import Message, message
from caudal.runtime.alerts.outbox import Outbox
from caudal.runtime.alerts.settings import LOGGER, Channel, Settings

if TYPE_CHECKING:
    from collections.abc import Generator

#: One sending may take so long at each of connecting and reading, as far as the service's client obeys.
CONNECT_S, READ_S = 5.0, 10.0
#: So many messages go through a channel in one round.
AT_ONCE = 20

log = logging.getLogger(LOGGER)

Send = Callable[[Channel, Message], None]


class Undeliverable(Exception):
    """A message was not taken. The text says why, without any address."""


def deliver(
    book: Book,
    settings: Settings,
    *,
    within_s: float = 25.0,
    send: Send | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Send what is due. Returns after `within_s`, when a channel may still be busy with its last message."""
    outbox = Outbox(book)
    outbox.reroute(settings.channels, settings.default)
    deadline = time.monotonic() + within_s
    due = sorted(outbox.waiting(clock()))
    busy = [
        threading.Thread(
            target=_drain, args=(outbox, settings, settings.channels[name], send or send_now, clock, deadline), daemon=True
        )
        for name in due
    ]
    for thread in busy:
        thread.start()
    for thread in busy:
        thread.join(max(0.0, deadline - time.monotonic()))


def _drain(
    outbox: Outbox, settings: Settings, channel: Channel, send: Send, clock: Callable[[], float], deadline: float
) -> None:
    for _ in range(AT_ONCE):
        if time.monotonic() >= deadline:
            return
        claim = outbox.claim(channel.name, clock())
        if claim is None:
            return
        try:
            send(channel, message(claim.incident, claim.occasion, settings.ui_url))
        except (Undeliverable, NoSecret) as refused:
            if outbox.failed(claim, str(refused), clock()):
                log.warning("Alerts channel %s: %s. Messages are kept, and tried again.", channel.name, refused)
            return
        if outbox.sent(claim, clock()) is not None:
            log.warning("Alerts channel %s takes messages again.", channel.name)


def send_now(channel: Channel, what: Message) -> None:
    """Send through the channel and wait until it was taken.

    Raises:
        Undeliverable: it was not.
        caudal.environment.NoSecret: the channel's address is not set.

    """
    if channel.is_log:
        log.warning("%s\n%s", what.title, what.text)
        return
    address = channel.address()
    try:
        import apprise
    except ImportError:
        raise Undeliverable("the library `apprise` is not installed; install the extra `alerts`: caudal[alerts]") from None
    with _overheard() as heard:
        try:
            service = _service(address)
            if service is None:
                raise Undeliverable(
                    "the address is none that apprise knows, such as slack://..., mailto://... or https://... for a webhook"
                )
            kind = apprise.NotifyType.SUCCESS if what.good else apprise.NotifyType.WARNING
            taken = service.notify(title=what.title, body=what.text, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
        except Undeliverable:
            raise
        except Exception as broken:  # noqa: BLE001  Its text may hold the address; its chain too.
            reason = type(broken).__name__
            taken = False
        else:
            reason = _reason(heard)
    if not taken:
        raise Undeliverable(f"the message was not taken ({reason})")


def _service(address: str):  # noqa: ANN202  apprise is imported lazily
    """The service behind the address; an https:// address that is no known service takes JSON."""
    import apprise

    def opened(url: str):  # noqa: ANN202
        limited = f"{url}{'&' if '?' in url else '?'}cto={CONNECT_S}&rto={READ_S}"
        return apprise.Apprise.instantiate(limited, suppress_exceptions=True)

    scheme, _, rest = address.partition("://")
    if scheme in {"http", "https"}:
        return opened(address) or opened(f"{'jsons' if scheme == 'https' else 'json'}://{rest}")
    return opened(address)


def _reason(heard: list[str]) -> str:
    codes = [m.group(1) for text in heard for m in re.finditer(r"\berror=(\d{3})\b", text)]
    if codes:
        return f"HTTP status {codes[-1]}"
    return "no connection" if any("onnection" in text or "imed out" in text for text in heard) else "no reason given"


_overhearing = threading.Lock()
_listeners: dict[int, list[str]] = {}


@contextmanager
def _overheard() -> Generator[list[str]]:
    """What apprise logs in this thread, which is not shown to anybody."""
    with _overhearing:
        _quiet()
    me, heard = threading.get_ident(), []
    _listeners[me] = heard
    try:
        yield heard
    finally:
        del _listeners[me]


def _heard(record: logging.LogRecord) -> bool:
    """A filter: what is said while a message is sent is heard here and nowhere else. What others say through it stays."""
    mine = _listeners.get(record.thread or 0)
    if mine is not None:
        mine.append(record.getMessage())
    return mine is None


def _quiet() -> None:
    """Keep what apprise and the client below it say of addresses out of every log."""
    for name in ("apprise", "urllib3", "urllib3.connectionpool", "urllib3.util.retry"):
        if _heard not in logging.getLogger(name).filters:
            logging.getLogger(name).addFilter(_heard)


def try_out(settings: Settings, send: Send = send_now) -> Mapping[str, str | None]:
    """Send a test message through each channel; for each its problem, or None."""
    outcome: dict[str, str | None] = {}
    for name, channel in settings.channels.items():
        routes = [", ".join(route.owners) for route in settings.routes if name in route.channels]
        told = "; ".join([*routes, *(["everything without a route"] if name in settings.default else [])]) or "nothing"
        text = f"A test of the channel `{name}`. It is told about: {told}."
        try:
            send(channel, Message("Test: alerts of Caudal", text.replace("`", "'"), good=True))
        except (Undeliverable, NoSecret) as refused:
            outcome[name] = str(refused)
        else:
            outcome[name] = None
    return outcome
