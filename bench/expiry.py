"""Whether anything is dropped that SWF still waits for: random time-outs, and restarts of all.

Half the tasks are of types with time-outs (`type`), half have their own (`history`). Workers are
too slow, give tasks back and lose them; bridge and broker are killed again and again. A queue takes
whatever expired in the workers' queue: was the task closed in SWF by then?
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import boto3
import pika
from pika.exceptions import AMQPError

from bench.stand import DOMAIN, Process, Stand, until
from bench.subjects import bridge
from bench.worker import EXCHANGE
from bridge.conformance.amqp import BoundedConnection
from bridge.local.rabbitmq import RabbitNode

RATE = 200.0
"""Tasks a second, about twice as many as are done."""
BRIDGE_KILLED, BROKER_KILLED = 12.0, 40.0
"""Seconds between two kills."""
TYPES = {"three": "3", "eight": "8", "twenty": "20"}
LISTS = [{"name": "typed", "deadlines": "type"}, {"name": "own", "deadlines": "history"}]
WORK, EXPIRED, UNDELIVERABLE = "work", "expired", "swf.undeliverable"


def expiry(node: RabbitNode, sizes: Any) -> Iterator[dict[str, Any]]:
    """How many of so many tasks expired, and how many of these SWF had not given up."""
    chance = random.Random(7)
    with Stand(node, worker=False) as stand:
        _register(stand)
        _declare(stand.url)
        threads = [_Consumer(stand.url, WORK, _do(chance)) for _ in range(4)]
        seen: list[tuple[str, float]] = []
        threads.append(_Consumer(stand.url, EXPIRED, _note(seen)))
        for each in threads:
            each.start()
        start = {"SWF_BRIDGE_TASK_LISTS": json.dumps(LISTS), "SWF_BRIDGE_UNROUTABLE_TIMEOUT": "600"}
        process = bridge(stand, "curl", in_flight=5000, more=start)
        until(lambda: stand.polls() > 0, "it polls")
        ids: dict[str, str] = {}
        kills = {"bridge": 0, "broker": 0}
        began = last_bridge = last_broker = time.monotonic()
        while len(ids) < sizes.expiry or stand.swf.counts()["open"]:
            now = time.monotonic()
            if len(ids) < min(sizes.expiry, (now - began) * RATE):
                _submit(stand, chance, ids, sizes.expiry)
            if len(ids) < sizes.expiry and now - last_broker > BROKER_KILLED:
                node.kill()
                node.start()
                kills["broker"] += 1
                last_broker = time.monotonic()
            elif len(ids) < sizes.expiry and now - last_bridge > BRIDGE_KILLED:
                process = _again(stand, process, start)
                kills["bridge"] += 1
                last_bridge = time.monotonic()
            time.sleep(0.05)
        time.sleep(5.0)  # the last of them expire
        for each in threads:
            each.stop()
        yield {"tasks": len(ids), **kills, **_judged(stand, ids, seen)}


def _again(stand: Stand, process: Process, more: dict[str, str]) -> Process:
    process.kill()
    return bridge(stand, "curl", in_flight=5000, more=more)


def _judged(stand: Stand, ids: dict[str, str], seen: list[tuple[str, float]]) -> dict[str, Any]:
    """The close of each task against the second in which RabbitMQ let it expire."""
    closed = {task["activityId"]: task for task in stand.swf.tasks()}
    still_open = [key for key, at in seen if (closed[key]["closedAt"] or float("inf")) > at + 1.0]
    states = stand.swf.counts()["closed"]
    return {
        "completed": states.get("completed", 0),
        "timed out": states.get("timed-out", 0),
        "expired in RabbitMQ": len(seen),
        "of these open in SWF": len(still_open),
    }


def _submit(stand: Stand, chance: random.Random, ids: dict[str, str], count: int) -> None:
    tasks = []
    for number in range(len(ids), min(count, len(ids) + 20)):
        own = chance.random() < 0.5
        task = {"domain": DOMAIN, "version": "1", "activityId": f"task-{number}"}
        if own:
            task |= {"taskList": "own", "name": "free", **_timeouts(chance)}
        else:
            task |= {"taskList": "typed", "name": chance.choice(list(TYPES))}
        tasks.append(task)
    for task, task_id in zip(tasks, stand.swf.submit_many(tasks), strict=True):
        ids[task["activityId"]] = task_id


def _timeouts(chance: random.Random) -> dict[str, str]:
    """At least one of them ends the task within a minute."""
    given = {
        "startToCloseTimeout": chance.choice(["NONE", "2", "5", "15", "40"]),
        "heartbeatTimeout": chance.choice(["NONE", "NONE", "2", "6"]),
        "scheduleToCloseTimeout": chance.choice(["NONE", "9", "30"]),
    }
    if set(given.values()) == {"NONE"}:
        given["scheduleToCloseTimeout"] = "50"
    return given


def _register(stand: Stand) -> None:
    client = boto3.client(
        "swf", endpoint_url=stand.endpoint, region_name="eu-west-1",
        aws_access_key_id="local", aws_secret_access_key="local",
    )  # fmt: skip
    client.register_activity_type(domain=DOMAIN, name="free", version="1")
    for name, seconds in TYPES.items():
        client.register_activity_type(
            domain=DOMAIN, name=name, version="1", defaultTaskStartToCloseTimeout=seconds
        )


def _declare(url: str) -> None:
    connection = BoundedConnection(pika.URLParameters(url))
    channel = connection.channel()
    for exchange, kind in ((EXCHANGE, "topic"), (EXPIRED, "fanout"), (UNDELIVERABLE, "fanout")):
        channel.exchange_declare(exchange, kind, durable=True)
    channel.exchange_bind(UNDELIVERABLE, EXPIRED)
    channel.queue_declare(WORK, durable=True, arguments={"x-dead-letter-exchange": EXPIRED})
    channel.queue_bind(WORK, EXCHANGE, "#")
    channel.queue_declare(EXPIRED, durable=True)
    channel.queue_bind(EXPIRED, EXPIRED)
    connection.close()


Deal = Callable[[Any, Any, Any, bytes], None]


class _Consumer(threading.Thread):
    """Consumes a queue, over restarts of the broker."""

    def __init__(self, url: str, queue: str, deal: Deal) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._queue = queue
        self._deal = deal
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Take no more."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._consume()
            except (AMQPError, OSError):
                self._stopping.wait(0.5)

    def _consume(self) -> None:
        channel = BoundedConnection(pika.URLParameters(self._url)).channel()
        channel.basic_qos(prefetch_count=1)
        for taken in channel.consume(self._queue, inactivity_timeout=0.2):
            method, properties, body = cast("tuple[Any, Any, bytes]", taken)
            if self._stopping.is_set():
                return
            if method is not None:
                self._deal(channel, method, properties, body)


def _note(seen: list[tuple[str, float]]) -> Deal:
    """Which task expired, and in which second."""

    def deal(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        death = properties.headers["x-death"][0]
        if death["reason"] == "expired":
            seen.append((json.loads(body)["activityId"], death["time"].timestamp()))
        channel.basic_ack(method.delivery_tag)

    return deal


def _do(chance: random.Random) -> Deal:
    """A worker that is slow, and not the best."""

    def deal(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        time.sleep(chance.uniform(0.0, 0.08))
        fate = chance.random()
        if fate < 0.05:
            channel.basic_reject(method.delivery_tag, requeue=True)
            return
        if fate > 0.1:
            fields = {"taskToken": json.loads(body)["taskToken"], "status": "completed"}
            sent = pika.BasicProperties(delivery_mode=2)
            channel.basic_publish("", properties.reply_to, json.dumps(fields).encode(), sent)
        channel.basic_ack(method.delivery_tag)  # else it forgets the task

    return deal
