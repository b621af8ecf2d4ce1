"""The consumer on a real RabbitMQ: what was settled is acknowledged, and nothing else."""

import random
import struct
import threading
import time
from collections import deque
from collections.abc import Callable

import pika
import pytest

from bridge.local.rabbitmq import RabbitNode
from bridge.message.message import UNDECODABLE_HEADERS, Message
from bridge.rabbitmq.consuming.consumer import PREFETCH, Consumer
from bridge.rabbitmq.consuming.delivery import Ack, Delivery, Later, Park
from bridge.rabbitmq.consuming.parking import PARKING
from bridge.rabbitmq.publisher import Done, Fate, Publisher, Receipt
from bridge.rabbitmq.topology import Topology
from tests.brokers import Vhost
from tests.integration.running import Running, await_that, consumer, publisher
from tests.worker import DEAD, REPLIES, Worker


class Inbox:
    """Deliveries as they come; `decide`, where it is set, settles each at once."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.decide: Callable[[Delivery], object] = lambda delivery: None

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.decide(delivery)

    def wait(self, count: int) -> None:
        await_that(lambda: len(self.deliveries) >= count)

    def bodies(self) -> list[int]:
        return [int(delivery.body) for delivery in self.deliveries]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def sender(vhost: Vhost, topology: Topology, running: Running) -> Publisher:
    part = publisher(vhost.url, topology)
    running.start(part)
    return part


@pytest.fixture
def part(
    sender: Publisher, vhost: Vhost, topology: Topology, running: Running, inbox: Inbox
) -> Consumer:
    part = consumer(vhost.url, topology, inbox, sender.publish)
    running.start(part)
    return part


def send(worker: Worker, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        worker.send(str(number).encode())


def left(worker: Worker, running: Running) -> int:
    """Replies that RabbitMQ still has once everything is stopped: unacknowledged ones come back."""
    running.stop()
    counts: list[int] = []

    def stable() -> bool:
        counts.append(worker.ready(REPLIES))
        return counts[-3:] == [counts[-1]] * 3

    assert worker.until(stable)
    return counts[-1]


# --- acknowledgements ---


def test_outcomes_in_any_order_from_many_threads_leave_nothing_unacknowledged(
    part: Consumer, inbox: Inbox, worker: Worker, running: Running
) -> None:
    lock, waiting = threading.Lock(), list[Delivery]()

    def settle() -> None:
        chance = random.Random(threading.get_ident())
        while not done.is_set():
            with lock:
                found = waiting.pop(chance.randrange(len(waiting))) if waiting else None
            if found:
                part.settle(found, Ack())
            else:
                done.wait(0.001)

    def collect(delivery: Delivery) -> None:
        with lock:
            waiting.append(delivery)

    done = threading.Event()
    inbox.decide = collect
    threads = [threading.Thread(target=settle, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    send(worker, 1000)
    inbox.wait(1000)
    await_that(lambda: not part.unsettled)
    done.set()
    assert sorted(inbox.bodies()) == list(range(1000))
    assert left(worker, running) == 0


def test_only_what_was_settled_is_acknowledged(
    part: Consumer, inbox: Inbox, worker: Worker, running: Running
) -> None:
    send(worker, 100)
    inbox.wait(100)
    for delivery in inbox.deliveries[1::2]:
        part.settle(delivery, Ack())
    await_that(lambda: part.unsettled == 50)
    assert left(worker, running) == 50
    assert [int(taken.body) for taken in worker.take_all(REPLIES)] == list(range(0, 100, 2))


def test_an_outcome_that_is_settled_twice_is_acknowledged_once(
    part: Consumer, inbox: Inbox, worker: Worker, running: Running
) -> None:
    send(worker, 10)
    inbox.wait(10)
    for delivery in inbox.deliveries[:5]:
        part.settle(delivery, Ack())
        part.settle(delivery, Ack())
    await_that(lambda: part.unsettled == 5)
    for delivery in inbox.deliveries[:5]:
        part.settle(delivery, Ack())
    assert left(worker, running) == 5
    assert part.reconnects == 0


def test_the_outcome_of_an_earlier_life_acknowledges_nothing(
    part: Consumer,
    inbox: Inbox,
    worker: Worker,
    running: Running,
    vhost: Vhost,
    broker_node: RabbitNode,
) -> None:
    send(worker, 20)
    inbox.wait(20)
    worker.close()
    old = list(inbox.deliveries)
    broker_node.close_all_connections()
    inbox.wait(40)
    for delivery in old:
        part.settle(delivery, Ack())
    part.settle(inbox.deliveries[-1], Ack())
    await_that(lambda: part.unsettled == 19)
    assert {delivery.redelivered for delivery in inbox.deliveries[20:]} == {True}
    again = Worker(vhost.url)
    assert left(again, running) == 19
    again.close()


def test_acknowledgements_go_on_while_publishers_are_blocked(
    part: Consumer,
    sender: Publisher,
    inbox: Inbox,
    worker: Worker,
    broker_node: RabbitNode,
    running: Running,
) -> None:
    send(worker, 50)
    inbox.wait(50)
    broker_node.memory_alarm(True)
    try:
        sender.publish(Message("", REPLIES, b"50"), lambda receipt: None)
        await_that(lambda: sender.blocked)
        for delivery in inbox.deliveries:
            part.settle(delivery, Ack())
        await_that(lambda: worker.ready(REPLIES) == 0 and not part.unsettled)
        assert part.ready.is_set()
    finally:
        broker_node.memory_alarm(False)
    inbox.wait(51)
    part.settle(inbox.deliveries[50], Ack())
    assert left(worker, running) == 0


def test_what_was_settled_right_before_the_stop_is_acknowledged(
    part: Consumer, inbox: Inbox, worker: Worker, running: Running
) -> None:
    send(worker, 3)
    inbox.wait(3)
    busy = threading.Event()
    inbox.decide = lambda delivery: busy.wait(10)  # so that it finds all of this at once
    send(worker, 1, start=3)
    inbox.wait(4)
    for delivery in inbox.deliveries[:3]:
        part.settle(delivery, Ack())
    part.stop()
    part.stop()
    busy.set()
    assert left(worker, running) == 1


def test_after_cancel_what_was_delivered_can_be_settled_and_nothing_more_comes(
    part: Consumer, inbox: Inbox, worker: Worker, running: Running
) -> None:
    send(worker, 10)
    inbox.wait(10)
    part.cancel()
    for delivery in inbox.deliveries:
        part.settle(delivery, Ack())

    def consumers() -> int:
        return int(worker.channel.queue_declare(REPLIES, passive=True).method.consumer_count)

    await_that(lambda: not part.unsettled and consumers() == 0)
    send(worker, 3, start=10)
    assert left(worker, running) == 3
    assert len(inbox.deliveries) == 10


# --- queues that come and go ---


def test_a_queue_that_is_deleted_is_declared_and_consumed_again(
    part: Consumer, inbox: Inbox, worker: Worker
) -> None:
    inbox.decide = lambda delivery: part.settle(delivery, Ack())
    send(worker, 5)
    inbox.wait(5)
    worker.channel.queue_delete(REPLIES)
    assert worker.until(lambda: part.reconnects >= 1 and part.ready.is_set())
    send(worker, 5, start=5)
    inbox.wait(10)
    assert inbox.bodies() == list(range(10))


# --- what is kept ---


def hold(inbox: Inbox, part: Consumer, seconds: float) -> None:
    inbox.decide = lambda delivery: part.settle(delivery, Later(seconds))


def test_a_held_delivery_is_handed_on_again_when_its_time_has_come(
    part: Consumer, inbox: Inbox, worker: Worker, running: Running
) -> None:
    hold(inbox, part, 0.2)
    began = time.monotonic()
    send(worker, 1)
    inbox.wait(3)
    assert 0.4 <= time.monotonic() - began < 3
    assert len({id(delivery) for delivery in inbox.deliveries}) == 1
    assert left(worker, running) == 1


def test_with_half_the_prefetch_held_others_come_through(
    part: Consumer,
    inbox: Inbox,
    worker: Worker,
    running: Running,
) -> None:
    part.held.limit = 100

    def decide(delivery: Delivery) -> None:
        good = int(delivery.body) >= 1000
        part.settle(delivery, Ack() if good else Later(0.3))

    inbox.decide = decide
    send(worker, 400)
    send(worker, 5, start=1000)
    await_that(lambda: set(inbox.bodies()) >= set(range(1000, 1005)))
    inbox.decide = lambda delivery: part.settle(delivery, Ack())
    await_that(lambda: worker.ready(REPLIES) == 0 and not part.unsettled and not part.held)
    assert set(inbox.bodies()) == {*range(400), *range(1000, 1005)}
    assert left(worker, running) == 0


def test_a_reply_held_for_too_long_goes_to_the_tail_unchanged(
    part: Consumer, inbox: Inbox, worker: Worker
) -> None:
    part.held.seconds = 0.2
    hold(inbox, part, 0.1)
    worker.send(b"7", headers={"mine": "x", "CC": ["work"]}, correlation_id="c", expiration="99999")
    await_that(lambda: len({delivery.tag for delivery in inbox.deliveries}) >= 3)
    inbox.decide = lambda delivery: part.settle(delivery, Ack())
    await_that(lambda: not part.held and not part.unsettled)
    last = inbox.deliveries[-1]
    assert (last.body, last.redelivered) == (b"7", False)
    assert last.properties["correlation_id"] == "c"
    assert last.properties["headers"]["mine"] == "x"
    assert last.properties["delivery_mode"] == 2
    assert "expiration" not in last.properties
    assert "CC" not in last.properties["headers"]


def test_a_tail_that_cannot_be_had_is_tried_seldom(
    vhost: Vhost,
    topology: Topology,
    running: Running,
    inbox: Inbox,
    worker: Worker,
) -> None:
    tries: list[Message] = []

    def full(message: Message, done: Done) -> None:
        tries.append(message)
        done(Receipt(Fate.NACKED, "a queue did not take it"))

    part = consumer(vhost.url, topology, inbox, full)
    part.held.seconds, part.held.tail_retry = 0.1, 0.3
    running.start(part)
    hold(inbox, part, 0.1)
    send(worker, 1)
    began = time.monotonic()
    await_that(lambda: len(tries) >= 3)
    assert time.monotonic() - began > 0.5


# --- dead letters ---


def test_a_dead_letter_is_stored_before_the_reply_is_acknowledged(
    part: Consumer, sender: Publisher, inbox: Inbox, worker: Worker, running: Running
) -> None:
    send(worker, 200)
    inbox.wait(200)
    for delivery in inbox.deliveries:
        part.settle(delivery, Park("not-json", "why"))
    dead = worker.take_many(200, DEAD)
    assert sorted(int(taken.body) for taken in dead) == list(range(200))
    await_that(lambda: not part.unsettled)
    assert left(worker, running) == 0


def test_a_dead_letter_that_was_not_stored_leaves_the_reply_where_it_is(
    vhost: Vhost, topology: Topology, running: Running, inbox: Inbox, worker: Worker
) -> None:
    def lost(message: Message, done: Done) -> None:
        done(Receipt(Fate.NACKED, "a queue did not take it"))

    part = consumer(vhost.url, topology, inbox, lost)
    running.start(part)
    send(worker, 1)
    inbox.wait(1)
    part.settle(inbox.deliveries[0], Park("not-json", "why"))
    await_that(lambda: part.unparked == 1)
    assert left(worker, running) == 1


def test_a_dead_letter_queue_that_was_deleted_is_declared_again_for_the_next_letter(
    part: Consumer, vhost: Vhost, inbox: Inbox, worker: Worker, running: Running
) -> None:
    inbox.decide = lambda delivery: part.settle(delivery, Park("not-json", "why"))
    vhost.api.delete_queue(DEAD, vhost=vhost.name)
    send(worker, 1, start=7)
    assert worker.until(lambda: worker.exists(DEAD), 15)
    assert worker.take(DEAD).body == b"7"
    await_that(lambda: not part.unsettled and not part.unparked)
    assert part.reconnects == 0
    assert left(worker, running) == 0


def test_good_replies_come_before_bad_ones_are_parked_and_no_bad_one_comes_twice(
    vhost: Vhost, topology: Topology, running: Running, inbox: Inbox, worker: Worker
) -> None:
    letters: deque[Done] = deque()

    def all_are_confirmed() -> bool:
        while letters:
            letters.popleft()(Receipt(Fate.CONFIRMED))
        return part.unsettled == 1

    good_came = threading.Event()

    def judge(delivery: Delivery) -> None:
        if delivery.body == b"3000":
            good_came.set()
        else:
            part.settle(delivery, Park("not-json", "why"))

    inbox.decide = judge
    part = consumer(vhost.url, topology, inbox, lambda message, done: letters.append(done))
    running.start(part)
    send(worker, 3001)
    await_that(good_came.is_set)
    assert len(letters) <= PARKING, "none was confirmed, and the others wait"
    await_that(all_are_confirmed)
    assert sorted(inbox.bodies()) == list(range(3001))
    assert not any(delivery.redelivered for delivery in inbox.deliveries)
    assert left(worker, running) == 1


def test_bad_replies_for_which_there_is_no_memory_are_parked_later(
    sender: Publisher,
    vhost: Vhost,
    topology: Topology,
    running: Running,
    inbox: Inbox,
    worker: Worker,
) -> None:
    part = consumer(vhost.url, topology, inbox, sender.publish, budget=200_000)
    inbox.decide = lambda delivery: part.settle(delivery, Park("not-json", "why"))
    running.start(part)
    send(worker, 600)
    dead = worker.take_many(600, DEAD)
    assert sorted(int(taken.body) for taken in dead) == list(range(600))
    await_that(lambda: not part.unsettled and not part.unparked)
    assert left(worker, running) == 0


# --- headers that pika cannot decode ---


def table(*fields: bytes) -> bytes:
    return struct.pack(">I", len(b"".join(fields))) + b"".join(fields)


def field(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + value


def nested(depth: int) -> bytes:
    inner = table()
    for _ in range(depth):
        inner = table(field(b"t", b"F" + inner))
    return inner


class RawHeaders(pika.BasicProperties):
    """Headers as bytes on the wire, as other languages' clients may send them."""

    def __init__(self, encoded: bytes) -> None:
        super().__init__()
        self._encoded = encoded

    def encode(self) -> list[bytes]:
        return [struct.pack(">H", 1 << 13 | 1 << 12), self._encoded, b"\x02"]


