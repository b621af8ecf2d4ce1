"""The morning after: workers come back to a queue full of tasks that SWF has given up.

So many tasks, each to be done within a time and tried ATTEMPTS times; workers are away for three
times as long, then they are back at half the rate at which all could be done in time.
"""

import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import boto3
import pika

from bench.stand import DOMAIN, Stand, until
from bench.subjects import bridge
from bench.worker import EXCHANGE
from bridge.conformance.amqp import BoundedConnection
from bridge.local.rabbitmq import RabbitNode

ATTEMPTS = 4
QUEUE = "work"
NEEDED = 2.0
"""Seconds without which the worker does not begin: the work, the way of its reply, and one by which
a deadline by the type may be late. The head of a queue that is too long is always close to its end.
"""


def morning(node: RabbitNode, sizes: Any) -> Iterator[dict[str, Any]]:
    """Without deadlines and with them: what is completed, and what is worked on in vain."""
    limit = sizes.limit
    for deadlines in ("off", "type", "history"):
        with Stand(node, worker=False) as stand:
            _register(stand, limit)
            work = Worker(stand.url)
            in_flight = ATTEMPTS * sizes.morning
            bridge(stand, "curl", in_flight=in_flight, more={"SWF_BRIDGE_DEADLINES": deadlines})
            until(lambda stand=stand: stand.polls() > 0, "it polls")  # type: ignore[misc]
            decider = Decider(stand, sizes.morning, limit)
            decider.start()
            time.sleep(3.0 * limit)
            work.begin(sizes.morning / limit / 2)
            back = time.monotonic()
            decider.join()
            seconds = time.monotonic() - back
            work.end()
            completed = stand.swf.counts()["closed"].get("completed", 0)
            yield {
                "deadlines": deadlines,
                "tasks": sizes.morning,
                "completed": completed,
                "tasks/s": completed / seconds,
                "worked on": work.done,
                "in vain %": 100 * (1 - completed / max(1, work.done)),
            }


def turnaround(node: RabbitNode, sizes: Any) -> Iterator[dict[str, Any]]:
    """What finding deadlines adds to the way of a task, from the poll to the end, one at a time."""
    for deadlines in ("off", "type", "history"):
        with Stand(node) as stand:
            _register(stand, sizes.limit)
            more = {"SWF_BRIDGE_DEADLINES": deadlines, "SWF_BRIDGE_DEADLINE_CALLS": "1000"}
            bridge(stand, "curl", more=more)
            until(lambda stand=stand: stand.polls() > 0, "it polls")  # type: ignore[misc]
            for number in range(1, sizes.turnaround + 1):
                stand.submit(1)
                until(lambda stand=stand, number=number: _closed(stand) == number,  # type: ignore[misc]
                      "the task is closed", every=0.002)  # fmt: skip
            tasks = stand.swf.tasks()
            took = [1000 * (task["closedAt"] - task["startedAt"]) for task in tasks]
            yield {
                "deadlines": deadlines,
                "tasks": len(took),
                "p50 ms": statistics.median(took),
                "look p50 ms": _round_trip(
                    stand, {key: tasks[0][key] for key in ("workflowId", "runId")}
                ),
            }


def _closed(stand: Stand) -> int:
    return sum(stand.swf.counts()["closed"].values())


def _round_trip(stand: Stand, execution: dict[str, str]) -> float:
    """Milliseconds of one look into a history, by boto3 on a connection that is kept."""
    client, took = _client(stand), []
    for _ in range(50):
        began = time.perf_counter()
        client.get_workflow_execution_history(domain=DOMAIN, execution=execution)
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def _register(stand: Stand, limit: int) -> None:
    _client(stand).register_activity_type(
        domain=DOMAIN, name="greet", version="1", defaultTaskStartToCloseTimeout=str(limit)
    )


def _client(stand: Stand) -> Any:
    return boto3.client(
        "swf", endpoint_url=stand.endpoint, region_name="eu-west-1",
        aws_access_key_id="local", aws_secret_access_key="local",
    )  # fmt: skip


class Decider(threading.Thread):
    """Schedules every task, and each that timed out again, until ATTEMPTS are over."""

    def __init__(self, stand: Stand, count: int, limit: float) -> None:
        super().__init__(daemon=True)
        self._limit = limit
        self._stand = stand
        self._attempts = Counter(self._schedule(count))

    def run(self) -> None:
        """Until every task is completed or was tried as often as it may be."""
        seen: set[str] = set()
        late, left = [""], 1
        while late or left:
            time.sleep(1.0)
            left = self._stand.swf.counts()["open"]
            scheduled = time.time() - self._limit - 15.0
            timed_out = self._stand.swf.tasks(state="timed-out", since=scheduled)
            late = [each["id"] for each in timed_out if each["id"] not in seen]
            seen.update(late)
            for attempt in range(1, ATTEMPTS):
                count = sum(self._attempts[each] == attempt for each in late)
                for task_id in self._schedule(count) if count else ():
                    self._attempts[task_id] = attempt + 1

    def _schedule(self, count: int) -> list[str]:
        return self._stand.submit(count)


class Worker:
    """Does so many tasks a second, in the order of the queue, and looks at `swf-deadline` first."""

    def __init__(self, url: str) -> None:
        self.done = 0
        """Tasks that it worked on."""
        self._channel = BoundedConnection(pika.URLParameters(url)).channel()
        self._channel.exchange_declare(EXCHANGE, "topic", durable=True)
        self._channel.queue_declare(QUEUE, durable=True)
        self._channel.queue_bind(QUEUE, EXCHANGE, "#")
        self._channel.basic_qos(prefetch_count=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._rate = 1.0

    def begin(self, rate: float) -> None:
        """Be back."""
        self._rate = rate
        self._thread.start()

    def end(self) -> None:
        """Take no more."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        due = time.monotonic()
        for taken in self._channel.consume(QUEUE, inactivity_timeout=0.1):
            method, properties, body = cast("tuple[Any, Any, bytes]", taken)
            if self._stop.is_set():
                return
            if method is None:
                due = max(due, time.monotonic())
                continue
            deadline = (properties.headers or {}).get("swf-deadline")
            if deadline is None or deadline > 1000 * (time.time() + NEEDED):
                due = max(due, time.monotonic() - 1.0) + 1 / self._rate
                time.sleep(max(0.0, due - time.monotonic()))  # the work
                self.done += 1
                reply = {"taskToken": json.loads(body)["taskToken"], "status": "completed"}
                self._channel.basic_publish("", properties.reply_to, json.dumps(reply).encode(),
                                            pika.BasicProperties(delivery_mode=2))  # fmt: skip
            self._channel.basic_ack(method.delivery_tag)
