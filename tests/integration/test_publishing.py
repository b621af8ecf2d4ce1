"""The publisher on a real RabbitMQ: each message gets its own receipt, whatever happens."""

import logging
import os
import random
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import pika
import pytest

from bridge.local.ports import free_ports
from bridge.local.rabbitmq import RabbitNode
from bridge.message.message import Message
from bridge.rabbitmq import publisher as publisher_module
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.publisher import Fate, Publisher
from bridge.rabbitmq.topology import Exchange, Topology
from tests.brokers import Vhost
from tests.integration.running import Receipts, Running, await_that, numbered, publisher
from tests.worker import Worker


@pytest.fixture
def part(vhost: Vhost, topology: Topology, running: Running) -> Publisher:
    part = publisher(vhost.url, topology)
    running.start(part)
    return part


def stored(worker: Worker, queue: str = "work") -> list[int]:
    """The numbers of the messages in the queue, in order."""
    return [int(taken.body) for taken in worker.take_all(queue)]


def publish(part: Publisher, numbers: range, key: str = "work") -> Receipts:
    receipts = Receipts()
    for number in numbers:
        part.publish(numbered(number, key), receipts.done(number))
    return receipts


# --- confirms ---


def test_what_many_threads_hand_over_is_confirmed_and_stored_once(
    part: Publisher, worker: Worker
) -> None:
    worker.queue("work", bind="work")
    receipts = Receipts()

    def hand_over(numbers: range) -> None:
        for number in numbers:
            part.publish(numbered(number), receipts.done(number))

    threads = [threading.Thread(target=hand_over, args=(range(n, 2000, 4),)) for n in range(4)]
    for thread in threads:
        thread.start()
    receipts.wait(2000)
    assert receipts.fates() == {Fate.CONFIRMED: 2000}
    assert part.outstanding == 0
    assert sorted(stored(worker)) == list(range(2000))


def test_messages_of_one_thread_stay_in_order(part: Publisher, worker: Worker) -> None:
    worker.queue("work", bind="work")
    publish(part, range(1000)).wait(1000)
    assert stored(worker) == list(range(1000))


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_return_is_matched_to_its_own_message_among_many(
    part: Publisher, worker: Worker, kind: str
) -> None:
    worker.queue("work", bind="work", queue_type=kind)
    chance = random.Random(1)
    keys = [chance.choice(["work", "nobody's"]) for _ in range(1500)]
    receipts = Receipts()
    for number, key in enumerate(keys):
        part.publish(numbered(number, key), receipts.done(number))
    receipts.wait(len(keys))
    wanted = {"work": Fate.CONFIRMED, "nobody's": Fate.UNROUTABLE}
    assert [receipts.by_number[n].fate for n in range(len(keys))] == [wanted[k] for k in keys]
    assert sorted(stored(worker)) == [n for n, key in enumerate(keys) if key == "work"]


def test_a_full_queue_refuses_its_own_messages_alone(part: Publisher, worker: Worker) -> None:
    worker.queue("full", bind="full", max_length=5, overflow="reject-publish")
    worker.queue("work", bind="work")
    receipts = Receipts()
    for number in range(200):
        part.publish(numbered(number, ("full", "work")[number % 2]), receipts.done(number))
    receipts.wait(200)
    fates = [receipts.by_number[number].fate for number in range(200)]
    assert set(fates[1::2]) == {Fate.CONFIRMED}
    assert set(fates[0::2]) == {Fate.CONFIRMED, Fate.NACKED}
    confirmed = [n for n in range(0, 200, 2) if fates[n] is Fate.CONFIRMED]
    assert stored(worker, "full") == confirmed


