"""Workers for the bench: they do what a task's input says, and count what reaches them."""

import json
import struct
import threading
import time
from collections import Counter
from typing import Any

import pika

from bridge.conformance.amqp import BoundedConnection

EXCHANGE = "swf.activities"
QUORUM = {"x-queue-type": "quorum"}


class RawHeaders(pika.BasicProperties):
    """Properties whose header frame holds a table that was encoded elsewhere."""

    def __init__(self, table: bytes) -> None:
        super().__init__()
        self._table = table

    def encode(self) -> list[bytes]:
        flags = pika.BasicProperties.FLAG_HEADERS | pika.BasicProperties.FLAG_DELIVERY_MODE
        return [struct.pack(">HI", flags, len(self._table)), self._table, b"\x02"]


def field(name: bytes, kind: bytes, value: bytes) -> bytes:
    return struct.pack("B", len(name)) + name + kind + value


def nested(depth: int) -> bytes:
    table = b""
    for _ in range(depth):
        table = field(b"n", b"F", struct.pack(">I", len(table)) + table)
    return table


def with_headers(kind: str) -> pika.BasicProperties:
    """Properties of a good reply; none of the kinds may keep it from being accepted."""
    match kind:
        case "milliseconds":
            return RawHeaders(field(b"at", b"T", struct.pack(">Q", int(time.time() * 1000))))
        case "nested":
            return RawHeaders(nested(2000))
        case "not-utf8":
            return RawHeaders(field(b"\xff\xfe", b"S", struct.pack(">I", 2) + b"\xc3\x28"))
        case "large":
            headers = {f"h{n}": "x" * 1000 for n in range(60)}
            return pika.BasicProperties(delivery_mode=2, headers=headers)
        case "odd":
            return pika.BasicProperties(
                delivery_mode=2,
                user_id="guest",
                expiration="600000",
                message_id="another task's",
                headers={"CC": ["nowhere"], "x-death": [{"count": 1}], "n": None},
            )
    return pika.BasicProperties(delivery_mode=2, timestamp=int(time.time()))


class Worker(threading.Thread):
    """Consumes one queue for as long as the test lasts, whatever happens to the broker."""

    def __init__(self, url: str, queue: str, key: str, arguments: dict[str, Any] = QUORUM) -> None:
        super().__init__(name=f"worker-{queue}", daemon=True)
        self.received: Counter[str] = Counter()
        """How often each message id came that RabbitMQ does not call redelivered."""
        self.replied = 0
        self.replied_at: dict[str, float] = {}
        """When each message id was answered; Unix time."""
        self.url = url
        self.queue = queue
        self.key = key
        self.arguments = arguments
        self.idle = threading.Event()
        """While it is set, deliveries are taken and left unanswered."""
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                self._consume()
            except Exception:  # the broker is being broken: come back
                self._over.wait(0.3)

    def stop(self) -> None:
        self._over.set()

    def stand(self, channel: Any) -> None:
        """Queue and binding; the exchange as the bridge declares it."""
        channel.exchange_declare(EXCHANGE, "topic", durable=True)
        channel.queue_declare(self.queue, durable=True, arguments=self.arguments)
        channel.queue_bind(self.queue, EXCHANGE, self.key)

    def _consume(self) -> None:
        parameters = pika.URLParameters(self.url)
        parameters.heartbeat = 4
        parameters.socket_timeout = parameters.stack_timeout = 5
        parameters.blocked_connection_timeout = 60
        connection = BoundedConnection(parameters)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            self.stand(channel)
            channel.basic_qos(prefetch_count=300)
            self._serve(channel)
        finally:
            if connection.is_open:
                connection.close()

    def _serve(self, channel: Any) -> None:
        waiting: list[tuple[float, int, Any, dict[str, Any]]] = []
        for method, properties, body in channel.consume(self.queue, inactivity_timeout=0.05):
            if self._over.is_set():
                return
            if method is not None:
                task = json.loads(body)
                if not method.redelivered:
                    self.received[properties.message_id] += 1
                due = time.monotonic() + json.loads(task["input"])["seconds"]
                waiting.append((due, method.delivery_tag, properties, task))
            elif not channel.is_open or not channel.consumer_tags:
                return
            if not self.idle.is_set():
                waiting = self._answer(channel, waiting)

    def _answer(self, channel: Any, waiting: list[Any]) -> list[Any]:
        now = time.monotonic()
        for due, tag, properties, task in waiting:
            if due <= now:
                self._reply(channel, properties, task)
                channel.basic_ack(tag)
        return [each for each in waiting if each[0] > now]

    def _reply(self, channel: Any, properties: Any, task: dict[str, Any]) -> None:
        """Persistent and confirmed, as the contract asks of a worker."""
        wanted = json.loads(task["input"])
        token = task["taskToken"]
        if wanted.get("beat"):
            beat = {"taskToken": token, "status": "heartbeat", "details": "alive"}
            channel.basic_publish("", properties.reply_to, json.dumps(beat), mandatory=True)
        reply = {"taskToken": token, "status": wanted["end"]}
        reply |= (
            {"result": "as wanted"} if wanted["end"] == "completed" else {"reason": "as wanted"}
        )
        headers = with_headers(wanted.get("headers", ""))
        channel.basic_publish("", properties.reply_to, json.dumps(reply), headers, mandatory=True)
        self.replied += 1
        self.replied_at.setdefault(properties.message_id, time.time())
