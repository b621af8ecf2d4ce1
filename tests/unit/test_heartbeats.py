"""Heartbeats: merged by task, bounded, put off or parked one by one; none of them is forgotten."""

import itertools
import json
from queue import Empty

import pytest

from bridge.errors import BadReply, Rejected, TaskClosed, Unavailable
from bridge.flow.heartbeats.heartbeats import Heartbeats
from bridge.flow.heartbeats.merge import CROWDED, IN_HAND, SHARE, SHARE_OF_KNOWN
from bridge.message.message import HEARTBEAT_TYPE
from bridge.rabbitmq.consuming.delivery import Ack, Later, Park, settle_all
from bridge.swf.runner import complete
from bridge.task import Heartbeat
from tests.unit.bridge_parts import LONG, TOPOLOGY, Awaited, Settled, TestTimer, a_delivery


class Beating:
    """Heartbeats over a bench, whose threads and clock are the test."""

    def __init__(self, bench):
        self.swf = bench.swf
        self.consumer = Settled()
        self.settled = self.consumer.outcomes
        self.due = []
        self.heartbeats = Heartbeats(
            Awaited(),
            bench.metrics,
            peers=bench.peers,
            settlement=bench.settlement,
            keepalive=bench.keepalive,
            publisher=bench.publisher,
            timer=TestTimer(self.due),
            topology=TOPOLOGY,
        )
        self.heartbeats.merge.holds *= LONG

    def take(self, details, token="token-1", **properties):
        delivery = a_delivery(b"", consumer=self.consumer, **properties)
        self.settle(self.heartbeats.take(delivery, Heartbeat(token, details)))
        return delivery

    def settle(self, conversation):
        settle_all(complete(conversation, self.swf.make))

    def work(self):
        """Do what the threads are given."""
        while True:
            try:
                job = self.heartbeats.work.get()
            except Empty:
                return
            self.settle(job())

    def wait(self):
        """Let a second pass."""
        due, self.due[:] = list(self.due), []
        for action in due:
            action()
        self.work()

    @property
    def sent(self):
        return [given[1] for call, given in self.swf.calls if call == "heartbeat"]

    @property
    def outcomes(self):
        return {delivery.tag: outcome for delivery, outcome in self.settled}


@pytest.fixture
def beating(bench):
    return Beating(bench)


def test_those_that_come_within_a_second_are_sent_as_one_with_the_last_details(bench, beating):
    taken = [beating.take(f"{n}", reply_to="answers", correlation_id=f"{n}") for n in range(5)]
    beating.work()
    assert beating.sent == ["4"]
    beating.wait()
    assert beating.sent == ["4", "4"]
    assert beating.outcomes == {each.tag: Ack() for each in taken}
    answers = bench.publisher.of(HEARTBEAT_TYPE)
    assert [each.properties["correlation_id"] for each in answers] == ["0", "1", "2", "3", "4"]
    beating.wait()
    assert len(beating.sent) == 2


def test_a_tight_loop_is_answered_from_swfs_last_answer_and_crowds_out_nobody(bench, beating):
    beating.swf.will("heartbeat", True, False, True)
    beating.take("first", reply_to="answers")
    beating.work()
    taken = [beating.take(f"{n}", reply_to="answers") for n in range(5 * IN_HAND)]
    waits = [each for each in taken if each.tag not in beating.outcomes]
    assert waits == taken[-1:], "only the newest is still to be told to SWF"
    other = beating.take("d", token="token-2", reply_to="answers")
    beating.work()
    assert beating.outcomes[other.tag] == Ack()
    beating.wait()
    assert beating.sent == ["first", "d", f"{5 * IN_HAND - 1}"]
    told = [json.loads(each.body) for each in bench.publisher.of(HEARTBEAT_TYPE)]
    assert len(told) == 5 * IN_HAND + 2
    assert all(each["cancelRequested"] for each in told if each["taskToken"] == "token-1")


def test_an_answer_of_swf_holds_for_a_second_alone(beating):
    beating.take("first", reply_to="answers")
    beating.work()
    beating.heartbeats.merge.holds = -1.0
    taken = [beating.take("d", reply_to="answers") for _ in range(3)]
    assert not any(each.tag in beating.outcomes for each in taken)


