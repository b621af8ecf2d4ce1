"""Who holds a task hears what becomes of it, and tells its worker once."""

import json
import threading
import time

import pytest

from bridge.flow.settling.peers import REPEATED, notice
from bridge.journal.journal import Journal
from bridge.message.message import CANCELLATION_TYPE
from bridge.rabbitmq.publisher import Fate
from bridge.task import task_id
from bridge.telemetry import metrics as m
from tests.unit.bridge_parts import TASK_LIST_ID, TOPOLOGY, Bench

THEIRS = task_id("theirs")


def hear(bench, what, task, sender="another"):
    return bench.peers.heard(notice(what, [task], sender, exchange="x").body)


def test_a_task_in_hand_that_is_settled_is_told_to_nobody(bench):
    task = bench.hold(polled_at=5.0)
    assert bench.peers.settled(task.id).polled_at == 5.0
    assert bench.peers.settled_before(task.id)
    assert bench.in_flight == 0
    assert bench.notices() == []


def test_a_task_that_another_holds_is_told_to_all(bench):
    assert bench.peers.settled(THEIRS) is None
    assert bench.peers.released(THEIRS, "closed") is None
    assert bench.notices() == [("settled", THEIRS)] * 2
    assert {each.exchange for each in bench.publisher.messages} == {TOPOLOGY.notice_exchange}
    assert bench.peers.settled_before(THEIRS)


def test_tasks_that_are_settled_together_are_told_in_one_notice(bench):
    with bench.journal.together():
        for token in ("a", "b", "c"):
            bench.peers.settled(task_id(token))
        assert bench.notices() == []
    assert bench.notices() == [("settled", task_id(token)) for token in ("a", "b", "c")]
    assert len(bench.publisher.messages) == 1
    bench.peers.settled(task_id("d"))
    assert len(bench.publisher.messages) == 2


def test_what_was_settled_before_an_error_is_told_all_the_same(bench):
    def settle_and_break():
        with bench.journal.together():
            bench.peers.settled(THEIRS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        settle_and_break()
    assert bench.notices() == [("settled", THEIRS)]


def test_a_release_is_counted_by_its_reason_and_not_taken_for_a_settlement(bench):
    task = bench.hold()
    assert bench.peers.released(task.id, "timed out")
    assert bench.metrics.value(m.SLOTS_RELEASED, *TASK_LIST_ID, "timed out") == 1
    assert not bench.peers.settled_before(task.id)
    assert bench.in_flight == 0


def test_a_settlement_elsewhere_is_no_news_for_the_log_and_a_release_is(bench, caplog):
    caplog.set_level("INFO")
    hear(bench, "settled", bench.hold("one").id)
    bench.peers.released(bench.hold("two").id, "timed out")
    assert [each.reason for each in caplog.records] == ["timed out"]


def test_a_notice_of_another_frees_the_slot_once(bench):
    task = bench.hold()
    for _ in range(3):
        hear(bench, "settled", task.id)
    assert bench.in_flight == 0
    reason = "settled by another instance"
    assert bench.metrics.value(m.SLOTS_RELEASED, *TASK_LIST_ID, reason) == 1
    assert bench.peers.settled_before(task.id)
    assert bench.notices() == []


@pytest.mark.parametrize("what", ["settled", "cancel", "spoke", "whatever"])
def test_a_notice_of_its_own_or_of_a_task_elsewhere_changes_nothing(bench, what):
    task = bench.hold()
    hear(bench, what, task.id, sender=TOPOLOGY.instance)
    hear(bench, what, THEIRS)
    assert bench.in_flight == 1
    assert bench.publisher.messages == []


def test_a_cancel_request_is_told_to_the_worker_once_under_the_tasks_key(bench):
    task = bench.hold()
    bench.peers.cancel_requested(task.id)
    hear(bench, "cancel", task.id)
    (message,) = bench.publisher.of(CANCELLATION_TYPE)
    assert (message.exchange, message.routing_key) == ("swf.cancellations", "Greeter.say.1.0")
    assert json.loads(message.body) == {"taskToken": "token-1", "cancelRequested": True}
    assert bench.metrics.value(m.CANCEL_NOTICES, *TASK_LIST_ID) == 1


def test_a_cancel_request_of_anothers_task_is_told_to_its_holder(bench):
    bench.peers.cancel_requested(THEIRS)
    assert bench.notices() == [("cancel", THEIRS)]


def test_a_workers_first_word_is_told_to_the_holder(bench):
    task = bench.hold()
    bench.peers.spoke(task.id)
    bench.peers.spoke(THEIRS)
    assert bench.notices() == [("spoke", THEIRS)]
    assert hear(bench, "spoke", task.id) == ("spoke", [task.id])


@pytest.mark.parametrize("fate", Fate)
def test_nobody_waits_for_the_receipt_of_a_notice(bench, fate):
    bench.peers.settled(THEIRS)
    bench.publisher.receipt(fate)
    assert bench.publisher.sent == []


def test_a_cancel_is_owed_until_rabbitmq_has_its_notice(bench):
    task = bench.hold()
    bench.peers.cancel_requested(task.id)
    bench.peers.resume()  # as after a kill before the confirm
    assert len(bench.publisher.of(CANCELLATION_TYPE)) == 2
    bench.publisher.receipt()
    bench.peers.resume()
    bench.peers.cancel_requested(task.id)
    assert len(bench.publisher.of(CANCELLATION_TYPE)) == 2


def test_what_it_closed_last_is_told_again_at_its_start_because_a_kill_may_have_lost_a_notice(
    bench,
):
    bench.peers.resume()
    assert bench.publisher.messages == []
    first, *last = [task_id(str(number)) for number in range(REPEATED + 1)]
    for each in (first, *last):
        bench.peers.settled(each)
    bench.publisher.messages.clear()
    bench.peers.resume()
    assert bench.notices() == [("settled", each) for each in last]
    assert len(bench.publisher.messages) == 1


def test_a_notice_of_a_cancel_that_a_queue_does_not_take_is_published_again(bench):
    task = bench.hold()
    bench.peers.cancel_requested(task.id)
    bench.publisher.receipt(Fate.NACKED)
    (again,) = bench.later
    again()
    assert len(bench.publisher.of(CANCELLATION_TYPE)) == 2


def test_a_notice_of_a_cancel_is_given_up_with_its_task(bench):
    task = bench.hold()
    bench.peers.cancel_requested(task.id)
    bench.publisher.receipt(Fate.NACKED)
    bench.timer.happen()
    bench.publisher.receipt(Fate.NACKED)
    bench.peers.settled(task.id)
    bench.timer.happen()
    assert len(bench.publisher.of(CANCELLATION_TYPE)) == 2
    assert bench.later == []


class Slow(Journal):
    def get(self, task_id):
        found = super().get(task_id)
        time.sleep(0.05)  # so that all have asked before the first has written
        return found


def test_four_who_hear_of_a_cancel_at_the_same_moment_tell_it_once(tmp_path):
    bench = Bench(tmp_path / "slow.db", kind=Slow)
    task = bench.hold()
    hearers = [
        threading.Thread(target=bench.peers.cancel_requested, args=(task.id,)) for _ in range(4)
    ]
    for each in hearers:
        each.start()
    for each in hearers:
        each.join()
    assert len(bench.publisher.of(CANCELLATION_TYPE)) == 1
    bench.journal.close()


def test_the_holder_is_told_once_that_a_worker_has_spoken(bench):
    for _ in range(3):
        bench.peers.spoke(THEIRS)
    assert bench.notices() == [("spoke", THEIRS)]
