"""The AMQP client of a trial: publishes tasks, takes replies, and repeats task messages.

The only module of this room that imports pika. The daemon's connection class is not used: it
reconnects and confirms in the background, and a trial needs each step finished before the next.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, NamedTuple

import pika
from pika.exceptions import AMQPError, UnroutableError

from bridge.bounds import decode_json

EXCHANGE = "swf.activities"
DEFAULT_REPLIES = "swf.replies"
REPLIES = "swf.replies.conformance"
DEAD_LETTERS = "swf.replies.dead.conformance"
UNDELIVERABLE = "swf.undeliverable.conformance"
FULL = "swf.replies.conformance.full"
"""A reply queue that holds one message and rejects further ones."""
QUORUM: Mapping[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}

CLOSE_TIMEOUT = 10.0


class BrokerAway(Exception):
    """The AMQP connection failed; the message gives the cause."""


class BoundedConnection(pika.BlockingConnection):
    """Like pika's own, but `close` returns within `close_timeout` seconds, whatever RabbitMQ does.

    pika waits without limit for the answer to a close. RabbitMQ 4.0.5 may never send it to a
    channel whose quorum queue was deleted. After the time-out a daemon thread keeps waiting; it
    ends with RabbitMQ or with this process.
    """

    def __init__(self, parameters: Any, *, close_timeout: float = CLOSE_TIMEOUT) -> None:
        super().__init__(parameters)
        self._close_timeout = close_timeout

    def close(self, *args: Any, **named: Any) -> None:
        """Close the connection, or give up after the time-out. Raises what pika's close raises."""
        ended: Future[None] = Future()
        close = super().close

        def carry_out() -> None:
            _resolve(ended, lambda: close(*args, **named))

        threading.Thread(target=carry_out, name="close", daemon=True).start()
        if wait([ended], self._close_timeout).done:
            ended.result()


def _resolve(ended: "Future[None]", close: Callable[[], None]) -> None:
    try:
        close()
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that called close
        ended.set_exception(error)
    else:
        ended.set_result(None)


