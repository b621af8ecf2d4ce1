"""Answers to heartbeats over a real RabbitMQ, also to addresses that are forged.

RabbitMQ 3 closes the connection over one; RabbitMQ 4 drops what is sent there, and confirms it.
"""

import base64
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator

import pika
import pytest

from bridge.conformance.amqp import BoundedConnection
from bridge.flow.heartbeats.answers import Answers
from bridge.flow.heartbeats.reply_to import DIRECT, node_of
from bridge.message.message import Message, heartbeat_answer
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.publisher import Fate, Publisher, Receipt
from bridge.rabbitmq.topology import Topology
from bridge.threads.timer import Timer
from tests.brokers import Vhost
from tests.integration.running import Running
from tests.processes import until

TOPOLOGY = Topology("tasks", "cancels", "replies", "dead", "undeliverable", "test")
KEY = "xlkDdv9Et7oGfescIUkUAQ=="


@pytest.fixture
def publisher(vhost: Vhost) -> Iterator[Publisher]:
    publisher = Publisher([vhost.url], Tls(), (), declare=True, name="answers")
    with Running() as running:
        running.start(publisher)
        yield publisher


@pytest.fixture
def timer() -> Iterator[Timer]:
    timer = Timer()
    thread = threading.Thread(target=timer.run, daemon=True)
    thread.start()
    yield timer
    timer.stop()
    thread.join(5)


@pytest.fixture
def worker(vhost: Vhost) -> Iterator[BoundedConnection]:
    with BoundedConnection(pika.URLParameters(vhost.url)) as connection:
        yield connection


def answer(reply_to: str) -> Message:
    return heartbeat_answer("token", reply_to, None, is_open=True, cancel_requested=False)


@pytest.fixture
def closes(vhost: Vhost) -> bool:
    """Whether this RabbitMQ closes the connection over a forged address."""
    return vhost.major < 4


def forged(node: str) -> str:
    """The direct reply-to of a node that there is not, as RabbitMQ would write it."""
    name = node.encode()
    pid = b"\x83Xv" + len(name).to_bytes(2, "big") + name + bytes(12)
    return f"{DIRECT}{base64.b64encode(pid).decode()}.{KEY}"


def direct(worker: BoundedConnection) -> tuple[str, list[bytes]]:
    """A direct reply-to of RabbitMQ's own, and what comes there."""
    came: list[bytes] = []
    channel = worker.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_consume(
        "amq.rabbitmq.reply-to", lambda *given: came.append(given[-1]), auto_ack=True
    )
    properties = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to")
    channel.basic_publish("", queue, b"a heartbeat", properties)
    found = []

    def arrived() -> bool:
        method, got, _ = channel.basic_get(queue, auto_ack=True)
        found.extend([got.reply_to] if method else [])
        return bool(found)

    assert until(arrived)
    return found[0], came


def comes(worker: BoundedConnection, condition: Callable[[], bool], seconds: float) -> bool:
    def looked() -> bool:
        worker.process_data_events(0.01)
        return condition()

    return until(looked, seconds)


def test_forged_addresses_without_number_delay_no_other_answer(
    publisher: Publisher, worker: BoundedConnection, timer: Timer, *, closes: bool
) -> None:
    """A good answer every tenth of a second, and 400 to forged addresses before each."""
    worker.channel().queue_declare("good", durable=True)
    answers = Answers(publisher, TOPOLOGY, timer)
    names = (f"reply@{number}" for number in itertools.count())
    shapes = (f"{DIRECT}a.b", f"{DIRECT}{base64.b64encode(b'x' * 20).decode()}.{KEY}", DIRECT)
    took = []
    for _ in range(15):
        for number in range(400):
            shape = shapes[number % 3] if number % 2 else forged(next(names))
            answers.publish(answer(shape), "task")
        receipts: list[Receipt] = []
        began = time.monotonic()
        publisher.publish(answer("good"), receipts.append)
        assert until(lambda receipts=receipts: bool(receipts), 5)
        assert receipts[0].fate is Fate.CONFIRMED
        took.append(time.monotonic() - began)
        time.sleep(0.1)
    assert max(took) < 1.0, took
    if closes:
        assert publisher.reconnects >= 2, "the forged nodes are tried"
    else:
        assert publisher.reconnects == 0


def test_a_connection_that_is_lost_over_a_message_is_there_again_without_back_off(
    publisher: Publisher, *, closes: bool
) -> None:
    began = time.monotonic()
    for number in range(10):
        receipts: list[Receipt] = []
        publisher.publish(answer(forged(f"reply@{number}")), receipts.append)
        assert until(lambda receipts=receipts: bool(receipts), 10)
        assert receipts[0].fate is (Fate.REFUSED if closes else Fate.CONFIRMED)
    assert publisher.reconnects >= 10 if closes else publisher.reconnects == 0
    assert time.monotonic() - began < 6, "back-off would take 30 s"


def test_a_direct_reply_to_is_answered_also_while_others_are_forged(
    publisher: Publisher, worker: BoundedConnection, timer: Timer
) -> None:
    answers = Answers(publisher, TOPOLOGY, timer)
    address, came = direct(worker)
    assert node_of(address)
    answers.publish(answer(address), "task")
    assert comes(worker, lambda: len(came) == 1, 5)
    for number in range(20):
        answers.publish(answer(forged(f"reply@{number}")), "task")
        answers.publish(answer(address), "task")
    assert comes(worker, lambda: len(came) == 21, 5)
    assert json.loads(came[-1])["taskToken"] == "token"


def test_all_who_ask_at_once_are_answered_and_wait_for_one_trial_of_their_node(
    publisher: Publisher, worker: BoundedConnection, timer: Timer
) -> None:
    answers = Answers(publisher, TOPOLOGY, timer)
    address, came = direct(worker)
    for _ in range(20):
        answers.publish(answer(address), "task")
    assert comes(worker, lambda: len(came) == 20, 5)


def test_a_node_is_tried_in_its_turn_behind_one_that_there_is_not(
    publisher: Publisher, worker: BoundedConnection, timer: Timer
) -> None:
    answers = Answers(publisher, TOPOLOGY, timer)
    address, came = direct(worker)
    answers.publish(answer(forged("reply@1")), "task")
    answers.publish(answer(address), "task")
    assert comes(worker, lambda: len(came) == 1, 10)


@pytest.mark.parametrize("queue", ["replies", "dead", "undeliverable", "swf.bridge.quorum.1"])
def test_no_answer_goes_to_a_queue_of_a_bridge(
    publisher: Publisher, timer: Timer, queue: str
) -> None:
    Answers(publisher, TOPOLOGY, timer).publish(answer(queue), "task")
    assert publisher.outstanding == 0