def test_of_a_task_that_swf_knows_few_wait_and_one_answer_is_for_all(bench, beating):
    beating.take("first", reply_to="answers", correlation_id="first")
    beating.work()
    beating.heartbeats.merge.holds = -1.0
    taken = [beating.take(f"{n}", reply_to="answers", correlation_id=f"{n}") for n in range(500)]
    waits = [each for each in taken if each.tag not in beating.outcomes]
    assert waits == taken[-SHARE_OF_KNOWN:], "the rest is done with, and its answers are owed"
    assert not [each for each in beating.outcomes.values() if each != Ack()]
    assert len(bench.publisher.of(HEARTBEAT_TYPE)) == 1
    beating.swf.will("heartbeat", True)
    beating.wait()
    beating.wait()
    assert beating.sent == ["first", "499"]
    assert beating.outcomes == {tag: Ack() for tag in beating.outcomes}
    assert len(beating.outcomes) == 501
    answers = bench.publisher.of(HEARTBEAT_TYPE)
    told = [each.properties["correlation_id"] for each in answers[1:]]
    assert sorted(told, key=int) == [f"{n}" for n in range(500)]
    assert all(json.loads(each.body)["cancelRequested"] for each in answers[1:])


def test_where_many_tasks_beat_the_newest_of_each_that_swf_knows_waits_alone(bench, beating):
    tokens = [f"token-{n}" for n in range(CROWDED)]
    for token in tokens:
        beating.take("first", token=token)
    beating.work()
    beating.heartbeats.merge.holds = -1.0
    newest = [[beating.take("d", token, reply_to="answers") for _ in range(9)] for token in tokens]
    waits = [each for each in itertools.chain(*newest) if each.tag not in beating.outcomes]
    assert len(waits) < IN_HAND
    assert {each[-1].tag for each in newest} <= {each.tag for each in waits}
    other = beating.take("other's", token="another", reply_to="answers")
    assert other.tag not in beating.outcomes, "there is room for it"
    beating.wait()
    beating.wait()
    assert len(bench.publisher.of(HEARTBEAT_TYPE)) == 9 * CROWDED + 1


def test_an_older_one_that_comes_again_waits_for_nothing_where_a_newer_one_does(bench, beating):
    beating.swf.will("heartbeat", True, Unavailable("ThrottlingException"))
    beating.take("first")
    beating.work()
    beating.heartbeats.merge.holds = -1.0
    old = beating.take("old", reply_to="answers", correlation_id="old")
    beating.wait()
    beating.wait()
    assert isinstance(beating.outcomes[old.tag], Later)
    beating.take("new", reply_to="answers", correlation_id="new")
    beating.take("newest", reply_to="answers", correlation_id="newest")
    beating.settle(beating.heartbeats.take(old, Heartbeat("token-1", "old")))
    assert beating.outcomes[old.tag] == Ack()
    assert bench.publisher.of(HEARTBEAT_TYPE) == []
    beating.work()
    beating.wait()
    told = {each.properties["correlation_id"] for each in bench.publisher.of(HEARTBEAT_TYPE)}
    assert told == {"old", "new", "newest"}


def test_a_task_that_swf_has_not_known_yet_has_its_share_and_leaves_the_rest_to_others(beating):
    taken = [beating.take("d", reply_to="answers") for _ in range(200)]
    held = [each for each in taken if each.tag in beating.outcomes]
    assert held == taken[SHARE + 1 :]
    assert all(isinstance(beating.outcomes[each.tag], Later) for each in held)
    other = beating.take("other's", token="token-2", reply_to="answers")
    beating.work()
    assert beating.outcomes[other.tag] == Ack()
    assert all(each.tag in beating.outcomes for each in taken), "one answer is for all that wait"
    assert beating.sent == ["d", "other's"]


def test_an_older_one_that_is_tried_again_takes_the_newer_details_with_it(beating):
    beating.heartbeats.merge.holds = -1.0
    beating.swf.will("heartbeat", Unavailable("ThrottlingException"))
    old = beating.take("old", reply_to="answers")
    beating.work()
    assert isinstance(beating.outcomes[old.tag], Later)
    beating.take("new", reply_to="answers")
    beating.wait()
    beating.settle(beating.heartbeats.take(old, Heartbeat("token-1", "old")))
    beating.wait()
    assert beating.sent == ["old", "new", "new"]
    assert beating.outcomes[old.tag] == Ack()


def test_no_more_wait_here_than_may_and_the_rest_is_held(beating):
    taken = [beating.take("d", token=f"token-{n}") for n in range(IN_HAND + 3)]
    held = [delivery for delivery in taken if isinstance(beating.outcomes.get(delivery.tag), Later)]
    assert held == taken[IN_HAND:]
    beating.work()
    assert len(beating.sent) == IN_HAND
    beating.take("d", token="another")
    beating.work()
    assert len(beating.sent) == IN_HAND + 1


def test_where_swf_takes_none_the_newest_stands_for_those_that_want_no_answer(beating):
    beating.swf.will("heartbeat", Unavailable("ThrottlingException"))
    beating.take("first")
    beating.work()
    silent, asking = beating.take("second"), beating.take("third", reply_to="answers")
    newest = beating.take("fourth")
    assert beating.outcomes[silent.tag] == Ack()
    assert asking.tag not in beating.outcomes
    beating.wait()
    assert beating.sent == ["first", "fourth"]
    assert beating.outcomes[asking.tag] == beating.outcomes[newest.tag] == Ack()


