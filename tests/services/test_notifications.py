"""Notifications of a bucket, from Pub/Sub: Google's emulator, and a small server of the same protocol in this process."""

import os
import random
import shutil
import uuid
from pathlib import Path

import pytest

from caudal.lake.notified import NotifiedWatch
from caudal.store import StoreError, StoreUnreachable, open_store
from caudal.store import notifications as module
from caudal.store.notifications import Notifications, Told
from tests.services import pubsub
from tests.services.servers import free_port, started, until

LAKE = "gs://lakes/company/lake"


def googles() -> Path | None:
    """The emulator of Google Cloud's command line, if that component is installed."""
    gcloud = shutil.which("gcloud")
    found = gcloud and Path(os.path.realpath(gcloud)).parents[1] / "platform/pubsub-emulator/bin/cloud-pubsub-emulator"
    return found if found and found.is_file() else None


@pytest.fixture(scope="module", params=["in this process", "Google's"])
def address(request, tmp_path_factory):
    if request.param == "in this process":
        with pubsub.serving() as address:
            yield address
        return
    emulator = googles()
    if emulator is None:
        pytest.skip("Google's Pub/Sub emulator is not installed (gcloud components install pubsub-emulator)")
    port = free_port()
    command = [emulator, "--host=127.0.0.1", f"--port={port}"]
    with started(command, tmp_path_factory.mktemp("pubsub") / "log", lambda printed: "Server started" in printed):
        yield f"127.0.0.1:{port}"


class Bucket:
    """Tells of objects, as a bucket does whose notifications go to the topic."""

    def __init__(self, name: str) -> None:
        from google.cloud import pubsub_v1

        self.topic, self.subscription = f"projects/test/topics/{name}", f"projects/test/subscriptions/{name}"
        self.publisher = pubsub_v1.PublisherClient()
        self.publisher.create_topic(request={"name": self.topic}, timeout=60)
        subscriber = pubsub_v1.SubscriberClient()
        request = {"name": self.subscription, "topic": self.topic, "ack_deadline_seconds": 10}
        subscriber.create_subscription(request=request, timeout=60)

    def tell(self, event: str, name: str, bucket: str = "lakes") -> None:
        told = {"eventType": event, "bucketId": bucket, "objectId": name, "payloadFormat": "NONE", "objectGeneration": "1"}
        self.publisher.publish(self.topic, b"{}", **told).result(20)


