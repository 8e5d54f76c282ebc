"""Pub/Sub for tests, in this process: topics, subscriptions, and messages that come again until they are acknowledged."""

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

#: A message that was pulled and not acknowledged comes again after so long.
DEADLINE_S = 2.0


class PubSub:
    """The calls of `Publisher` and `Subscriber` that a client needs which pulls."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._numbers = itertools.count(1)
        self._topics: set[str] = set()
        self._subscriptions: dict[str, str] = {}
        self._waiting: dict[str, dict[str, tuple[float, types.PubsubMessage]]] = {}

    def CreateTopic(self, topic, _):
        self._topics.add(topic.name)
        return topic

    def CreateSubscription(self, subscription, _):
        self._subscriptions[subscription.name] = subscription.topic
        self._waiting[subscription.name] = {}
        return subscription

    def Publish(self, request, _):
        with self._lock:
            ids = []
            for message in request.messages:
                message.message_id = str(next(self._numbers))
                ids.append(message.message_id)
                for name, topic in self._subscriptions.items():
                    if topic == request.topic:
                        self._waiting[name][message.message_id] = (0.0, message)
            self._lock.notify_all()
        return types.PublishResponse(message_ids=ids)

    def Pull(self, request, context):
        if request.subscription not in self._subscriptions:
            context.abort(grpc.StatusCode.NOT_FOUND, "Subscription does not exist")
        with self._lock:
            while context.is_active() and not (due := self._due(request.subscription, request.max_messages)):
                self._lock.wait(0.05)
            if not context.is_active():
                return types.PullResponse()
            received = []
            for number, message in due:
                self._waiting[request.subscription][number] = (time.monotonic() + DEADLINE_S, message)
                received.append(types.ReceivedMessage(ack_id=f"{number}/{next(self._numbers)}", message=message))
        return types.PullResponse(received_messages=received)

    def Acknowledge(self, request, _):
        with self._lock:
            for receipt in request.ack_ids:
                self._waiting[request.subscription].pop(receipt.partition("/")[0], None)
        return Empty()

    def _due(self, subscription: str, most: int) -> list[tuple[str, types.PubsubMessage]]:
        now = time.monotonic()
        due = [(number, message) for number, (at, message) in self._waiting[subscription].items() if at <= now]
        return due[:most]


@contextmanager
def serving() -> Iterator[str]:
    """The address of such a server."""
    pubsub = PubSub()
    server = grpc.server(ThreadPoolExecutor(8))
    calls = {
        "Publisher": {
            "CreateTopic": (types.Topic, types.Topic),
            "Publish": (types.PublishRequest, types.PublishResponse),
        },
        "Subscriber": {
            "CreateSubscription": (types.Subscription, types.Subscription),
            "Pull": (types.PullRequest, types.PullResponse),
            "Acknowledge": (types.AcknowledgeRequest, None),
        },
    }
    for service, methods in calls.items():
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                getattr(pubsub, name),
                request_deserializer=asked.deserialize,
                response_serializer=answered.serialize if answered else Empty.SerializeToString,
            )
            for name, (asked, answered) in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"google.pubsub.v1.{service}", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait(10)
