"""Notifications of a bucket in Google Cloud Storage, pulled from Pub/Sub: which objects of the lake to look at now.

Google delivers each at least once, in any order, and some late. That does no harm, for a notification is only a reason to look:
what is true is what the store answers then. One that never comes is made up for by listing the lake now and then, which whoever
uses this still does.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from caudal.google_cloud import credentials
from caudal.store.objects import StoreError, StoreUnreachable, is_finished
from caudal.store.remote import bucket_and_prefix, client

#: What happens to an object that changes what the lake holds there; a change of its metadata does not.
EVENTS = {"OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE"}

#: The most that Pub/Sub gives and takes in one request.
BATCH = 1_000

#: The most that one `pull` takes, so that it ends while thousands arrive. The rest is for the next.
MOST = 20_000


@dataclass(frozen=True)
class Told:
    """What notifications told of.

    Attributes:
        paths: objects of the lake that were made, replaced or removed, each once.
        receipts: of all notifications that this covers, for `acknowledge`.

    """

    paths: frozenset[str] = frozenset()
    receipts: tuple[str, ...] = ()

    def below(self, prefix: str) -> list[str]:
        """The paths below the folder `prefix`, sorted."""
        folder = f"{prefix.strip('/')}/"
        return sorted(path for path in self.paths if path.startswith(folder))


class Notifications:
    """The subscription `projects/<project>/subscriptions/<name>` to a topic that the bucket of the lake notifies."""

    def __init__(self, subscription: str, lake_url: str, acts_as: str | None = None) -> None:
        parts = subscription.split("/")
        if len(parts) != 4 or parts[::2] != ["projects", "subscriptions"] or not all(parts):
            raise StoreError(f"{subscription!r} is no subscription: expected projects/<project>/subscriptions/<name>")
        if not lake_url.startswith("gs://"):
            raise StoreError(f"{subscription}: only a lake in Google Cloud Storage has notifications, and this is {lake_url}")
        self._subscription = subscription
        self._acts_as = acts_as
        self._bucket, self._prefix = bucket_and_prefix(lake_url)
        self._client: Any = None
        self._process = 0

    def pull(self, wait_s: float = 2.0) -> Told:
        """What came since, after waiting for something at most `wait_s`. Until acknowledged, all of it comes again.

        Raises:
            StoreError: the subscription is missing, or may not be pulled.
            StoreUnreachable: Pub/Sub does not answer.

        """
        paths: set[str] = set()
        receipts: list[str] = []
        while len(receipts) < MOST:
            with self._explained("pulled"):
                received = self._pulled(wait_s)
            for message in received:
                receipts.append(message.ack_id)
                path = self._path(message.message.attributes)
                if path is not None:
                    paths.add(path)
            if len(received) < BATCH:
                break
        return Told(frozenset(paths), tuple(receipts))

    def acknowledge(self, told: Told) -> None:
        """Say that what `told` covers need not come again: when the ledger has it, and not before."""
        for start in range(0, len(told.receipts), BATCH):
            request = {"subscription": self._subscription, "ack_ids": told.receipts[start : start + BATCH]}
            with self._explained("acknowledged"):
                self._connected().acknowledge(request=request, timeout=30)

    def _pulled(self, wait_s: float) -> Sequence[Any]:
        from google.api_core.exceptions import DeadlineExceeded

        request = {"subscription": self._subscription, "max_messages": BATCH}
        try:
            return self._connected().pull(request=request, timeout=wait_s, retry=None).received_messages
        except DeadlineExceeded:
            return ()

    def _path(self, told: Any) -> str | None:
        """The path in the lake that a notification is of; None for one of something else."""
        if told.get("eventType") not in EVENTS or told.get("bucketId") != self._bucket:
            return None
        name = told.get("objectId", "")
        path = name.removeprefix(self._prefix)
        return path if name.startswith(self._prefix) and is_finished(path) else None

    def _connected(self) -> Any:
        """A client of this process: connections do not survive a fork."""
        if self._process != os.getpid():
            self._client = client("google.cloud.pubsub_v1", "gcp", self._subscription).SubscriberClient(
                credentials=credentials(self._acts_as) if self._acts_as else None
            )
            self._process = os.getpid()
        return self._client

    @contextmanager
    def _explained(self, what: str) -> Generator[None]:
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError

        place = f"{self._subscription}: cannot be {what}"
        try:
            yield
        except exceptions.NotFound as missing:
            raise StoreError(f"{place}: there is no such subscription; correct CAUDAL_LAKE_NOTIFICATIONS") from missing
        except exceptions.Forbidden as refused:
            raise StoreError(f"{place}: this account lacks the role roles/pubsub.subscriber on it") from refused
        except (GoogleAuthError, exceptions.Unauthenticated) as refused:
            raise StoreError(
                f"{place}: no valid Google credentials; run `gcloud auth application-default login`, or let "
                "GOOGLE_APPLICATION_CREDENTIALS name the key file of a service account"
            ) from refused
        except exceptions.GoogleAPIError as failed:
            raise StoreUnreachable(f"{place}: {failed}") from failed
