"""Some cases of every input, and some through a real RabbitMQ; `make fuzz` has more."""

import os
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pika
import pika.exceptions
import pytest

from bridge.conformance.amqp import BoundedConnection
from bridge.errors import BadReply
from bridge.message.replies import decode_reply
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.consuming.consumer import Consumer
from bridge.rabbitmq.consuming.delivery import Ack, Delivery, Park
from bridge.rabbitmq.publisher import Publisher
from bridge.rabbitmq.topology import Topology
from tests.brokers import Vhost
from tests.processes import until

from . import amqp_tables as amqp
from . import corpus
from .case import Case
from .every import INPUTS
from .inputs import Feed, Input
from .process import Process, made, names, share

SENT = 400
SHORT = 300
"""Cases of an input whose share is 1 to 10; of one whose share is larger, more."""


@pytest.mark.parametrize("name", names())
def test_no_case_ends_the_process_hangs_or_shows_a_traceback(name: str) -> None:
    process = Process()
    try:
        process.give(name, 0, SHORT * max(1, min(10, share(name) // 5)))
        while not process.pipe.poll(1.0):
            process.look()
        found = process.take()
    finally:
        process.end()
    assert found.failed is None, f"case {found.failed} of {name}: {found.why}"
    assert len(found.seen) > 1, f"all came to the same: {found.seen}"


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_whatever_the_corpus_holds_is_taken(name: str) -> None:
    """What failed once stands there."""
    with INPUTS[name].make() as feed:
        for data in corpus.read(name):
            feed(data)


def test_the_cases_are_many_kinds_of_replies_and_dead_letters() -> None:
    assert len({Case.of(number).run() for number in range(1000)}) >= 10


def test_a_process_that_ends_over_a_case_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def deadly() -> Iterator[Feed]:
        yield lambda data: os._exit(11) if b"die" in data else "lives"

    monkeypatch.setitem(INPUTS, "deadly", Input("deadly", deadly, (b"live", b"die")))
    process = Process()
    try:
        process.give("deadly", 0, 1000)
        found = process.take()
    finally:
        process.end()
    assert found.failed is not None
    assert b"die" in made("deadly", found.failed, [b"live", b"die"])
    assert found.why == "the process ended with 11"


def test_a_case_that_hangs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def hanging() -> Iterator[Feed]:
        yield lambda data: time.sleep(60) or "woke"

    monkeypatch.setitem(INPUTS, "hanging", Input("hanging", hanging, (b"x",)))
    process = Process(hang=0.5)
    try:
        process.give("hanging", 5, 1)
        while not process.pipe.poll(0.2):
            process.look()
        assert process.take().failed == 5
    finally:
        process.end()


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (struct.pack(">H", 0), True),
        (struct.pack(">H", 1 << amqp.HEADERS) + amqp.long(b"\x01nt\x01"), True),
        (struct.pack(">H", 1 << amqp.HEADERS) + amqp.long(b"\x01nt"), False),
        (struct.pack(">H", 1 << amqp.HEADERS) + amqp.long(b"\x01n?\x01"), False),
        (struct.pack(">H", 1 << amqp.HEADERS) + amqp.deep(b"F", 5000), True),
        (struct.pack(">H", 1 << amqp.TIMESTAMP) + bytes(7), False),
        (struct.pack(">H", 0) + b"more", False),
    ],
)
def test_a_content_header_is_judged_as_rabbitmq_does(header: bytes, taken: bool) -> None:
    assert amqp.accepts(header) is taken


class Raw(pika.BasicProperties):
    """Properties whose content header was encoded elsewhere."""

    def __init__(self, header: bytes) -> None:
        super().__init__()
        self._header = header

    def encode(self) -> list[bytes]:
        return [self._header]


@contextmanager
def running(part: Connection) -> Iterator[None]:
    thread = threading.Thread(target=part.run, daemon=True)
    thread.start()
    assert part.ready.wait(30)
    yield
    part.stop()
    thread.join(15)
    assert not thread.is_alive()


def send(url: str, cases: Iterable[Case]) -> int:
    """How many of them RabbitMQ took; it closes the connection over those that it does not."""
    taken = 0
    connection = None
    for case in cases:
        if connection is None or connection.is_closed:
            connection = BoundedConnection(pika.URLParameters(url))
            channel = connection.channel()
            channel.confirm_delivery()
        try:
            channel.basic_publish("", "replies", case.body, Raw(case.header))
            taken += 1
        except pika.exceptions.AMQPError:
            if connection.is_open:
                connection.close()
    return taken


def test_through_a_real_broker_the_consumer_survives_every_case(vhost: Vhost) -> None:
    """Each message that RabbitMQ takes is acknowledged or becomes a dead letter, on one life of
    both connections.
    """
    topology = Topology("tasks", "cancels", "replies", "dead", "undeliverable", "fuzz")
    got: list[Delivery] = []
    publisher = Publisher([vhost.url], Tls(), topology.for_tasks(), declare=True)

    def deliver(delivery: Delivery) -> None:
        got.append(delivery)
        try:
            decode_reply(delivery.body, delivery.properties["headers"])
        except BadReply as error:
            consumer.settle(delivery, Park(error.code, error.detail))
        else:
            consumer.settle(delivery, Ack())

    consumer = Consumer(
        [vhost.url],
        Tls(),
        topology.for_replies(),
        declare=True,
        queue="replies",
        dead_letter_queue="dead",
        deliver=deliver,
        publish=publisher.publish,
    )
    with running(publisher), running(consumer):
        sent = send(vhost.url, map(Case.of, range(SENT)))
        assert until(lambda: len(got) >= sent and not consumer.unsettled, 60)
        assert consumer.reconnects == publisher.reconnects == 0
    assert sent > SENT / 4
    assert len(got) == sent
    with BoundedConnection(pika.URLParameters(vhost.url)) as connection:
        queue = connection.channel().queue_declare("replies", passive=True)
        assert queue.method.message_count == 0
