"""A list with `queue` is polled only while its workers want tasks."""

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pika
import pytest

from bridge.conformance.amqp import BoundedConnection
from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from bridge.local.rabbitmq import RabbitNode
from bridge.rabbitmq.amqp import HEARTBEAT
from tests.acceptance.connections import connections_of
from tests.acceptance.harness import Start
from tests.brokers import Vhost
from tests.worker import Worker


class Consumer:
    """A worker that consumes from a queue, but takes only so many messages at once."""

    def __init__(self, url: str, queue: str, prefetch: int = 0) -> None:
        self._connection = BoundedConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=prefetch)
        self.taken: list[tuple[float, int]] = []
        self._channel.basic_consume(queue, self._take)

    def _take(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        self.taken.append((time.monotonic(), method.delivery_tag))

    def first(self, seconds: float) -> float | None:
        """When the first message came, waited for."""
        deadline = time.monotonic() + seconds
        while not self.taken and time.monotonic() < deadline:
            self._connection.process_data_events(0.05)  # type: ignore[no-untyped-call]
        return self.taken[0][0] if self.taken else None

    def ack_one(self) -> None:
        """Done with the oldest, and the next may come."""
        self._channel.basic_ack(self.taken.pop(0)[1])
        self._connection.process_data_events(0.1)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        if self._connection.is_open:
            self._connection.close()


@pytest.fixture
def swf() -> Iterator[LocalSwf]:
    """An SWF whose polls are so short that a poller that may poll is seen to."""
    with LocalSwf(hold=0.2) as swf:
        yield swf


@pytest.fixture
def consumers(vhost: Vhost) -> Iterator[Any]:
    made: list[Consumer] = []

    def consume(queue: str = "work", prefetch: int = 0) -> Consumer:
        made.append(Consumer(vhost.url, queue, prefetch))
        return made[-1]

    yield consume
    for each in made:
        each.close()


def polls(swf: LocalSwf) -> int:
    """Polls that SWF has answered so far."""
    return Counter(swf.counts()["calls"].get("PollForActivityTask", {})).total()


def lists(**more: object) -> str:
    return json.dumps([{"name": "demo", "queue": "work", **more}])


def rest(worker: Worker, seconds: float) -> None:
    """Let time pass in which nothing is to happen."""
    worker.until(lambda: False, seconds)


def test_a_list_without_a_consumer_takes_no_task_and_the_first_comes_soon_after_the_first_consumer(
    swf: LocalSwf, worker: Worker, start: Start, consumers: Any
) -> None:
    worker.queue()
    bridge = start(task_lists=lists())
    swf.submit_many([{"count": 5}])
    bridge.wait("broker.connected", connection="demand")
    rest(worker, 3)
    assert polls(swf) == 0
    assert swf.counts()["scheduled"] == 5
    came = time.monotonic()
    first = consumers().first(5)
    assert first is not None
    assert first - came < 3
    print(f"first task {first - came:.2f} s after the first consumer")
    bridge.wait("demand.seen", queue="work")


def test_no_poll_begins_two_seconds_after_the_last_consumer_left(
    swf: LocalSwf, worker: Worker, start: Start, consumers: Any
) -> None:
    worker.queue()
    bridge = start(task_lists=lists())
    consumer = consumers()
    assert worker.until(lambda: polls(swf) > 0)
    consumer.close()
    rest(worker, 2.0)
    assert worker.until(lambda: swf.counts()["polls"] == 0, 0.5), "a poll began too late"
    before = polls(swf)
    swf.submit()
    rest(worker, 2.5)
    assert polls(swf) == before
    assert swf.counts()["scheduled"] == 1
    bridge.wait("demand.none", reason="queue work has no consumer")


def test_a_list_whose_queue_holds_enough_is_not_polled_until_it_holds_less(
    swf: LocalSwf, worker: Worker, start: Start, consumers: Any
) -> None:
    worker.queue()
    bridge = start(task_lists=lists(max_in_flight=5))
    consumer = consumers(prefetch=1)
    bridge.wait("demand.seen", queue="work")
    for _ in range(6):
        worker.send(b"left here by another instance", to="work")
    bridge.wait("demand.none", reason="queue work holds 5 messages already")
    rest(worker, 0.5)
    before = polls(swf)
    rest(worker, 1.5)
    assert polls(swf) == before
    assert consumer.first(5) is not None
    consumer.ack_one()
    assert worker.until(lambda: polls(swf) > before)


def test_status_and_metrics_say_why_a_list_is_not_polled_and_other_lists_go_on(
    swf: LocalSwf, worker: Worker, start: Start, consumers: Any
) -> None:
    (port,) = free_ports(1)
    for queue in ("idle", "busy"):
        worker.queue(queue, bind=f"{queue}.*")
    named = [{"name": name, "queue": name} for name in ("missing", "idle", "busy")]
    bridge = start(task_lists=json.dumps(named), http=f"127.0.0.1:{port}")
    consumer = consumers("busy")

    def metrics() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())

    def why() -> dict[str, str]:
        return {each["taskList"]: each["notPolled"] for each in bridge.status["lists"]}

    def settled() -> bool:
        return why()["busy"] == "" and "not seen yet" not in str(why())

    assert worker.until(settled)
    told = why()
    assert told["idle"] == "queue idle has no consumer"
    assert "NOT_FOUND" in told["missing"]
    state = 'swf_bridge_pollers{domain="demo",state="%s",task_list="%s"}'
    expected = {state % ("no demand", name) for name in ("idle", "missing")}
    expected.add(state % ("polling", "busy"))
    assert worker.until(lambda: all(each in metrics() for each in expected))
    task_id = swf.submit("busy", task_list="busy")
    assert worker.until(lambda: swf.task(task_id)["state"] == "started")
    assert set(swf.counts()["taskLists"]) == {"demo/busy"}
    swf.options(hold=30.0)
    assert worker.until(lambda: swf.counts()["polls"] == 2)
    consumer.close()  # the open polls go on, but no new one begins
    assert worker.until(lambda: why()["busy"] == "queue busy has no consumer")


def test_looking_costs_rabbitmq_a_question_a_second(
    worker: Worker, start: Start, broker_node: RabbitNode
) -> None:
    worker.queue()
    bridge = start(task_lists=lists())
    bridge.wait("demand.none", queue="work")

    def frames() -> int:
        """What RabbitMQ has received on the connection that looks."""
        (found,) = connections_of(broker_node, bridge, "demand")
        return int(found["recv_cnt"])

    before, since = frames(), time.monotonic()
    rest(worker, 4.0)
    asked, seconds = frames() - before, time.monotonic() - since
    alive = 1 + seconds / (HEARTBEAT / 2)
    assert 3 <= asked <= seconds + 1 + alive, "one question a second, and heartbeats"