class Taken(NamedTuple):
    """A message taken from a queue."""

    body: bytes
    properties: pika.BasicProperties

    @property
    def fields(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is not one."""
        with suppress(ValueError):
            decoded = decode_json(self.body, size=len(self.body))
            return decoded if isinstance(decoded, dict) else {}
        return {}

    @property
    def headers(self) -> Mapping[str, Any]:
        """The AMQP headers."""
        return self.properties.headers or {}


class Broker:
    """One connection for one thread. Declares exchange and reply queues as the bridge does."""

    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = 0  # nothing reads the socket between two steps
        self._connect()
        self._channel.exchange_declare(EXCHANGE, "topic", durable=True)
        for queue in (REPLIES, DEFAULT_REPLIES):
            self._channel.queue_declare(queue, durable=True, arguments=dict(QUORUM))
        self._copies = self._refused = ""

    def _connect(self) -> None:
        try:
            self._connection = BoundedConnection(self._parameters)
        except (AMQPError, OSError) as error:
            raise BrokerAway(str(error) or type(error).__name__) from error
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()

    def over(self, restart: Callable[[], object]) -> None:
        """Call ``restart`` for RabbitMQ, and connect again. Raises BrokerAway."""
        self._connection.close()
        restart()
        self._connect()
        self._channel.basic_publish("", REPLIES, b"")  # confirmed once the queue has a leader
        while self.take(REPLIES) is None:
            self.sleep(0.05)

    def close(self) -> None:
        """Delete the trial's own queues and exchanges, and close the connection."""
        with suppress(AMQPError):
            for queue in (REPLIES, DEAD_LETTERS, UNDELIVERABLE, FULL):
                self._channel.queue_delete(queue)
            self._channel.exchange_delete(UNDELIVERABLE)
            self._channel.exchange_delete(f"{REPLIES}.notices")
            self._connection.close()

    def bind(self, queue: str, keys: Sequence[str]) -> None:
        """Declare a durable queue for a worker that declares none, and bind it to these keys."""
        self._channel.queue_declare(queue, durable=True)
        for key in keys:
            self._channel.queue_bind(queue, EXCHANGE, key)

    def hand_out(
        self,
        name: str,
        version: str,
        task_input: str | None,
        *,
        left: float | None = None,
        expires: float | None = None,
        reply_to: str = REPLIES,
    ) -> str | None:
        """Publish a task unknown to SWF; return its token, None where no queue is bound.

        ``left`` is the seconds until its ``swf-deadline``. ``expires`` is the seconds after which
        RabbitMQ drops it from the queue; a task that a worker holds does not expire.
        """
        token = f"conformance {time.time_ns()} " + "x" * 900
        task_id = hashlib.sha256(token.encode()).hexdigest()[:32]
        fields = {
            "taskToken": token,
            "activityId": "1",
            "startedEventId": 6,
            "workflowExecution": {"workflowId": "conformance", "runId": "1"},
            "activityType": {"name": name, "version": version},
            "domain": "demo",
            "taskList": "demo",
            "input": task_input,
        }
        headers: dict[str, Any] = {
            "swf-task-token": token,
            "swf-domain": "demo",
            "swf-task-list": "demo",
            "swf-activity-id": "1",
            "swf-workflow-id": "conformance",
            "swf-run-id": "1",
            "swf-bridge-attempt": "conformance-1",
        }
        if left is not None:
            headers["swf-deadline"] = int(1000 * (time.time() + left))
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            type="swf.activity-task.v1",
            app_id="swf-bridge",
            message_id=task_id,
            correlation_id=task_id,
            reply_to=reply_to,
            timestamp=int(time.time()),
            headers=headers,
            expiration=None if expires is None else str(int(1000 * expires)),
        )
        body = json.dumps(fields, separators=(",", ":")).encode()
        key = f"{name}.{version}"
        try:
            self._channel.basic_publish(EXCHANGE, key, body, properties, mandatory=True)
        except UnroutableError:
            return None
        return token

    def take(self, queue: str) -> Taken | None:
        """Take and acknowledge the next message of a queue; None where it is empty."""
        method, properties, body = self._channel.basic_get(queue, auto_ack=True)
        if method is None or properties is None:
            return None
        return Taken(body or b"", properties)

    def answer(self, beat: Taken) -> None:
        """Answer a heartbeat as the bridge would while the task is open."""
        fields = {"taskToken": token_of(beat), "open": True, "cancelRequested": False}
        self._channel.basic_publish(
            "",
            str(beat.properties.reply_to),
            json.dumps(fields).encode(),
            pika.BasicProperties(
                content_type="application/json", correlation_id=beat.properties.correlation_id
            ),
        )

    def fill(self) -> None:
        """Declare the queue FULL and fill it; ``refused`` returns the messages that it rejects."""
        self._refused = self._channel.queue_declare("", exclusive=True).method.queue
        arguments = {
            "x-max-length": 1,
            "x-overflow": "reject-publish-dlx",  # a nack for the publisher, a copy for us
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self._refused,
        }
        self._channel.queue_delete(FULL)
        self._channel.queue_declare(FULL, durable=True, arguments=arguments)
        self._channel.basic_publish("", FULL, b"")

    def refused(self) -> Taken | None:
        """The next message that FULL has rejected; None where there is none."""
        return self.take(self._refused)

    def make_room(self) -> None:
        """Purge FULL, so that it accepts one message."""
        self._channel.queue_purge(FULL)

    def lift_limit(self) -> None:
        """Declare FULL anew, without a limit."""
        self._channel.queue_delete(FULL)
        self._channel.queue_declare(FULL, durable=True)

    def copy_tasks(self) -> None:
        """Keep a copy of each task message that is published after this call."""
        self._copies = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(self._copies, EXCHANGE, "#")

    def repeat(self, message_id: str, key: str) -> bool:
        """Publish the task message with this id again; False where there is no copy of it."""
        while copy := self.take(self._copies):
            if copy.properties.message_id == message_id:
                self._channel.basic_publish(EXCHANGE, key, copy.body, copy.properties)
                return True
        return False

    def sleep(self, seconds: float) -> None:
        """Wait, and process frames from RabbitMQ meanwhile."""
        self._connection.sleep(seconds)


def token_of(message: Taken) -> object:
    """The task token of a reply, from body or header."""
    return message.fields.get("taskToken") or message.headers.get("swf-task-token")


def status(message: Taken) -> object:
    """The status of a reply, from body or header."""
    return message.fields.get("status") or message.headers.get("swf-status")
