"""The commands at the dead letters, on a real RabbitMQ and a publisher that the test speaks for."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from bridge.control.dead_letter import DeadLetter
from bridge.control.dead_letter_queue import CONFIRM_TIMEOUT, DeadLetterConsumer
from bridge.control.dead_letters import DeadLetterCommands
from bridge.control.request import Request
from bridge.errors import Declined, Unavailable
from bridge.message.message import Message
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.publisher import Done, Fate, Receipt
from bridge.rabbitmq.topology import QUORUM
from tests.brokers import Vhost
from tests.integration.running import await_that
from tests.worker import DEAD, Worker

MANY = 120


class Said:
    """A publisher that gives each message the receipt that the test says; None: none at all."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.ready.set()
        self.fate: Callable[[Message], Fate | None] = lambda message: Fate.CONFIRMED
        self.messages: list[Message] = []

    def publish(self, message: Message, done: Done, *, alone: bool = False) -> None:
        self.messages.append(message)
        fate = self.fate(message)
        if fate is not None:
            receipt = Receipt(fate, "" if fate is Fate.CONFIRMED else "as the test says")
            threading.Thread(target=done, args=(receipt,)).start()


@pytest.fixture
def publisher() -> Said:
    return Said()


@pytest.fixture
def letters(request: pytest.FixtureRequest, vhost: Vhost, publisher: Said) -> DeadLetterCommands:
    """The commands; a test may give them other bounds, as the fixture's parameter."""
    bounds: dict[str, Any] = {**getattr(request, "param", {})}
    own = {name: bounds.pop(name) for name in ("confirm_timeout",) if name in bounds}
    make = partial(DeadLetterConsumer, [vhost.url], Tls(), DEAD, declare=True, **own)
    halted = lambda: False  # noqa: E731
    return DeadLetterCommands(make, publisher, reply_queue="swf.replies", halted=halted, **bounds)


def given(**bounds: float) -> pytest.MarkDecorator:
    """Commands with these bounds."""
    return pytest.mark.parametrize("letters", [bounds], indirect=True, ids=[""])


@pytest.fixture
def dead(worker: Worker) -> Worker:
    """A queue with many letters, in order."""
    worker.channel.queue_declare(DEAD, durable=True, arguments=dict(QUORUM))
    for n in range(MANY):
        headers = {"swf-bridge-error": "not-json", "swf-bridge-error-detail": "no", "mine": n}
        worker.channel.basic_publish("", DEAD, b"letter %d" % n, properties(n, headers))
    assert worker.until(lambda: worker.ready(DEAD) == MANY)
    return worker


def properties(n: int, headers: dict[str, Any]) -> Any:
    import pika

    return pika.BasicProperties(delivery_mode=2, message_id=f"m{n}", headers=headers, priority=3)


def carry_out(command: Callable[[Request], Any], **fields: Any) -> tuple[list[Any], Any]:
    """Rows and result."""
    answers = [each for each in command(Request(fields)) if "progress" not in each]
    return [each["row"] for each in answers[:-1]], answers[-1]["result"]


def test_letters_are_seen_in_their_order_again_and_again(
    letters: DeadLetterCommands, dead: Worker
) -> None:
    for deliveries in range(3):
        rows, told = carry_out(letters.list_dead_letters)
        assert [row["messageId"] for row in rows] == [f"m{n}" for n in range(MANY)]
        assert {row["deliveries"] for row in rows} == {deliveries}
        assert told == {"letters": MANY, "seen": MANY, "shown": MANY, "notBack": 0}


def test_looking_at_some_letters_changes_the_order_of_none(
    letters: DeadLetterCommands, dead: Worker
) -> None:
    for _ in range(3):
        rows, told = carry_out(letters.list_dead_letters, limit=5)
        assert [row["messageId"] for row in rows] == [f"m{n}" for n in range(5)]
        assert (told["letters"], told["seen"]) == (MANY, 5)
        _, shown = carry_out(letters.show_dead_letter, id="2")
        assert shown["messageId"] == "m1"
    carry_out(letters.drop, all=True, limit=2)
    rows, _ = carry_out(letters.list_dead_letters)
    assert [row["messageId"] for row in rows] == [f"m{n}" for n in range(2, MANY)]


