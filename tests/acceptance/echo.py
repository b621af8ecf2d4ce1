"""A worker that answers every task at once, on a thread and a connection of its own."""

import json
import threading
from typing import Any

import pika

from bridge.conformance.amqp import BoundedConnection


class Echo:
    """`with Echo(url) as echo:` consumes from the queue until the end."""

    def __init__(self, url: str, queue: str = "work") -> None:
        self._url = url
        self._queue = queue
        self.taken: set[str] = set()
        """The message ids of the tasks that it was given."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Echo":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.add_callback_threadsafe(self._channel.stop_consuming)
        self._thread.join(10)

    def _run(self) -> None:
        self._connection = BoundedConnection(pika.URLParameters(self._url))
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=50)
        self._channel.basic_consume(self._queue, self._answer)
        self._ready.set()
        self._channel.start_consuming()
        self._connection.close()

    def _answer(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.taken.add(properties.message_id)
        reply = {"taskToken": json.loads(body)["taskToken"], "status": "completed"}
        persistent = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", properties.reply_to, json.dumps(reply), persistent)
        channel.basic_ack(method.delivery_tag)
