"""Every recorded task is owed until it is confirmed or failed back, and delays no other."""

import logging
import time

import pytest

from bridge.flow.forwarder import RETRY_CAP, Forwarder
from bridge.message.message import TASK_TYPE
from bridge.message.routing import RoutingKey
from bridge.rabbitmq.publisher import Fate
from bridge.telemetry import metrics as m
from tests.unit.bridge_parts import TASK_LIST_ID, Bench, TestTimer


class FailsBack:
    """A responder that only notes what is to be failed in SWF."""

    def __init__(self, noted):
        self.noted = noted

    def fail_back(self, reply, again):
        self.noted.append((reply, again))


def a_forwarder(bench, *, unroutable_timeout=60.0):
    bench.later, bench.failed_back = TestTimer([]), []
    return Forwarder(
        bench.journal,
        bench.publisher,
        FailsBack(bench.failed_back),
        bench.later,
        bench.metrics,
        deadlines=bench.deadlines,
        exchange="swf.activities",
        routing_key=RoutingKey("{name}.{version}"),
        reply_to="swf.replies",
        unroutable_timeout=unroutable_timeout,
    )


@pytest.fixture
def forwarder(bench):
    return a_forwarder(bench)


def forward(bench, forwarder, token="token-1", **fields):
    task = bench.hold(token, published=False, **fields)
    forwarder.forward(task, bench.journal.get(task.id).body)
    return task


def published(bench, fate):
    return bench.metrics.value(m.PUBLISHES, *TASK_LIST_ID, fate.value)


def test_a_task_goes_out_under_its_key_and_is_confirmed(bench, forwarder):
    task = forward(bench, forwarder)
    sent = bench.publisher.receipt(Fate.CONFIRMED, seconds=0.25)
    assert (sent.message.exchange, sent.message.routing_key) == (
        "swf.activities",
        "Greeter.say.1.0",
    )
    assert sent.message.properties["reply_to"] == "swf.replies"
    assert sent.message.properties["message_id"] == task.id
    assert sent.message.mandatory
    assert not sent.alone
    assert bench.journal.get(task.id).published
    assert bench.metrics.value(m.TASKS_PUBLISHED, *TASK_LIST_ID) == 1
    assert bench.later.waits == []


def test_a_task_that_a_queue_does_not_take_is_tried_until_it_does(bench, forwarder):
    task = forward(bench, forwarder)
    for _ in range(30):
        bench.publisher.receipt(Fate.NACKED)
        bench.later.happen()
    assert bench.later.waits == sorted(bench.later.waits)
    assert bench.later.waits[-1] == RETRY_CAP
    bench.publisher.receipt(Fate.CONFIRMED)
    assert bench.journal.get(task.id).published
    assert bench.failed_back == []


@pytest.mark.parametrize("fate", [Fate.UNROUTABLE, Fate.REFUSED])
def test_a_task_without_a_queue_waits_for_one(bench, forwarder, fate, caplog):
    caplog.set_level(logging.INFO)
    task = forward(bench, forwarder)
    bench.publisher.receipt(fate, "because")
    assert list(forwarder.unroutable) == ["Greeter.say.1.0"]
    bench.later.happen()
    (again,) = bench.publisher.sent
    assert again.alone is (fate is Fate.REFUSED)
    bench.publisher.receipt(Fate.CONFIRMED)
    assert bench.journal.get(task.id).published
    assert forwarder.unroutable == {}
    assert [each.message for each in caplog.records] == ["task.unroutable", "task.routable"]


@pytest.mark.parametrize("fate", [Fate.UNROUTABLE, Fate.REFUSED])
def test_a_task_that_waited_in_vain_is_failed_with_its_routing_key(bench, forwarder, fate):
    task = forward(bench, forwarder, polled_at=time.time() - 61)
    bench.publisher.receipt(fate, "NO_PERMISSION")
    ((reply, again),) = bench.failed_back
    assert reply.token == task.token
    assert "Greeter.say.1.0" in reply.reason
    assert len(reply.reason) <= 256
    assert bench.journal.get(task.id), "it is in hand until SWF has answered"
    again(5.0)
    bench.later.happen()
    assert len(bench.failed_back) == 2