INVALID = BadReply("token-invalid", "Invalid token")
NO = Rejected("refused-by-swf", "no", token="token-1", reason="no")


def test_a_token_that_swf_calls_invalid_parks_all_that_come_with_it(bench, beating):
    taken = [beating.take("d", reply_to="answers") for _ in range(3)]
    beating.swf.will("heartbeat", INVALID)
    beating.work()
    taken += [beating.take("d", reply_to="answers") for _ in range(3)]
    beating.wait()
    assert beating.settled == [(each, Park("token-invalid", "Invalid token")) for each in taken]
    assert beating.sent == ["d"], "one refusal holds for all"
    bench.settlement.holds = -1.0
    beating.take("asked anew")
    beating.work()
    assert beating.sent == ["d", "asked anew"]


def test_a_token_with_which_no_task_can_be_failed_is_refused_for_all_that_wait(bench, beating):
    taken = [beating.take("d", reply_to="answers") for _ in range(3)]
    beating.swf.will("heartbeat", NO)
    beating.swf.will("respond", NO)
    beating.work()
    assert beating.outcomes == {each.tag: Park("token-invalid", "no") for each in taken}
    assert [call for call, _ in beating.swf.calls] == ["heartbeat", "respond"]
    assert "0 in hand" in repr(beating.heartbeats)
    assert bench.notices() == []


def test_of_those_that_swf_refuses_only_the_last_is_to_blame_and_the_task_is_closed(bench, beating):
    beating.take("d")
    beating.work()
    taken = [beating.take("d", reply_to="answers") for _ in range(3)]
    beating.swf.will("heartbeat", NO)
    beating.wait()
    taken.append(beating.take("after it", reply_to="answers"))
    assert beating.outcomes[taken[2].tag] == Park("refused-by-swf", "no")
    others = [taken[0], taken[1], taken[3]]
    assert all(beating.outcomes[each.tag] == Ack() for each in others)
    told = [json.loads(each.body)["open"] for each in bench.publisher.of(HEARTBEAT_TYPE)]
    assert told == [True, True, False]
    assert [call for call, _ in beating.swf.calls] == ["heartbeat", "heartbeat", "respond"]
    assert "0 in hand" in repr(beating.heartbeats)


@pytest.mark.parametrize("error", [INVALID, Unavailable("ThrottlingException"), OSError()])
def test_no_other_instance_hears_of_a_task_of_which_swf_has_not_said_that_it_is_one(
    bench, beating, error
):
    beating.take("d", reply_to="answers")
    assert bench.notices() == []
    beating.swf.will("heartbeat", error)
    beating.work()
    assert bench.notices() == []
    beating.take("d", token="known to SWF")
    beating.work()
    assert [what for what, _ in bench.notices()] == ["spoke"]


def test_an_answer_that_cannot_be_given_keeps_no_heartbeat_from_its_outcome(bench, beating, caplog):
    def fail(*_, **__):
        raise RuntimeError("the publisher is broken")

    bench.publisher.publish = fail
    taken = [beating.take("d", reply_to="answers") for _ in range(3)]
    beating.work()
    beating.wait()
    assert beating.outcomes == {each.tag: Ack() for each in taken}
    assert {each.message for each in caplog.records} == {"notice.failed", "reply.unexpected"}


def test_a_fault_of_ours_loses_none(beating):
    beating.swf.will("heartbeat", ZeroDivisionError())
    taken = beating.take("d")
    beating.work()
    assert isinstance(beating.outcomes[taken.tag], Later)
    assert "0 in hand" in repr(beating.heartbeats)


def test_a_task_that_is_closed_is_let_go_of_and_answered_as_not_open(bench, beating):
    bench.hold()
    beating.swf.will("heartbeat", TaskClosed())
    beating.take("d", reply_to="answers")
    beating.work()
    (answer,) = bench.publisher.of(HEARTBEAT_TYPE)
    assert b'"open":false' in answer.body
    assert bench.in_flight == 0


def test_one_of_the_bridges_own_is_not_made_beside_a_workers(beating):
    made = []

    def own(name):
        async def beat():
            made.append(name)

        task = Heartbeat("token-1", None).task
        complete(beating.heartbeats.own(task, beat), beating.swf.make)

    beating.take("d")
    own("beside")
    beating.work()
    own("just after")
    beating.wait()
    own("alone")
    assert made == ["alone"]


def test_a_workers_waits_for_one_of_the_bridges_own_and_comes_right_after(beating):
    order = itertools.count()

    async def own():
        beating.take("the worker's")
        beating.work()
        assert beating.sent == []
        next(order)

    task = Heartbeat("token-1", None).task
    complete(beating.heartbeats.own(task, own), beating.swf.make)
    beating.work()
    assert beating.sent == ["the worker's"]
    assert next(order) == 1