def test_a_channel_on_which_a_queue_nacks_is_renewed_and_no_other_message_comes_twice(
    part: Publisher,
    worker: Worker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    part.renew_cap = publisher_module.RENEW_FIRST
    caplog.set_level(logging.DEBUG, publisher_module.log.name)
    worker.queue("full", bind="full", max_length=1, overflow="reject-publish")
    worker.queue("work", bind="work")
    receipts = Receipts()
    number = 0

    def renewed() -> int:
        return [each.getMessage() for each in caplog.records].count("broker.channel_renewed")

    def send_both() -> bool:
        nonlocal number
        for key in ("full", "work"):
            part.publish(numbered(number, key), receipts.done(number))
            number += 1
        return renewed() >= 2

    await_that(send_both)
    receipts.wait(number)
    fates = [receipts.by_number[each].fate for each in range(number)]
    assert set(fates[1::2]) == {Fate.CONFIRMED}
    assert Fate.NACKED in fates[0::2]
    assert stored(worker) == list(range(1, number, 2))
    assert part.reconnects == 0


# --- messages that RabbitMQ or pika will not have ---


def test_a_message_for_a_missing_exchange_is_refused_and_no_other(
    part: Publisher, worker: Worker
) -> None:
    worker.queue("work", bind="work")
    receipts = Receipts()
    for number in range(50):
        exchange = "missing" if number in (7, 30) else "swf.activities"
        part.publish(numbered(number, exchange=exchange), receipts.done(number))
    receipts.wait(50)
    refused = [n for n, receipt in receipts.by_number.items() if receipt.fate is Fate.REFUSED]
    assert sorted(refused) == [7, 30]
    assert "404" in receipts.by_number[7].detail
    assert set(range(50)) - {7, 30} == set(stored(worker))


@pytest.mark.parametrize(
    "message",
    [
        Message("", "amq.rabbitmq.reply-to.nonsense.nonsense", b"", mandatory=False),
        Message("", "work", b"", {"headers": {"large": "x" * 140_000}}),
        Message("", "work", b"", {"headers": {"n" * 300: "x"}}),
        Message("", "work", b"", {"headers": {"x": object()}}),
        Message("", "work", b"", {"expiration": "abc"}),
        Message("", "work", b"", {"expiration": 7}),
        Message("", "work", b"", {"user_id": "somebody else"}),
        Message("", "k" * 256, b""),
    ],
    ids=[
        "malformed direct reply-to",
        "header frame too large",
        "name of a header too long",
        "header of no type of AMQP's",
        "expiration of letters",
        "expiration that is no text",
        "another's user id",
        "routing key too long",
    ],
)
def test_a_message_that_cannot_be_sent_is_refused_and_no_other(
    part: Publisher, worker: Worker, message: Message
) -> None:
    worker.queue("work", bind="work")
    receipts = Receipts()
    for number in range(21):
        part.publish(message if number == 10 else numbered(number), receipts.done(number))
    receipts.wait(21)
    assert receipts.by_number[10].fate in (Fate.REFUSED, Fate.CONFIRMED)
    assert set(range(21)) - {10} == set(stored(worker))


def test_what_is_handed_over_while_a_channel_is_set_up_is_confirmed_as_soon_as_it_stands(
    part: Publisher, worker: Worker
) -> None:
    worker.queue("work", bind="work")
    receipts = Receipts()
    closes_the_channel = Message("", "work", b"", {"expiration": "abc"})
    for number in range(300):
        message = numbered(number) if number % 3 else closes_the_channel
        part.publish(message, receipts.done(number))
        if number % 10 == 0:
            await_that(lambda before=number: len(receipts.by_number) >= before - 5)
    receipts.wait(300, 10)
    assert receipts.fates() == {Fate.CONFIRMED: 200, Fate.REFUSED: 100}
    assert set(stored(worker)) == {number for number in range(300) if number % 3}


# --- what breaks under traffic ---


def test_nothing_is_lost_where_connections_are_closed_under_traffic(
    part: Publisher, worker: Worker, vhost: Vhost, broker_node: RabbitNode
) -> None:
    worker.queue("work", bind="work")
    worker.close()
    receipts = Receipts()
    closed = threading.Event()

    def hand_over() -> None:
        number = 0
        while not closed.is_set() or number < 1000:
            part.publish(numbered(number), receipts.done(number))
            number += 1
            closed.wait(0.0005)

    thread = threading.Thread(target=hand_over, daemon=True)
    thread.start()
    broker_node.close_all_connections()
    await_that(lambda: part.reconnects >= 1 and part.ready.is_set())
    broker_node.close_all_connections()
    closed.set()
    thread.join()
    await_that(lambda: not part.outstanding)
    assert receipts.fates() == {Fate.CONFIRMED: len(receipts.by_number)}
    again = Worker(vhost.url)
    assert set(stored(again)) == set(receipts.by_number)
    again.close()


def test_nothing_is_lost_where_the_broker_is_killed(
    part: Publisher, worker: Worker, vhost: Vhost, broker_node: RabbitNode
) -> None:
    worker.queue("work", bind="work")
    worker.close()
    broker_node.eval("mnesia:sync_log().")  # or the queue may be gone with the node
    receipts = publish(part, range(3000))
    receipts.wait(100)
    broker_node.kill()
    for number in range(3000, 3100):
        part.publish(numbered(number), receipts.done(number))
    await_that(lambda: not part.ready.is_set())
    broker_node.start()
    receipts.wait(3100)
    assert receipts.fates() == {Fate.CONFIRMED: 3100}
    again = Worker(vhost.url)
    assert set(stored(again)) == set(range(3100))
    again.close()


def test_a_broker_that_hangs_is_given_up_and_everything_sent_again(
    part: Publisher, worker: Worker, broker_node: RabbitNode
) -> None:
    part.confirm_timeout = 0.5
    worker.queue("work", bind="work")
    broker_node.pause()
    try:
        receipts = publish(part, range(100))
        await_that(lambda: not part.ready.is_set())
    finally:
        broker_node.resume()
    receipts.wait(100)
    assert receipts.fates() == {Fate.CONFIRMED: 100}
    assert set(stored(worker)) == set(range(100))


def test_an_alarm_blocks_and_what_waited_is_stored_once(
    part: Publisher,
    worker: Worker,
    broker_node: RabbitNode,
) -> None:
    part.confirm_timeout = 1.5
    worker.queue("work", bind="work")
    broker_node.memory_alarm(True)
    try:
        receipts = publish(part, range(1))
        await_that(lambda: part.blocked)
        assert not part.ready.is_set()
        for number in range(1, 500):
            part.publish(numbered(number), receipts.done(number))
        assert not receipts.by_number
    finally:
        broker_node.memory_alarm(False)
    receipts.wait(500)
    assert part.ready.is_set()
    assert part.reconnects == 0 or not part.blocked
    assert stored(worker) == list(range(500))


def test_an_exchange_deleted_under_traffic_stands_again_and_every_message_has_a_fate(
    part: Publisher, worker: Worker
) -> None:
    worker.queue("work", bind="work")
    receipts = publish(part, range(2000))
    receipts.wait(50)
    worker.channel.exchange_delete("swf.activities")
    receipts.wait(2000)
    assert set(receipts.fates()) <= {Fate.CONFIRMED, Fate.UNROUTABLE, Fate.REFUSED}
    confirmed = {n for n, each in receipts.by_number.items() if each.fate is Fate.CONFIRMED}
    assert confirmed <= set(stored(worker))
    # All may have been there before the deletion: only a message tells that the exchange is gone.
    part.publish(numbered(2000), receipts.done(2000))
    receipts.wait(2001)
    assert receipts.by_number[2000].fate is Fate.UNROUTABLE
    # Declared again with the next connection, but the binding is the worker's.
    await_that(part.ready.is_set)
    worker.channel.exchange_declare("swf.activities", "topic", passive=True)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_publishing_goes_on_where_a_queue_is_deleted_under_traffic_and_comes_back(
    part: Publisher, worker: Worker, kind: str
) -> None:
    part.confirm_timeout = 1.0
    worker.queue("work", bind="work", queue_type=kind)
    receipts = publish(part, range(2000))
    receipts.wait(100)
    worker.channel.queue_delete("work")
    receipts.wait(2000)
    # RabbitMQ 4 nacks what was on its way into a quorum queue; 3.10 confirms it, or says nothing.
    assert set(receipts.fates()) <= {Fate.CONFIRMED, Fate.UNROUTABLE, Fate.NACKED}
    worker.queue("work", bind="work", queue_type=kind)
    for number in range(2000, 2100):
        part.publish(numbered(number), receipts.done(number))
    receipts.wait(2100)
    assert stored(worker) == list(range(2000, 2100))


# --- connecting ---


def test_the_next_address_is_tried_where_a_host_has_none(
    vhost: Vhost, topology: Topology, running: Running
) -> None:
    urls = ["amqp://guest:guest@no-such-host.invalid:5672/", vhost.url]
    part = Publisher(urls, Tls(), topology.for_tasks(), declare=True)
    running.start(part)
    assert part.reconnects == 1


def test_a_publisher_that_was_never_connected_ends_when_it_is_asked_to(
    topology: Topology, running: Running
) -> None:
    part = publisher(f"amqp://127.0.0.1:{free_ports(1)[0]}", topology)
    running.start(part, await_ready=False)
    await_that(lambda: bool(part.outage.error))
    running.stop()


def test_a_server_that_says_nothing_is_given_up_when_it_is_asked_to_end(
    topology: Topology, running: Running
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        part = publisher(f"amqp://127.0.0.1:{silent.getsockname()[1]}", topology)
        running.start(part, await_ready=False)
        silent.accept()
        running.stop()


def test_hundreds_of_reconnects_leave_no_descriptor_and_no_thread(
    vhost: Vhost, running: Running
) -> None:
    refusing = f"amqp://127.0.0.1:{free_ports(1)[0]}"
    part = Publisher([vhost.url, refusing], Tls(), [Exchange("e", "topic")], declare=True)
    part.backoff.first = part.backoff.cap = 0.001
    running.start(part)
    before = open_files(), threading.active_count()
    for number in range(100):  # each one life with RabbitMQ, and one with nobody
        receipts = Receipts()
        part.publish(numbered(number, exchange="missing"), receipts.done(number))
        receipts.wait(1)
        assert receipts.fates() == {Fate.REFUSED: 1}
    await_that(part.ready.is_set)
    assert part.reconnects >= 100
    await_that(lambda: (open_files(), threading.active_count()) <= before)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_node_that_is_silent_is_given_up_for_another(
    vhost: Vhost,
    running: Running,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Frozen(vhost.url) as frozen:
        part = Publisher([frozen.url, vhost.url], Tls(), [Exchange("e", "topic")], declare=True)
        part.silence.most = 5  # a heartbeat comes every four
        running.start(part)
        assert part.node.startswith(f"127.0.0.1:{frozen.port} ")
        frozen.freeze()
        await_that(lambda: part.ready.is_set() and not part.node.startswith(frozen.shown))
    (lost,) = [each for each in caplog.records if each.getMessage() == "broker.lost"]
    assert "silent for 5 seconds" in vars(lost)["error"]


class Frozen:
    """A way to RabbitMQ on which nothing passes any more once it is frozen; it stays open."""

    def __init__(self, url: str) -> None:
        self._target = pika.URLParameters(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.shown = f"127.0.0.1:{self.port} "
        parts = urlsplit(url)
        login = parts.netloc.rpartition("@")[0]
        self.url = parts._replace(netloc=f"{login}@127.0.0.1:{self.port}").geturl()
        self._frozen = threading.Event()
        self._open: list[socket.socket] = []

    def __enter__(self) -> "Frozen":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._open):
            each.close()

    def freeze(self) -> None:
        self._frozen.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((self._target.host, self._target.port))
                self._open += (near, far)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while (data := source.recv(65536)) and not self._frozen.is_set():
                sink.sendall(data)


# --- messages whose time is limited ---


def test_what_is_past_before_it_can_be_sent_is_not_sent(part: Publisher, worker: Worker) -> None:
    worker.queue("work", bind="work")
    receipts, now = Receipts(), time.monotonic()
    for number, until in enumerate((now - 1, None, now + 60, now + 2**32)):
        part.publish(replace(numbered(number), until=until), receipts.done(number))
    receipts.wait(4)
    assert receipts.fates() == {Fate.EXPIRED: 1, Fate.CONFIRMED: 3}
    told = {int(taken.body): taken.properties.expiration for taken in worker.take_all("work")}
    assert (told[1], told[3]) == (None, None), "RabbitMQ takes no more than 49 days"
    assert 50_000 < int(told[2]) <= 60_001
