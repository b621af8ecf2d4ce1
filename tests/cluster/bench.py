"""The bridge between a local SWF and a cluster, under a steady load, and what SWF saw of it."""

import json
import os
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import pika
import pika.exceptions

from bridge.conformance.amqp import BoundedConnection
from bridge.local import LocalSwf
from bridge.local.keeper import Keeper
from tests.faults.daemon import Daemon

from .nodes import Cluster, Member, await_that, environment

RATE = 40.0
"""Tasks a second."""
WORKERS = 2
PREFETCH = 50


class Worker(threading.Thread):
    """Takes tasks from a quorum queue and answers them at once; connects again whenever it must."""

    def __init__(self, urls: list[str], number: int) -> None:
        super().__init__(name=f"worker-{number}", daemon=True)
        self.received: Counter[str] = Counter()
        turn = number % len(urls)
        self._urls = urls[turn:] + urls[:turn]
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            for url in self._urls:
                with suppress(pika.exceptions.AMQPError, OSError):
                    self._work(url)
                if self._over.wait(0.1):
                    return

    def stop(self) -> None:
        self._over.set()

    def _work(self, url: str) -> None:
        parameters = pika.URLParameters(url)
        parameters.heartbeat = 4
        parameters.socket_timeout = parameters.stack_timeout = 4
        parameters.blocked_connection_timeout = 10
        connection = BoundedConnection(parameters)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("work", durable=True, arguments={"x-queue-type": "quorum"})
            channel.exchange_declare("swf.activities", "topic", durable=True)
            channel.queue_bind("work", "swf.activities", "#")
            channel.basic_qos(prefetch_count=PREFETCH)
            for method, properties, body in channel.consume("work", inactivity_timeout=0.5):
                if self._over.is_set():
                    return
                if method is not None:
                    self._answer(channel, method, properties, body)
        finally:
            with suppress(pika.exceptions.AMQPError, OSError):
                connection.close()

    def _answer(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.received[properties.message_id] += 1
        reply = {"taskToken": json.loads(body)["taskToken"], "status": "completed"}
        persistent = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", properties.reply_to, json.dumps(reply), persistent, True)
        channel.basic_ack(method.delivery_tag)


class Load(threading.Thread):
    """Submits tasks at a steady rate."""

    def __init__(self, swf: LocalSwf) -> None:
        super().__init__(name="load", daemon=True)
        self._swf = swf
        self._over = threading.Event()

    def run(self) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            self._swf.submit("work")
            due += 1 / RATE
            self._over.wait(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        self._over.set()
        self.join()


class Bench:
    """`with Bench(cluster) as bench:`; every process and file of it ends with the block."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            keeper = stack.enter_context(Keeper("cluster-"))
            self.swf = stack.enter_context(LocalSwf(hold=3.0, any_domain=True))
            settings = {
                **environment(),
                "HOME": os.fspath(keeper.folder),
                "AWS_ENDPOINT_URL_SWF": self.swf.endpoint,
                "AWS_REGION": "eu-west-1",
                "AWS_ACCESS_KEY_ID": "bench",
                "AWS_SECRET_ACCESS_KEY": "bench",
                "SWF_BRIDGE_AMQP_URL": ",".join(self.cluster.urls()),
                "SWF_BRIDGE_DOMAIN": "demo",
                "SWF_BRIDGE_TASK_LISTS": '[{"name": "demo", "pollers": 4, "max_in_flight": 400}]',
                "SWF_BRIDGE_CONTROL": os.fspath(keeper.folder / "control.sock"),
                "SWF_BRIDGE_JOURNAL": os.fspath(keeper.folder / "journal.db"),
                "SWF_BRIDGE_UNROUTABLE_TIMEOUT": "3600",
                "SWF_BRIDGE_HTTP": "off",
                "SWF_BRIDGE_LOG_LEVEL": "DEBUG",
                "SWF_BRIDGE_LOG_FORMAT": "json",
            }
            self.daemon = Daemon(keeper, settings)
            stack.callback(self.daemon.close)
            self.workers = [Worker(self.cluster.urls(), number) for number in range(WORKERS)]
            for worker in self.workers:
                stack.callback(worker.join)
                stack.callback(worker.stop)
                worker.start()
            self.daemon.start()
            stack.callback(self.daemon.stop)
            self.load = Load(self.swf)
            stack.callback(self.load.stop)
            self.load.start()
            await_that(lambda: self.closed() > 2 * RATE, 60, "the first tasks closed")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def used_by(self, connection: str) -> Member:
        """The node to which the daemon says that this connection is connected."""
        told = self.daemon.said("broker.connected")
        last = [each["address"] for each in told if each["connection"] == connection][-1]
        return next(node for node in self.cluster.nodes if f":{node.port} " in last)

    def closed(self) -> int:
        """Tasks that SWF has closed."""
        return sum(self.swf.counts()["closed"].values())

    def await_progress(self, seconds: float = 60.0) -> float:
        """The seconds until a second's worth of tasks more was closed."""
        goal = self.closed() + RATE
        return await_that(lambda: self.closed() >= goal, seconds, "tasks closed again")

    def longest_gap(self, since: float, until: float) -> float:
        """The longest time between two Unix times in which SWF closed no task."""
        tasks = self.swf.tasks(limit=1_000_000)
        times = sorted(task["closedAt"] for task in tasks if task["closedAt"])
        inside = [since, *(at for at in times if since < at < until), until]
        return max(after - before for before, after in pairwise(inside))

    def twice(self) -> int:
        """Deliveries to workers beyond the first of each task."""
        # A copy first, in one go: the workers count on.
        each = (Counter(dict(worker.received)) for worker in self.workers)
        received = sum(each, Counter())
        return received.total() - len(received)

    def finish(self, seconds: float = 90.0) -> list[dict[str, Any]]:
        """No more load; the tasks that are not closed in the end: lost."""
        self.load.stop()
        with suppress(AssertionError):
            await_that(lambda: not self._open(), seconds, "every task closed")
        return [*self._open(), *self._failed()]

    def _open(self) -> list[dict[str, Any]]:
        tasks = self.swf.tasks(limit=1_000_000)
        return [task for task in tasks if not task["closedAt"]]

    def _failed(self) -> list[dict[str, Any]]:
        tasks = self.swf.tasks(limit=1_000_000)
        return [task for task in tasks if task["closedAt"] and task["state"] != "completed"]