@pytest.fixture
def bucket(address, monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", address)
    return Bucket(f"t{uuid.uuid4().hex}")


def test_notifications_tell_which_objects_of_the_lake_to_look_at(bucket):
    notifications = Notifications(bucket.subscription, LAKE)
    assert notifications.pull(0.5) == Told()
    bucket.tell("OBJECT_FINALIZE", "company/lake/shop/orders/a b#1.csv")
    bucket.tell("OBJECT_DELETE", "company/lake/shop/orders/b.csv")
    bucket.tell("OBJECT_ARCHIVE", "company/lake/shop/items/c.csv")
    bucket.tell("OBJECT_FINALIZE", "company/lake/shop/orders/a b#1.csv")
    for event, name, where in (
        ("OBJECT_METADATA_UPDATE", "company/lake/shop/orders/d.csv", "lakes"),
        ("OBJECT_FINALIZE", "company/lake/shop/orders/e.csv.tmp", "lakes"),
        ("OBJECT_FINALIZE", "company/lakes/f.csv", "lakes"),
        ("OBJECT_FINALIZE", "company/lake/shop/orders/g.csv", "another"),
    ):
        bucket.tell(event, name, where)
    told = pulled(notifications, 8)
    assert told.paths == {"shop/orders/a b#1.csv", "shop/orders/b.csv", "shop/items/c.csv"}
    assert told.below("shop/orders") == ["shop/orders/a b#1.csv", "shop/orders/b.csv"]
    notifications.acknowledge(told)


def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(bucket):
    notifications = Notifications(bucket.subscription, LAKE)
    bucket.tell("OBJECT_FINALIZE", "company/lake/a/b/1.csv")
    first = pulled(notifications, 1)
    assert first.paths == {"a/b/1.csv"}
    again = pulled(Notifications(bucket.subscription, LAKE), 1)
    assert again.paths == first.paths
    notifications.acknowledge(again)
    bucket.tell("OBJECT_FINALIZE", "company/lake/a/b/2.csv")
    assert pulled(notifications, 1).paths == {"a/b/2.csv"}


def test_thousands_of_notifications_come_in_one_pull(bucket, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 50)
    notifications = Notifications(bucket.subscription, LAKE)
    for n in range(230):
        bucket.tell("OBJECT_FINALIZE", f"company/lake/a/b/{n}.csv")
    told = pulled(notifications, 230)
    assert len(told.paths) == 230
    notifications.acknowledge(told)
    assert notifications.pull(0.5).paths <= told.paths


def test_lost_doubled_and_reordered_notifications_do_no_harm(bucket, tmp_path):
    """What a watch knows after each look is what the store holds where it was told, and everywhere after a new listing."""
    store = open_store(str(tmp_path / "lake"))
    notifications = Notifications(bucket.subscription, LAKE)
    chance = random.Random(7)
    believed: dict[str, str] = {}
    watch = NotifiedWatch(store, "a/b")
    for turn in range(12):
        kept_back = []
        for _ in range(chance.randint(0, 8)):
            path = f"a/b/{chance.randint(0, 9)}.csv"
            if chance.random() < 0.3:
                store.delete(path)
                event = "OBJECT_DELETE"
            else:
                with store.write(path) as file:
                    file.write_text(str(chance.random()))
                event = "OBJECT_FINALIZE"
            if chance.random() < 0.8:  # else it is lost
                kept_back += [(event, path)] * chance.randint(1, 2)
        chance.shuffle(kept_back)
        for event, path in kept_back:
            bucket.tell(event, f"company/lake/{path}")
        if turn % 4 == 3:
            watch, believed = NotifiedWatch(store, "a/b"), {}
        told = pulled(notifications, len(kept_back))
        changes = watch.look(told.below("a/b"))
        believed.update({o.path: o.version for o in changes.found})
        for path in changes.gone:
            del believed[path]
        notifications.acknowledge(told)
        for path in told.paths:
            live = store.find(path)
            assert believed.get(path) == (live.version if live else None)
        if turn % 4 == 3:
            assert believed == {o.path: o.version for o in store.list("a/b")}


def test_a_subscription_that_is_not_there_is_named(address, monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", address)
    with pytest.raises(StoreError, match="projects/test/subscriptions/none: cannot be pulled: there is no such subscription"):
        Notifications("projects/test/subscriptions/none", LAKE).pull(5)


def test_a_server_that_is_not_there_is_told_to_be_so(monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnreachable, match="projects/test/subscriptions/some: cannot be pulled"):
        Notifications("projects/test/subscriptions/some", LAKE).pull(5)


@pytest.mark.parametrize(
    ("subscription", "lake", "message"),
    [
        ("orders", LAKE, "'orders' is no subscription: expected projects/<project>/subscriptions/<name>"),
        ("projects/p/topics/t", LAKE, "is no subscription"),
        ("projects/p/subscriptions/s", "s3://lakes/a", "only a lake in Google Cloud Storage has notifications"),
    ],
)
def test_what_is_no_subscription_to_a_bucket_is_refused(subscription, lake, message):
    with pytest.raises(StoreError, match=message):
        Notifications(subscription, lake)


def pulled(notifications: Notifications, messages: int) -> Told:
    """What the next so many messages tell, in however many pulls they come."""
    paths: set[str] = set()
    receipts: list[str] = []

    def all_came() -> bool:
        if len(receipts) < messages:
            told = notifications.pull(2.0)
            paths.update(told.paths)
            receipts.extend(told.receipts)
        return len(receipts) >= messages

    until(all_came, within_s=180)
    return Told(frozenset(paths), tuple(receipts))
