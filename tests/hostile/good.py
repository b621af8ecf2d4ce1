"""Good work beside an attack: tasks at a steady pace, and a worker that answers each at once."""

import json
import threading
import time
from typing import Any

import pika

from bridge.conformance.bounded import BoundedConnection
from bridge.local import LocalSwf
from tests.worker import EXCHANGE, REPLIES

RATE = 20
"""Tasks a second."""
NAME, VERSION = "Steady.say", "1.0"
QUEUE = "steady"


class GoodWork:
    """Submits tasks and answers them on two threads, until it is stopped."""

    def __init__(self, swf: LocalSwf, url: str) -> None:
        self._swf = swf
        self._url = url
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=run, name=f"good-{run.__name__}", daemon=True)
            for run in (self._submit, self._work)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)

    def pause(self) -> None:
        """No more tasks; those that are there are answered."""
        self._over_submitting = True

    def settled(self) -> int:
        return len(self._swf.tasks(name=NAME, state="completed"))

    def times(self, since: float, until: float) -> list[tuple[float, bool]]:
        """Of each task submitted in between: seconds to its close or to now, and whether closed."""
        now = time.time()
        return [
            ((task["closedAt"] or now) - task["scheduledAt"], task["state"] == "completed")
            for task in self._swf.tasks(name=NAME, since=since)
            if task["scheduledAt"] <= until
        ]

    _over_submitting = False

    def _submit(self) -> None:
        due = time.monotonic()
        while not self._over.is_set() and not self._over_submitting:
            self._swf.submit(NAME, VERSION, task_list="good")
            due += 1 / RATE
            self._over.wait(max(0.0, due - time.monotonic()))

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                self._consume()
            except pika.exceptions.AMQPError:
                self._over.wait(0.2)

    def _consume(self) -> None:
        with BoundedConnection(pika.URLParameters(self._url)) as connection:
            channel: Any = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare(QUEUE, durable=True)
            channel.queue_bind(QUEUE, EXCHANGE, f"{NAME}.{VERSION}")
            channel.basic_qos(prefetch_count=100)
            for method, _, body in channel.consume(QUEUE, inactivity_timeout=0.1):
                if self._over.is_set():
                    return
                if method is not None:
                    token = json.loads(body)["taskToken"]
                    reply = {"taskToken": token, "status": "completed", "result": "good"}
                    kept = pika.BasicProperties(delivery_mode=2)
                    channel.basic_publish("", REPLIES, json.dumps(reply), kept, mandatory=True)
                    channel.basic_ack(method.delivery_tag)
