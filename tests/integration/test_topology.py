"""What stands in RabbitMQ after a start, and what is said where it cannot."""

import logging
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.consuming.consumer import Consumer
from bridge.rabbitmq.consuming.delivery import Ack, Delivery, settle_all
from bridge.rabbitmq.publisher import Fate, Publisher
from bridge.rabbitmq.topology import Queue, Topology
from tests.brokers import Vhost
from tests.integration.running import Receipts, Running, await_that, consumer, numbered, publisher
from tests.worker import Worker


@pytest.fixture
def limited(vhost: Vhost) -> Iterator[str]:
    """The name of a user without any permission yet."""
    name = f"user-{vhost.name}"
    vhost.api.add_user(name, "a password")
    yield name
    vhost.api.delete_user(name)


def url_of(vhost: Vhost, user: str) -> str:
    scheme, _, rest = vhost.url.partition("://")
    return f"{scheme}://{user}:{quote('a password')}@{rest.rpartition('@')[2]}"


def start_both(running: Running, url: str, topology: Topology, *, declare: bool = True) -> None:
    sending = publisher(url, topology, declare=declare)
    running.start(sending)
    running.start(consumer(url, topology, lambda delivery: None, sending.publish, declare=declare))


def test_everything_of_the_contract_is_declared_with_its_arguments(
    vhost: Vhost, topology: Topology, running: Running
) -> None:
    start_both(running, vhost.url, topology)
    queues = {each["name"]: each for each in vhost.api.call("GET", f"queues/{vhost.name}")}
    quorum = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
    assert {name: each["arguments"] for name, each in queues.items()} == {
        "swf.replies": quorum,
        "swf.replies.dead": quorum,
        "swf.undeliverable": quorum,
        "swf.bridge.quorum.test": {**quorum, "x-expires": 86_400_000},
    }
    assert all(each["durable"] for each in queues.values())
    exchanges = vhost.api.call("GET", f"exchanges/{vhost.name}")
    ours = {e["name"]: (e["type"], e["durable"]) for e in exchanges if "swf." in e["name"]}
    assert ours == {
        "swf.activities": ("topic", True),
        "swf.cancellations": ("topic", True),
        "swf.undeliverable": ("fanout", True),
        "swf.replies.notices": ("fanout", True),
    }
    bindings = vhost.api.call("GET", f"bindings/{vhost.name}")
    assert {(b["source"], b["destination"]) for b in bindings if b["source"]} == {
        ("swf.undeliverable", "swf.undeliverable"),
        ("swf.replies.notices", "swf.bridge.quorum.test"),
    }