def test_an_empty_queue_and_one_that_is_missing_hold_no_letters(
    letters: DeadLetterCommands, worker: Worker
) -> None:
    for _ in range(2):
        rows, told = carry_out(letters.list_dead_letters)
        assert (rows, told["letters"]) == ([], 0)
    with pytest.raises(Declined, match="no dead letter 1"):
        carry_out(letters.show_dead_letter, id="1")


def test_a_replayed_letter_is_the_reply_as_its_worker_sent_it(
    letters: DeadLetterCommands, dead: Worker, publisher: Said
) -> None:
    _, told = carry_out(letters.replay, all=True)
    assert (told["matched"], told["confirmed"]) == (MANY, MANY)
    assert [each.body for each in publisher.messages] == [b"letter %d" % n for n in range(MANY)]
    first = publisher.messages[0]
    assert (first.exchange, first.routing_key, first.mandatory) == ("", "swf.replies", True)
    assert first.properties["headers"] == {"mine": 0}
    assert first.properties["priority"] == 3
    assert first.properties["delivery_mode"] == 2
    assert dead.ready(DEAD) == 0


@pytest.mark.parametrize("fate", [Fate.NACKED, Fate.UNROUTABLE, Fate.REFUSED])
def test_a_letter_that_the_reply_queue_does_not_take_stays_a_letter(
    letters: DeadLetterCommands, dead: Worker, publisher: Said, fate: Fate
) -> None:
    publisher.fate = lambda message: fate if message.body.endswith(b"7") else Fate.CONFIRMED
    _, told = carry_out(letters.replay, all=True)
    assert told[fate.value] == MANY // 10
    assert told["confirmed"] == MANY - MANY // 10
    assert told["reasons"] == {"as the test says": MANY // 10}
    rows, _ = carry_out(letters.list_dead_letters)
    assert [row["messageId"] for row in rows] == [f"m{n}" for n in range(7, MANY, 10)]


@given(confirm_timeout=1.0)
def test_a_letter_whose_confirm_never_comes_stays_a_letter(
    letters: DeadLetterCommands, dead: Worker, publisher: Said
) -> None:
    publisher.fate = lambda message: None if message.body == b"letter 3" else Fate.CONFIRMED
    with pytest.raises(Unavailable, match="no confirm"):
        carry_out(letters.replay, all=True, limit=10)
    await_that(lambda: dead.ready(DEAD) >= MANY - 9)
    rows, _ = carry_out(letters.list_dead_letters)
    assert "m3" in [row["messageId"] for row in rows]


def test_a_command_that_is_broken_off_loses_no_letter(
    letters: DeadLetterCommands, dead: Worker, publisher: Said
) -> None:
    publisher.fate = lambda message: None
    answers = letters.replay(Request({"all": True}))
    assert "progress" in next(answers)
    answers.close()
    await_that(lambda: dead.ready(DEAD) == MANY)


@given(leave_timeout=0.2)
def test_one_command_at_a_time_is_at_the_letters(
    letters: DeadLetterCommands, dead: Worker, publisher: Said
) -> None:
    publisher.fate = lambda message: None
    first = letters.replay(Request({"all": True}))
    next(first)
    with pytest.raises(Declined) as busy:
        carry_out(letters.list_dead_letters)
    assert busy.value.code == "busy"
    first.close()


def test_a_stopping_daemon_leaves_the_letters_alone(
    vhost: Vhost, dead: Worker, publisher: Said
) -> None:
    make = partial(DeadLetterConsumer, [vhost.url], Tls(), DEAD, declare=True)
    letters = DeadLetterCommands(make, publisher, reply_queue="swf.replies", halted=lambda: True)
    publisher.fate = lambda message: None
    with pytest.raises(Declined) as stopping:
        carry_out(letters.replay, all=True)
    assert stopping.value.code == "stopping"
    began = time.monotonic()
    await_that(lambda: dead.ready(DEAD) == MANY)
    assert time.monotonic() - began < CONFIRM_TIMEOUT / 2, "it waited for confirms all the same"


def test_headers_that_cannot_be_decoded_and_odd_properties_are_borne(
    letters: DeadLetterCommands, dead: Worker
) -> None:
    dead.channel.queue_purge(DEAD)
    import pika

    dead.channel.basic_publish(
        "", DEAD, b"\xff\xfe",
        pika.BasicProperties(headers={"x-delivery-count": "many", "swf-bridge-error": 7},
                             timestamp=1_700_000_000_000, correlation_id="é" * 100),
    )  # fmt: skip
    assert dead.until(lambda: dead.ready(DEAD) == 1)
    (row,), _ = carry_out(letters.list_dead_letters)
    assert (row["code"], row["messageId"], row["task"]) == ("7", None, "")
    assert row["sentAt"] == 1_700_000_000
    _, whole = carry_out(letters.show_dead_letter, id="1", payload=True)
    assert whole["bodyBase64"] == "//4="


def test_no_broker_is_told_as_such(publisher: Said) -> None:
    make = partial(
        DeadLetterConsumer, ["amqp://guest:guest@127.0.0.1:1/"], Tls(), DEAD, declare=True
    )
    letters = DeadLetterCommands(make, publisher, reply_queue="swf.replies", halted=lambda: False)
    with pytest.raises(Unavailable, match="RabbitMQ"):
        carry_out(letters.list_dead_letters)


@pytest.mark.parametrize("payload", [False, True])
@given(list_limit=20_000)
def test_a_list_that_would_take_too_much_memory_is_declined_and_nothing_is_lost(
    letters: DeadLetterCommands, dead: Worker, payload: bool
) -> None:
    with pytest.raises(Declined, match="--limit"):
        carry_out(letters.list_dead_letters, payload=payload, limit=MANY)
    rows, _ = carry_out(letters.list_dead_letters, payload=payload, limit=10)
    assert len(rows) == 10
    assert dead.until(lambda: dead.ready(DEAD) == MANY)


@given(list_limit=100_000)
def test_headers_count_for_the_memory_of_a_list_that_shows_them(
    letters: DeadLetterCommands, worker: Worker
) -> None:
    worker.channel.queue_declare(DEAD, durable=True, arguments=dict(QUORUM))
    for n in range(20):
        worker.channel.basic_publish("", DEAD, b"", properties(n, {"mine": "x" * 10_000}))
    assert worker.until(lambda: worker.ready(DEAD) == 20)
    assert len(carry_out(letters.list_dead_letters)[0]) == 20
    with pytest.raises(Declined, match="--limit"):
        carry_out(letters.list_dead_letters, payload=True)
    assert len(carry_out(letters.list_dead_letters, payload=True, limit=5)[0]) == 5


def test_letters_that_rabbitmq_has_not_put_back_are_told_by_their_number(
    vhost: Vhost, dead: Worker
) -> None:
    def on_dead_letter(consumer: DeadLetterConsumer, each: DeadLetter) -> None:
        if each.position == 1:  # another consumer, who is given what this one gives back
            dead.channel.basic_consume(DEAD, lambda *_: None)
        elif each.position == MANY:
            consumer.acknowledge(each)

    consumer = DeadLetterConsumer(
        [vhost.url], Tls(), DEAD, on_dead_letter, declare=True, return_timeout=0.5
    )
    consumer.run()
    assert (consumer.error, consumer.not_back) == (None, MANY - 1)


def test_forged_details_of_100_kb_are_cut_before_they_are_looked_through(
    letters: DeadLetterCommands, worker: Worker
) -> None:
    worker.channel.queue_declare(DEAD, durable=True, arguments=dict(QUORUM))
    for n in range(20):
        detail = ("a" * 21 + "://") * 4_000
        worker.channel.basic_publish(
            "", DEAD, b"", properties(n, {"swf-bridge-error-detail": detail})
        )
    begun = time.process_time()
    rows, _ = carry_out(letters.list_dead_letters, limit=20)
    assert time.process_time() - begun < 5
    assert {len(row["detail"]) for row in rows} == {1024}
