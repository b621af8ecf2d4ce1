"""A worker with a login of its own that sends what it likes."""

import json
from contextlib import suppress
from typing import Any

import pika
from pika.exceptions import AMQPError

from bridge.conformance.amqp import BoundedConnection
from tests.worker import EXCHANGE, REPLIES, Taken


class Attacker:
    """One connection, made anew whenever RabbitMQ has closed it. For one thread at a time."""

    def __init__(self, url: str, queue: str, key: str) -> None:
        self.url = url
        self.queue = queue
        self._key = key
        self._connection: Any = None
        self._channel: Any = None

    @property
    def channel(self) -> Any:
        if self._channel is None or not self._channel.is_open:
            self.close()
            self._connection = BoundedConnection(pika.URLParameters(self.url))
            self._channel = self._connection.channel()
            self._channel.queue_declare(self.queue, durable=True)
            self._channel.queue_bind(self.queue, EXCHANGE, self._key)
        return self._channel

    def take(self, seconds: float = 10) -> Taken:
        """The next task, acknowledged."""
        channel = self.channel
        for method, properties, body in channel.consume(self.queue, inactivity_timeout=seconds):
            assert method is not None, "no task came to the attacker"
            channel.basic_ack(method.delivery_tag)
            channel.cancel()
            return Taken(body, properties, method.routing_key, method.redelivered)
        raise AssertionError("the attacker's consumer was cancelled")

    def send(
        self,
        body: bytes | dict[str, Any],
        properties: pika.BasicProperties | None = None,
        *,
        to: str = REPLIES,
    ) -> bool:
        """Publish to a queue by its name; False where RabbitMQ would not have it."""
        given = json.dumps(body).encode() if isinstance(body, dict) else body
        try:
            self.channel.basic_publish("", to, given, properties)
        except AMQPError:
            self.close()
            return False
        return True

    def settle(self, seconds: float = 0.01) -> None:
        """Let RabbitMQ say what it has to say, and read what it has sent."""
        with suppress(AMQPError):
            self.channel.connection.process_data_events(seconds)

    def close(self) -> None:
        with suppress(AMQPError):
            if self._connection is not None and self._connection.is_open:
                self._connection.close()
        self._connection = self._channel = None