def test_a_queue_that_exists_with_other_arguments_is_used_with_a_warning(
    vhost: Vhost,
    topology: Topology,
    running: Running,
    worker: Worker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker.queue("swf.replies", bind=None, max_length=1000)
    start_both(running, vhost.url, topology)
    differs = [record for record in caplog.records if record.getMessage() == "topology.differs"]
    assert {vars(record)["item"] for record in differs} == {"queue swf.replies"}


def test_without_the_permission_to_configure_what_stands_is_used(
    vhost: Vhost,
    topology: Topology,
    running: Running,
    limited: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start_both(running, vhost.url, topology)
    running.stop()
    caplog.set_level(logging.INFO, logger="bridge")
    vhost.api.set_permissions(limited, configure="^$", vhost=vhost.name)
    start_both(running, url_of(vhost, limited), topology)
    warned = {vars(r)["item"] for r in caplog.records if r.getMessage() == "topology.not_permitted"}
    assert "exchange swf.activities" in warned
    assert "queue swf.replies" in warned


@pytest.mark.parametrize("declare", [True, False])
def test_what_is_missing_and_may_not_be_declared_is_named(
    vhost: Vhost, topology: Topology, running: Running, limited: str, declare: bool
) -> None:
    vhost.api.set_permissions(limited, configure="^$" if declare else ".*", vhost=vhost.name)
    part = publisher(url_of(vhost, limited), topology, declare=declare)
    running.start(part, await_ready=False)
    await_that(lambda: "exchange swf.activities is missing" in part.outage.error)
    assert not part.ready.is_set()


def test_what_was_missing_is_found_once_it_stands(
    vhost: Vhost,
    topology: Topology,
    running: Running,
    worker: Worker,
) -> None:
    part = publisher(vhost.url, topology, declare=False)
    running.start(part, await_ready=False)
    await_that(lambda: "queue swf.replies is missing" in part.outage.error)
    worker.queue("swf.replies", bind=None)
    worker.queue("swf.replies.dead", bind=None)
    await_that(part.ready.is_set)
    assert not part.outage.error


def test_a_wrong_password_is_told_and_tried_again_seldom(
    vhost: Vhost, topology: Topology, running: Running, limited: str
) -> None:
    part = publisher(url_of(vhost, limited).replace("a%20password", "another"), topology)
    running.start(part, await_ready=False)
    await_that(lambda: bool(part.outage.error))
    assert "another" not in part.outage.error
    assert not part.ready.is_set()


def test_a_key_that_may_not_be_published_is_refused_and_others_go_on(
    vhost: Vhost,
    topology: Topology,
    running: Running,
    worker: Worker,
    limited: str,
) -> None:
    worker.queue("work", bind="#")
    vhost.api.set_permissions(limited, vhost=vhost.name)
    allowed = {"exchange": "swf.activities", "write": "^work", "read": ".*"}
    vhost.api.call("PUT", f"topic-permissions/{vhost.name}/{limited}", allowed)
    part = publisher(url_of(vhost, limited), topology)
    running.start(part)
    receipts = Receipts()
    for number in range(60):
        key = "denied" if number % 20 == 3 else "work"
        part.publish(numbered(number, key), receipts.done(number))
    receipts.wait(60)
    refused = [n for n, each in receipts.by_number.items() if each.fate is Fate.REFUSED]
    assert sorted(refused) == [3, 23, 43]
    assert "403" in receipts.by_number[3].detail
    assert {int(taken.body) for taken in worker.take_all()} == set(range(60)) - {3, 23, 43}


def test_the_notices_of_others_find_a_queue_before_a_task_goes_out(
    vhost: Vhost, topology: Topology, running: Running, worker: Worker
) -> None:
    running.start(publisher(vhost.url, topology))
    worker.channel.basic_publish(topology.notice_exchange, "", b"settled", mandatory=True)
    assert worker.ready(topology.notice_queue) == 1


def test_a_task_that_is_rejected_at_once_finds_a_queue(
    vhost: Vhost, topology: Topology, running: Running, worker: Worker
) -> None:
    """Also while the consumer's connection, which reads that queue, does not stand yet."""
    running.start(publisher(vhost.url, topology))
    worker.channel.basic_publish(topology.undeliverable, "", b"rejected", mandatory=True)
    assert worker.ready(topology.undeliverable) == 1


def test_what_tasks_can_do_without_holds_up_none_and_is_told_in_rabbitmqs_words(
    vhost: Vhost,
    topology: Topology,
    running: Running,
    worker: Worker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker.queue("work", bind="#")
    worker.queue("swf.replies", bind=None)
    worker.queue("swf.replies.dead", bind=None)
    running.start(part := publisher(vhost.url, topology, declare=False))
    lacks = {str(item): why for item, why in part.declarations.lacks.items()}
    assert "no exchange 'swf.cancellations'" in lacks["exchange swf.cancellations"]
    assert "no queue 'swf.undeliverable'" in lacks["queue swf.undeliverable"]
    told = [vars(r) for r in caplog.records if r.getMessage() == "topology.lacking"]
    assert {each["item"]: each["reason"] for each in told} == lacks
    receipts = Receipts()
    part.publish(numbered(0), receipts.done(0))
    part.publish(numbered(1, exchange="swf.cancellations"), receipts.done(1))
    part.publish(numbered(2), receipts.done(2))
    receipts.wait(3)
    fates = [receipts.by_number[number].fate for number in range(3)]
    assert fates == [Fate.CONFIRMED, Fate.NACKED, Fate.CONFIRMED]
    assert part.reconnects == 0


def test_what_was_lacking_is_found_while_the_connection_lives(
    vhost: Vhost,
    topology: Topology,
    running: Running,
    worker: Worker,
) -> None:
    worker.queue("work", bind="#")
    worker.queue("swf.replies", bind=None)
    worker.queue("swf.replies.dead", bind=None)
    part = publisher(vhost.url, topology, declare=False)
    part.declarations.retry_after = 0.1
    running.start(part)
    assert part.declarations.lacks
    other = publisher(vhost.url, topology)
    running.start(other)
    await_that(lambda: not part.declarations.lacks)
    assert part.reconnects == 0


def test_what_waits_in_the_notice_queue_of_an_earlier_version_is_consumed_and_the_queue_goes(
    vhost: Vhost,
    topology: Topology,
    running: Running,
    worker: Worker,
) -> None:
    old = topology.old_notice_queue
    worker.channel.queue_declare(old, durable=True, arguments={"x-expires": 86_400_000})
    for number in range(3):
        worker.channel.basic_publish("", old, str(number).encode(), mandatory=True)
    heard: list[bytes] = []

    def deliver(delivery: Delivery) -> None:
        heard.append(delivery.body)
        settle_all([(delivery, Ack())])

    part = Consumer(
        [vhost.url],
        Tls(),
        topology.for_notices(),
        declare=True,
        queue=topology.notice_queue,
        dead_letter_queue=topology.dead_letter_queue,
        deliver=deliver,
        publish=lambda message, done: None,
        name="notices",
        exclusive=True,
        former=old,
    )
    part.subscription.former_empties = 0.3
    running.start(part)
    await_that(lambda: heard == [b"0", b"1", b"2"])
    names = lambda: {each["name"] for each in vhost.api.call("GET", f"queues/{vhost.name}")}  # noqa: E731
    await_that(lambda: old not in names())
    worker.channel.basic_publish(topology.notice_exchange, "", b"new", mandatory=True)
    await_that(lambda: heard[3:] == [b"new"])
    assert part.reconnects == 0


def test_a_queue_that_a_limit_of_the_vhost_forbids_is_told_with_the_limit(
    vhost: Vhost, topology: Topology, running: Running
) -> None:
    vhost.api.call("PUT", f"vhost-limits/{vhost.name}/max-queues", {"value": 0})
    part = publisher(vhost.url, topology)
    running.start(part, await_ready=False)
    await_that(lambda: "queue swf.replies is missing" in part.outage.error)
    assert "declaring it was refused: PRECONDITION_FAILED" in part.outage.error
    assert "limit in vhost" in part.outage.error


def test_a_declaration_over_which_rabbitmq_closes_the_connection_is_named(
    vhost: Vhost, topology: Topology, running: Running
) -> None:
    """RabbitMQ takes a frame that is larger than agreed for an error of the whole connection."""
    large = Queue("swf.large", (("x-note", "x" * 200_000),))
    part = Publisher([vhost.url], Tls(), [*topology.for_replies(), large], declare=True)
    running.start(part, await_ready=False)
    await_that(lambda: "501 FRAME_ERROR" in part.outage.error)
    assert part.outage.error.endswith("; RabbitMQ was asked to declare queue swf.large")