MILLISECONDS = field(b"at", b"T" + struct.pack(">Q", 1_760_000_000_000))
BEFORE_1970 = field(b"at", b"T" + struct.pack(">q", -1))
HEADERS = {
    "milliseconds for a time": table(MILLISECONDS),
    "a time before 1970": table(BEFORE_1970),
    "such a time in an array in a table": table(
        field(b"t", b"F" + table(field(b"a", b"A" + struct.pack(">I", 9) + MILLISECONDS[3:])))
    ),
    "tables in tables": nested(1000),
    "a name that is not UTF-8": table(field(b"\xff\xfe", b"S\x00\x00\x00\x01x")),
    "a name that is not UTF-8, further in": table(
        field(b"t", b"F" + table(field(b"\xff", b"S\x00\x00\x00\x01x")))
    ),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_pika_cannot_decode_get_through_and_into_a_dead_letter(
    part: Consumer, inbox: Inbox, worker: Worker, running: Running, kind: str
) -> None:
    worker.channel.basic_publish("", REPLIES, b"7", RawHeaders(HEADERS[kind]), mandatory=True)
    send(worker, 1, start=8)
    inbox.wait(2)
    assert inbox.bodies() == [7, 8]
    assert UNDECODABLE_HEADERS in inbox.deliveries[0].properties["headers"]
    part.settle(inbox.deliveries[0], Park("not-an-object", "why"))
    part.settle(inbox.deliveries[1], Ack())
    dead = worker.take(DEAD)
    assert dead.body == b"7"
    assert "cannot be decoded" in dead.headers["swf-bridge-error-detail"]
    await_that(lambda: not part.unsettled)  # a letter may be read before its confirm is
    assert part.reconnects == 0
    assert left(worker, running) == 0


ODD = {
    "text that is not UTF-8": table(field(b"s", b"S\x00\x00\x00\x01\xff")),
    "a fraction": table(field(b"d", b"d" + struct.pack(">d", 1.5))),
    "a decimal": table(field(b"d", b"D\x02" + struct.pack(">i", -12345))),
    "a decimal of 200 digits": table(field(b"d", b"D\xc8" + struct.pack(">i", 1))),
    "numbers of every size": table(
        field(b"b", b"b\xff"),
        field(b"s", b"s" + struct.pack(">h", -2)),
        field(b"i", b"I" + struct.pack(">i", -3)),
        field(b"l", b"l" + struct.pack(">q", -(2**62))),
    ),
    "a table of many": table(*(field(str(n).encode(), b"t\x01") for n in range(5000))),
    "a name twice": table(field(b"a", b"t\x01"), field(b"a", b"t\x00")),
    "an empty name": table(field(b"", b"t\x01")),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_headers_do_no_harm_on_the_way_to_the_dead_letters(
    part: Consumer, inbox: Inbox, worker: Worker, running: Running, kind: str
) -> None:
    worker.channel.basic_publish("", REPLIES, b"7", RawHeaders(ODD[kind]), mandatory=True)
    inbox.wait(1)
    part.settle(inbox.deliveries[0], Park("not-an-object", "why"))
    assert worker.take(DEAD).body == b"7"
    await_that(lambda: not part.unsettled)
    assert part.reconnects == 0
    assert left(worker, running) == 0


# --- bytes in hand ---


def test_no_more_bytes_than_the_budget_are_in_hand_and_all_come_in_the_end(
    sender: Publisher,
    vhost: Vhost,
    topology: Topology,
    running: Running,
    inbox: Inbox,
    worker: Worker,
) -> None:
    part = consumer(vhost.url, topology, inbox, sender.publish, budget=1_000_000)
    running.start(part)
    for number in range(40):
        worker.send(b"%d" % number + b" " * 100_000)
    inbox.wait(8)
    send(worker, 50, start=100)  # small ones find room beside large ones
    inbox.wait(58)
    assert sum(len(delivery.body) for delivery in inbox.deliveries) <= 1_000_000
    assert worker.ready(REPLIES) == 0
    seen: set[int] = set()
    while len(seen) < 90:
        taken, inbox.deliveries[:] = list(inbox.deliveries), []
        for delivery in taken:
            seen.add(int(delivery.body))
            part.settle(delivery, Ack())
        await_that(lambda: bool(inbox.deliveries) or len(seen) == 90)
    await_that(lambda: not part.unsettled)
    assert left(worker, running) == 0


def test_more_large_replies_than_the_prefetch_leave_the_way_free_to_small_ones(
    sender: Publisher,
    vhost: Vhost,
    topology: Topology,
    running: Running,
    inbox: Inbox,
    worker: Worker,
) -> None:
    part = consumer(vhost.url, topology, inbox, sender.publish, budget=80_000)
    running.start(part)
    for number in range(PREFETCH + 100):
        worker.send(b"%d" % number + b" " * 5_000)
    inbox.wait(10)
    send(worker, 20, start=1000)
    await_that(lambda: {*range(1000, 1020)} <= {*inbox.bodies()})
    assert len(inbox.deliveries) < PREFETCH, "the large ones are set aside"


def test_large_replies_held_and_set_aside_leave_the_way_free_to_small_ones(
    vhost: Vhost, topology: Topology, running: Running, inbox: Inbox, worker: Worker
) -> None:
    """Together they are as many as the prefetch, though neither alone is."""
    part = consumer(vhost.url, topology, inbox, lambda message, done: None, budget=600_000)
    hold(inbox, part, 60)
    running.start(part)
    for number in range(PREFETCH):
        worker.send(b"%d" % number + b" " * 5_000)
    send(worker, 100, start=1000)
    await_that(lambda: {*range(1000, 1100)} <= {*inbox.bodies()})
    assert len(part.held) > 100, "and the small ones"
    assert len({each for each in inbox.bodies() if each < 1000}) < PREFETCH // 2


def test_one_body_over_the_budget_comes_when_nothing_else_is_in_hand(
    sender: Publisher,
    vhost: Vhost,
    topology: Topology,
    running: Running,
    inbox: Inbox,
    worker: Worker,
) -> None:
    part = consumer(vhost.url, topology, inbox, sender.publish, budget=1_000)
    running.start(part)
    for number in range(3):
        worker.send(b"%d" % number + b" " * 5_000)
    for number in range(3):
        inbox.wait(number + 1)
        part.settle(inbox.deliveries[number], Ack())
    assert inbox.bodies() == [0, 1, 2]
    await_that(lambda: not part.unsettled)
    assert left(worker, running) == 0


def test_what_is_set_aside_for_long_is_given_back_before_rabbitmq_loses_patience(
    sender: Publisher,
    vhost: Vhost,
    topology: Topology,
    running: Running,
    inbox: Inbox,
    worker: Worker,
) -> None:
    part = consumer(vhost.url, topology, inbox, sender.publish, budget=1_000)
    part.no_room.refresh = 1.0
    running.start(part)
    for number in range(2):
        worker.send(b"%d" % number + b" " * 5_000)
    inbox.wait(1)
    worker.until(lambda: False, 3.5)
    part.settle(inbox.deliveries[0], Ack())
    inbox.wait(2)
    headers = inbox.deliveries[1].properties["headers"]
    # RabbitMQ 4.3 counts what is given back by itself, and not as a failed delivery.
    assert headers.get("x-acquired-count", headers.get("x-delivery-count")) >= 2, headers


def test_a_reply_that_is_parked_twice_leaves_room_for_others(
    vhost: Vhost, topology: Topology, running: Running, inbox: Inbox, worker: Worker
) -> None:
    told: list[Done] = []
    part = consumer(vhost.url, topology, inbox, lambda message, done: told.append(done))
    running.start(part)
    send(worker, 1)
    inbox.wait(1)
    for _ in range(2):
        part.settle(inbox.deliveries[0], Park("not-json", "why"))
    await_that(lambda: len(told) == 2)
    for done in told:
        done(Receipt(Fate.CONFIRMED))
        await_that(lambda: not part.unsettled)
    await_that(lambda: part.parking.under_way == 0)
    assert left(worker, running) == 0
