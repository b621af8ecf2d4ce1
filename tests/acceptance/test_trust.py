"""SECURITY.md: who may publish replies, what a forged token does, what a worker can do to others.

Bridge and worker have the permissions that the operations page gives them, and no others.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from bridge.conformance.amqp import BoundedConnection
from bridge.local import LocalSwf
from tests.acceptance.harness import Bridge, Start, notice_queue
from tests.brokers import Vhost
from tests.documented import documented, documented_topics
from tests.processes import until
from tests.worker import DEAD, REPLIES, Taken, Worker

PASSWORD = "of-somebody"


@pytest.fixture
def login(vhost: Vhost) -> Iterator[Callable[..., str]]:
    """Makes a user with permissions; its URL."""
    made: list[str] = []

    def login(name: str, **permissions: str) -> str:
        made.append(f"{name}-{vhost.name}")
        vhost.api.add_user(made[-1], PASSWORD)
        vhost.api.set_permissions(made[-1], vhost=vhost.name, **permissions)
        scheme, _, rest = vhost.url.partition("://")
        return f"{scheme}://{made[-1]}:{PASSWORD}@{rest.rpartition('@')[2]}"

    yield login
    for user in made:
        vhost.api.delete_user(user)


@pytest.fixture
def bridge(start: Start, login: Callable[..., str]) -> Bridge:
    """A daemon with the login that the operations page has for it."""
    bridge = start(amqp_url=login("bridge", **documented("bridge")))
    bridge.wait_connected()
    return bridge


@pytest.fixture
def greeter(bridge: Bridge, login: Callable[..., str]) -> Iterator[Any]:
    """The channel of a worker with the login that the operations page has for it."""
    url = login("greeter", **documented("greeter"))
    connection = BoundedConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare("greeter", durable=True)
    channel.queue_bind("greeter", "swf.activities", "#")
    yield channel
    connection.close()


def taken(greeter: Any) -> Taken:
    """The next task, by the worker's own login."""
    for method, properties, body in greeter.consume("greeter", inactivity_timeout=15):
        assert method is not None, "no task came"
        greeter.basic_ack(method.delivery_tag)
        greeter.cancel()
        return Taken(body, properties, method.routing_key, method.redelivered)
    raise AssertionError


def answer(greeter: Any, token: str, result: str) -> None:
    reply = {"taskToken": token, "status": "completed", "result": result}
    greeter.basic_publish("", REPLIES, json.dumps(reply))


def test_a_worker_can_do_its_work_and_nothing_to_the_queues_and_exchanges_of_others(
    bridge: Bridge, greeter: Any, swf: LocalSwf, worker: Worker
) -> None:
    task_id = swf.submit("greet")
    answer(greeter, taken(greeter).json["taskToken"], "hello")
    assert swf.wait_closed(task_id, 10), bridge.log
    worker.queue("another", bind=None)
    forbidden: dict[str, Callable[[Any], object]] = {
        "read replies": lambda channel: channel.basic_get(REPLIES),
        "read dead letters": lambda channel: channel.basic_get(DEAD),
        "purge replies": lambda channel: channel.queue_purge(REPLIES),
        "delete replies": lambda channel: channel.queue_delete(REPLIES),
        "read another's tasks": lambda channel: channel.basic_get("another"),
        "bind another's queue": lambda channel: channel.queue_bind("another", "swf.activities"),
        "hear of notices": lambda channel: channel.queue_bind("greeter", "swf.replies.notices"),
        "delete an exchange": lambda channel: channel.exchange_delete("swf.activities"),
        "publish a task": lambda channel: publish(channel, "swf.activities"),
        "publish a notice": lambda channel: publish(channel, "swf.replies.notices"),
        "publish a cancel": lambda channel: publish(channel, "swf.cancellations"),
    }
    for what, attempt in forbidden.items():
        channel = greeter.connection.channel()
        with pytest.raises(ChannelClosedByBroker) as refused:
            attempt(channel)
        assert refused.value.reply_code == 403, what


@pytest.fixture
def separated(greeter: Any, vhost: Vhost) -> Any:
    """The worker's connection once its topic permissions stand, too."""
    exchange, write, read = documented_topics("greeter")
    vhost.api.call(
        "PUT",
        f"topic-permissions/{vhost.name}/greeter-{vhost.name}",
        {"exchange": exchange, "write": write, "read": read},
    )
    greeter.queue_unbind("greeter", "swf.activities", "#")
    return greeter.connection


@pytest.mark.parametrize("key", ["#", "*.*.*", "Sender.send.1.0", "Greeter.#", "Greeter.say.1.0.#"])
def test_with_topic_permissions_a_worker_binds_no_key_but_its_own(separated: Any, key: str) -> None:
    channel = separated.channel()
    with pytest.raises(ChannelClosedByBroker) as refused:
        channel.queue_bind("greeter", "swf.activities", key)
    assert refused.value.reply_code == 403


