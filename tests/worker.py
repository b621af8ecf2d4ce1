"""The worker's side of RabbitMQ, as a test sees it: pika, one connection, no code of the daemon."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pika
from pika.exceptions import ChannelClosedByBroker

from bridge.conformance.amqp import BoundedConnection

EXCHANGE = "swf.activities"
CANCELLATIONS = "swf.cancellations"
REPLIES = "swf.replies"
DEAD = "swf.replies.dead"


class Taken(NamedTuple):
    """A message that was taken from a queue and acknowledged."""

    body: bytes
    properties: Any
    routing_key: str
    redelivered: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def headers(self) -> dict[str, Any]:
        return self.properties.headers or {}


class Worker:
    """One connection of a worker; what it sends is persistent, confirmed and must be routable."""

    def __init__(self, url: str) -> None:
        self._connection = BoundedConnection(pika.URLParameters(url))
        self.channel = self._connection.channel()
        self.channel.confirm_delivery()
        self.channel.exchange_declare(EXCHANGE, "topic", durable=True)

    def close(self) -> None:
        if self._connection.is_open:
            self._connection.close()

    # --- queues ---

    def queue(
        self,
        name: str = "work",
        *,
        bind: str | None = "#",
        exchange: str = EXCHANGE,
        **arguments: Any,
    ) -> str:
        """A durable queue; `bind` is its key in the exchange, None for no binding.

        That of cancellations is declared as by the bridge, which may not have come to that yet.
        """
        named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        self.channel.queue_declare(name, durable=True, arguments=named)
        if bind is not None:
            if exchange == CANCELLATIONS:
                self.channel.exchange_declare(exchange, "topic", durable=True)
            self.channel.queue_bind(name, exchange, bind)
        return name

    def exists(self, queue: str) -> bool:
        channel = self._connection.channel()
        try:
            channel.queue_declare(queue, passive=True)
        except ChannelClosedByBroker:
            return False
        channel.close()
        return True

    def ready(self, queue: str) -> int:
        """Messages that wait in the queue and are with no consumer."""
        return int(self.channel.queue_declare(queue, passive=True).method.message_count)

    def take(self, queue: str = "work", seconds: float = 10) -> Taken:
        """The next message, waited for."""
        deadline = time.monotonic() + seconds
        while (taken := self.take_now(queue)) is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing came to {queue} in {seconds} s")
            self._connection.sleep(0.01)
        return taken

    def take_now(self, queue: str = "work") -> Taken | None:
        method, properties, body = self.channel.basic_get(queue)
        if method is None:
            return None
        self.channel.basic_ack(method.delivery_tag)
        return Taken(body, properties, method.routing_key, method.redelivered)

    def take_many(self, count: int, queue: str = "work", seconds: float = 20) -> list[Taken]:
        return [self.take(queue, seconds) for _ in range(count)]

    def take_all(self, queue: str = "work") -> Iterator[Taken]:
        """What is there now."""
        while (taken := self.take_now(queue)) is not None:
            yield taken

    # --- messages ---

    def send(
        self,
        body: bytes | dict[str, Any] = b"",
        *,
        to: str = REPLIES,
        headers: dict[str, Any] | None = None,
        **properties: Any,
    ) -> None:
        self.channel.basic_publish(
            "",
            to,
            json.dumps(body) if isinstance(body, dict) else body,
            pika.BasicProperties(delivery_mode=2, headers=headers, **properties),
            mandatory=True,
        )

    def reply(self, task: Taken | str, status: str, **fields: Any) -> None:
        """Answer a task, by its message or its token."""
        token = task if isinstance(task, str) else task.json["taskToken"]
        self.send({"taskToken": token, "status": status, **fields})

    def complete(self, task: Taken | str, result: str = "done") -> None:
        self.reply(task, "completed", result=result)

    def until(self, condition: Callable[[], bool], seconds: float = 10) -> bool:
        """Whether the condition came true in time; the connection is kept alive meanwhile."""
        deadline = time.monotonic() + seconds
        while not (holds := condition()) and time.monotonic() < deadline:
            self._connection.sleep(0.02)
        return holds