def test_the_wait_for_a_queue_counts_from_the_poll_and_ends_on_time(bench, forwarder):
    forward(bench, forwarder, polled_at=time.time() - 59.9)
    bench.publisher.receipt(Fate.UNROUTABLE)
    assert bench.later.waits[0] <= 0.1


def test_what_waits_is_told_with_the_time_at_which_the_first_is_failed(bench, forwarder):
    now = time.time()
    forward(bench, forwarder, "one", polled_at=now - 50)
    bench.publisher.receipt(Fate.UNROUTABLE)
    forward(bench, forwarder, "two", polled_at=now)
    bench.publisher.receipt(Fate.UNROUTABLE)
    (told,) = forwarder.unroutable.values()
    assert (told.tasks, told.fails_at) == (2, pytest.approx(now + 10))


def test_what_waits_behind_a_full_queue_is_never_failed(bench, forwarder):
    forward(bench, forwarder)
    bench.publisher.receipt(Fate.NACKED)
    (told,) = forwarder.unroutable.values()
    assert (told.tasks, told.fails_at) == (1, None)


def test_without_a_time_to_wait_a_task_without_a_queue_is_failed_at_once(bench):
    forwarder = a_forwarder(bench, unroutable_timeout=0.0)
    forward(bench, forwarder)
    bench.publisher.receipt(Fate.UNROUTABLE)
    assert len(bench.failed_back) == 1


def test_a_reason_fits_swf_however_long_the_key_is(bench, forwarder):
    forward(bench, forwarder, name="x" * 256, polled_at=1.0)
    bench.publisher.receipt(Fate.UNROUTABLE)
    ((reply, _),) = bench.failed_back
    assert len(reply.reason) <= 256
    assert "x" * 100 in reply.details


@pytest.mark.parametrize("fate", [Fate.NACKED, Fate.UNROUTABLE, Fate.REFUSED])
def test_a_task_that_was_settled_meanwhile_is_not_sent_again(bench, forwarder, fate):
    task = forward(bench, forwarder)
    bench.publisher.receipt(fate)
    bench.journal.settle(task.id)
    bench.later.happen()
    assert bench.publisher.sent == []
    assert forwarder.unroutable == {}, "nothing waits under its key any more"


def test_a_task_that_waits_delays_no_other(bench, forwarder):
    forward(bench, forwarder, "one", name="nobody")
    bench.publisher.receipt(Fate.UNROUTABLE)
    other = forward(bench, forwarder, "two")
    bench.publisher.receipt(Fate.CONFIRMED)
    assert bench.journal.get(other.id).published
    assert list(forwarder.unroutable) == ["nobody.1.0"]


def test_what_an_earlier_life_owes_is_handed_over_in_order(bench, tmp_path):
    bench.hold("confirmed")
    for token in ("one", "two"):
        bench.hold(token, published=False)
    path = bench.journal.path
    bench.journal.close()
    again = Bench(path)
    a_forwarder(again).resume()
    found = [each.body for each in again.publisher.of(TASK_TYPE)]
    assert [b'"one"' in body for body in found] == [True, False]
    assert b'"two"' in found[1]
    bench.journal = again.journal


def test_a_task_is_republished_under_its_id_and_whatever_comes_of_it_is_told(bench, forwarder):
    task = bench.hold()
    told = []
    forwarder.republish(task, bench.journal.get(task.id).body, lambda *given: told.append(given))
    sent = bench.publisher.receipt(Fate.UNROUTABLE)
    assert sent.message.properties["message_id"] == task.id
    ((fate, why),) = told
    assert fate is Fate.UNROUTABLE
    assert "no queue is bound" in why
    assert bench.later.waits == bench.failed_back == []


def test_every_publish_is_counted_by_its_fate(bench, forwarder):
    for fate in Fate:
        task = forward(bench, forwarder, fate.value)
        bench.publisher.receipt(fate)
        bench.journal.settle(task.id)
    assert [published(bench, fate) for fate in Fate] == [1] * 5