@pytest.mark.parametrize("key", ["#", "Sender.send.1.0"])
def test_with_topic_permissions_no_exchange_of_a_worker_gets_the_tasks_of_others(
    separated: Any, key: str
) -> None:
    channel = separated.channel()
    channel.exchange_declare("greeter", "fanout")
    with pytest.raises(ChannelClosedByBroker) as refused:
        channel.exchange_bind("greeter", "swf.activities", key)
    assert refused.value.reply_code == 403


@pytest.mark.parametrize("exchange", ["swf.activities", "swf.replies.notices", "swf.undeliverable"])
def test_a_worker_declares_nothing_that_publishes_for_it_where_it_may_not(
    separated: Any, exchange: str
) -> None:
    """What its queue dead-letters, or finds no queue at its exchange, is published on."""
    separated.channel().queue_delete("greeter")
    dead, alternate = {"x-dead-letter-exchange": exchange}, {"alternate-exchange": exchange}
    attempts: tuple[Callable[[Any], object], ...] = (
        lambda channel: channel.queue_declare("greeter", arguments=dead),
        lambda channel: channel.exchange_declare("greeter", arguments=alternate),
        lambda channel: channel.exchange_bind(exchange, "greeter", "#"),
    )
    for attempt in attempts:
        channel = separated.channel()
        with pytest.raises(ChannelClosedByBroker) as refused:
            attempt(channel)
        assert refused.value.reply_code == 403


def test_with_topic_permissions_a_worker_still_takes_its_own_tasks(
    bridge: Bridge, separated: Any, swf: LocalSwf
) -> None:
    channel = separated.channel()
    channel.queue_bind("greeter", "swf.activities", "Greeter.say.1.0")
    task_id = swf.submit("Greeter.say", version="1.0")
    answer(channel, taken(channel).json["taskToken"], "hello")
    assert swf.wait_closed(task_id, 10), bridge.log


def publish(channel: Any, exchange: str) -> None:
    channel.confirm_delivery()
    channel.basic_publish(exchange, "greet.1.0", b"{}")


def test_who_may_not_write_to_the_default_exchange_settles_nothing(
    bridge: Bridge, greeter: Any, swf: LocalSwf, login: Callable[..., str]
) -> None:
    task_id = swf.submit("greet")
    token = taken(greeter).json["taskToken"]
    url = login("reader", configure="^$", write=r"^greeter$", read=r"^greeter$")
    with BoundedConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
            answer(channel, token, "of who may not")
    answer(greeter, token, "of who may")
    assert swf.wait_closed(task_id, 10)
    assert swf.task(task_id, payload=True)["result"] == "of who may"


@pytest.mark.parametrize("token", ["forged", "x" * 1025])
def test_a_forged_token_becomes_a_dead_letter_and_touches_no_task(
    bridge: Bridge, greeter: Any, swf: LocalSwf, worker: Worker, token: str
) -> None:
    task_id = swf.submit("greet")
    true = taken(greeter).json["taskToken"]
    answer(greeter, token, "forged")
    assert worker.take(DEAD).headers["swf-bridge-error"] == "token-invalid"
    assert swf.task(task_id)["state"] == "started"
    answer(greeter, true, "true")
    assert swf.wait_closed(task_id, 10)
    assert swf.task(task_id, payload=True)["result"] == "true"


def test_a_token_that_was_stolen_settles_its_task_once_as_with_swf_itself(
    bridge: Bridge, greeter: Any, swf: LocalSwf, worker: Worker
) -> None:
    task_id = swf.submit("greet")
    token = taken(greeter).json["taskToken"]
    worker.complete(token, "of the thief")
    assert swf.wait_closed(task_id, 10)
    answer(greeter, token, "of the worker")
    bridge.wait("reply.duplicate")
    assert swf.task(task_id, payload=True)["result"] == "of the thief"


def test_a_forged_notice_through_the_default_exchange_frees_the_slot_and_closes_no_task(
    bridge: Bridge, greeter: Any, swf: LocalSwf, vhost: Vhost
) -> None:
    task_id = swf.submit("greet")
    task = taken(greeter)
    ids = [task.properties.message_id]
    forged = {"notice": "settled", "tasks": ids, "from": "nobody"}
    greeter.basic_publish("", notice_queue(vhost), json.dumps(forged))
    bridge.wait("slot.released", task=ids[0])
    assert swf.task(task_id)["state"] == "started"
    answer(greeter, task.json["taskToken"], "true all the same")
    assert swf.wait_closed(task_id, 10), bridge.log


@pytest.mark.parametrize(
    "noise", [b"", b"\x00" * 65536, b"[" * 100_000, b'{"taskToken": 1e999, "status": NaN}']
)
def test_garbage_of_a_worker_delays_no_reply_of_another(
    bridge: Bridge, greeter: Any, swf: LocalSwf, worker: Worker, noise: bytes
) -> None:
    task_id = swf.submit("greet")
    token = taken(greeter).json["taskToken"]
    for _ in range(50):
        greeter.basic_publish("", REPLIES, noise)
    answer(greeter, token, "through")
    assert swf.wait_closed(task_id, 10), bridge.log
    assert until(lambda: worker.ready(DEAD) == 50)
