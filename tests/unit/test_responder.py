"""After a delivery every path gives an outcome, whatever SWF or the worker do."""

import json
import logging
from dataclasses import replace

import pytest

from bridge.errors import BadReply, PartFailed, Refused, Rejected, TaskClosed, Unavailable
from bridge.flow.responder import NOT_REQUESTED, Responder
from bridge.flow.settling.peers import NOTICE_TYPE, notice
from bridge.flow.settling.turns import Strangers, Turn, Turns
from bridge.message.message import cancellation, heartbeat_answer
from bridge.rabbitmq.consuming.delivery import Ack, Later, Park, Wait
from bridge.swf.runner import complete
from bridge.task import Canceled, Completed, Failed, Heartbeat, task_id
from bridge.telemetry import metrics as m
from tests.unit.bridge_parts import TASK_LIST_ID, TOPOLOGY, Awaited, a_delivery

INVALID = BadReply("token-invalid", "Invalid token")
REFUSED = Rejected("refused-by-swf", "no", token="token-1", reason="reply refused by SWF: no")


class Beats:
    def __init__(self):
        self.taken = []

    async def take(self, delivery, beat):
        self.taken.append((delivery, beat))
        return []


@pytest.fixture
def beats():
    return Beats()


@pytest.fixture
def responder(bench, beats):
    found = Responder(
        Awaited(),
        bench.metrics,
        peers=bench.peers,
        settlement=bench.settlement,
        heartbeats=beats,
        keepalive=bench.keepalive,
        deadlines=bench.deadlines,
        topology=TOPOLOGY,
        room=4,
    )
    found.handled = lambda work: complete(found.handle(work), bench.swf.make)
    return found


def a_reply(status="completed", token="token-1", properties=None, **fields):
    body = json.dumps({"taskToken": token, "status": status, **fields}).encode()
    return a_delivery(body, **(properties or {}))


def outcome(responder, delivery):
    ((settled, found),) = responder.handled(delivery)
    assert settled is delivery
    assert len(responder.turns) == 0
    return found


def replies(bench, status):
    return bench.metrics.value(m.REPLIES, status)


# --- what closes a task ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delivery", "reply"),
    [
        (a_reply(result="r"), Completed("token-1", "r")),
        (a_reply("failed", reason="r", details="d"), Failed("token-1", "r", "d")),
        (a_reply("canceled", details="d"), Canceled("token-1", "d")),
    ],
)
def test_a_reply_closes_its_task_and_gives_slot_and_row_back(bench, responder, delivery, reply):
    task = bench.hold()
    assert outcome(responder, delivery) == Ack()
    assert bench.swf.calls == [("respond", reply)]
    assert bench.journal.get(task.id) is None
    assert bench.in_flight == 0
    assert bench.notices() == []


def test_a_reply_to_the_task_of_another_instance_is_told_to_it(bench, responder):
    assert outcome(responder, a_reply(token="theirs")) == Ack()
    assert bench.notices() == [("settled", task_id("theirs"))]


def test_the_second_reply_is_a_duplicate_and_one_too_late_is_late(bench, responder, caplog):
    caplog.set_level(logging.INFO)
    bench.hold()
    outcome(responder, a_reply())
    bench.swf.will("respond", TaskClosed("x"), TaskClosed("x"))
    assert outcome(responder, a_reply()) == Ack()
    assert replies(bench, "duplicate") == 1

    bench.hold("late", polled_at=1.0)
    assert outcome(responder, a_reply(token="late")) == Ack()
    assert replies(bench, "late") == 1
    assert bench.in_flight == 0
    (late,) = [each for each in caplog.records if each.message == "reply.late"]
    assert late.levelname == "WARNING"
    assert late.age > 1_000_000


@pytest.mark.parametrize("timestamp", [None, 0, 2**63, 1_700_000_000])
def test_the_age_of_a_late_reply_bears_any_timestamp(bench, responder, timestamp):
    bench.swf.will("respond", TaskClosed("x"))
    properties = {} if timestamp is None else {"timestamp": timestamp}
    assert outcome(responder, a_reply(properties=properties)) == Ack()


# --- what cannot be accepted -------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{}", b"[" * 9_999])
def test_what_is_no_reply_is_parked_without_a_word_to_swf(bench, responder, body):
    assert isinstance(outcome(responder, a_delivery(body)), Park)
    assert bench.swf.calls == []


def test_a_result_that_is_too_large_fails_the_task_and_is_parked(bench, responder):
    bench.hold()
    found = outcome(responder, a_reply(result="x" * 32_769))
    assert (found.code, bench.in_flight) == ("result-too-large", 0)
    ((_, failed),) = bench.swf.calls
    assert isinstance(failed, Failed)
    assert "32769" in failed.reason


def test_a_token_that_swf_calls_invalid_is_parked(bench, responder):
    bench.swf.will("respond", INVALID)
    assert outcome(responder, a_reply()) == Park("token-invalid", "Invalid token")


def test_a_refusal_fails_the_task_and_is_parked(bench, responder):
    bench.hold()
    bench.swf.will("respond", REFUSED)
    assert outcome(responder, a_reply()) == Park("refused-by-swf", "no")
    assert bench.swf.calls[1] == ("respond", Failed("token-1", REFUSED.reason))
    assert bench.in_flight == 0


@pytest.mark.parametrize(
    ("second", "code"),
    [(TaskClosed("x"), "refused-by-swf"), (INVALID, "token-invalid"), (REFUSED, "token-invalid")],
)
def test_a_refusal_whose_task_cannot_be_failed_is_parked_too(bench, responder, second, code):
    bench.swf.will("respond", REFUSED, second)
    assert outcome(responder, a_reply()) == Park(code, "no")


@pytest.mark.parametrize("refusals", [[INVALID], [REFUSED, REFUSED], [REFUSED, INVALID]])
def test_one_refusal_of_a_token_refuses_all_that_come_with_it_for_a_second(
    bench, responder, refusals
):
    first, second, third = a_reply(result="1"), a_reply("canceled"), a_reply("failed", reason="3")
    under_way = responder.handle(first)
    under_way.send(None)
    assert responder.handled(second) == []
    *earlier, last = refusals
    for refusal in earlier:
        under_way.throw(refusal)
    with pytest.raises(StopIteration) as end:
        under_way.throw(last)
    assert [found.code for _, found in end.value.value] == ["token-invalid"] * 2
    assert outcome(responder, third).code == "token-invalid"
    assert bench.swf.calls == []
    assert outcome(responder, a_reply(token="another")) == Ack()
    bench.settlement.holds = -1.0
    assert outcome(responder, a_reply()) == Ack()


# --- what may be accepted later ----------------------------------------------------------------

ERRORS = [Unavailable("ThrottlingException"), Refused("AccessDenied"), KeyError("x"), OSError()]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_what_swf_cannot_take_now_is_kept_for_later(bench, responder, error):
    bench.hold()
    bench.swf.will("respond", error)
    found = outcome(responder, a_reply())
    assert isinstance(found, Later)
    assert 0 < found.seconds <= 60
    assert bench.in_flight == 1
    assert outcome(responder, a_reply()) == Ack()


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("large", [True, False])
def test_a_task_that_cannot_be_failed_now_keeps_its_reply(bench, responder, error, large):
    bench.swf.will("respond", *([] if large else [REFUSED]), error)
    found = outcome(responder, a_reply(result="x" * 32_769 if large else "r"))
    assert isinstance(found, Later)


def test_a_damaged_journal_ends_the_part(bench, responder):
    bench.swf.will("respond", PartFailed("damaged"))
    with pytest.raises(PartFailed):
        responder.handled(a_reply())


# --- canceled ----------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [TaskClosed("x"), REFUSED, Refused("NotPermitted")])
def test_canceled_without_a_request_fails_a_task_that_is_open(bench, responder, refusal):
    bench.hold()
    bench.swf.will("respond", refusal)
    bench.swf.will("heartbeat", False)
    assert outcome(responder, a_reply("canceled", details="d")) == Ack()
    assert bench.swf.calls[-1] == ("respond", Failed("token-1", NOT_REQUESTED, "d"))
    assert bench.in_flight == 0


def test_canceled_for_a_task_that_is_closed_is_late(bench, responder):
    bench.hold()
    bench.swf.will("respond", TaskClosed("x"))
    bench.swf.will("heartbeat", TaskClosed("x"))
    assert outcome(responder, a_reply("canceled")) == Ack()
    assert replies(bench, "late") == 1
    assert bench.in_flight == 0


def test_canceled_while_swf_is_away_is_kept(bench, responder):
    bench.swf.will("respond", TaskClosed("x"))
    bench.swf.will("heartbeat", Unavailable("ThrottlingException"))
    assert isinstance(outcome(responder, a_reply("canceled")), Later)


# --- the rest ----------------------------------------------------------------------------------


def test_a_heartbeat_is_left_to_those_who_answer_heartbeats(beats, responder):
    delivery = a_reply("heartbeat", details="d")
    assert responder.handled(delivery) == []
    assert beats.taken == [(delivery, Heartbeat("token-1", "d"))]


def test_swf_is_asked_once_a_second_about_a_task_that_it_has_called_closed(bench, responder):
    bench.swf.will("respond", TaskClosed("x"), TaskClosed("x"))
    for reply in (a_reply(), a_reply("failed"), a_reply("canceled")):
        assert outcome(responder, reply) == Ack()
    assert len(bench.swf.calls) == 1
    assert replies(bench, "late") == 3
    assert bench.notices() == [("settled", task_id("token-1"))]
    bench.settlement.holds = -1.0
    assert outcome(responder, a_reply()) == Ack()
    assert len(bench.swf.calls) == 2


def test_a_heartbeat_over_which_the_bridge_itself_fails_ends_nothing_and_is_kept(beats, responder):
    async def fail(delivery, beat):
        raise KeyError(beat)

    beats.take = fail
    assert isinstance(outcome(responder, a_reply("heartbeat")), Later)


def test_a_task_that_came_back_undelivered_is_failed_with_the_reason(bench, responder):
    task = bench.hold()
    body = bench.journal.get(task.id).body
    death = [{"reason": "rejected", "queue": "work", "count": 1}]
    delivery = a_delivery(body, queue=TOPOLOGY.undeliverable, headers={"x-death": death})
    assert outcome(responder, delivery) == Ack()
    ((_, failed),) = bench.swf.calls
    assert failed.reason == "undeliverable: rejected in queue work, count 1"
    assert bench.in_flight == 0


@pytest.mark.parametrize(
    "word",
    [
        heartbeat_answer("t", "q", None, is_open=True, cancel_requested=False),
        cancellation("t", "id", exchange="x", routing_key="k"),
        notice("settled", ["0" * 32], "another", exchange="x"),
    ],
    ids=["answer", "cancellation", "notice"],
)
@pytest.mark.parametrize("stripped", [(), ("type",), ("type", "app_id")])
def test_a_task_is_not_failed_for_another_word_of_a_bridge_that_was_undeliverable(
    bench, responder, word, stripped
):
    """A worker names a bridge's queue for its answer, or its queue drops a notice of a cancel."""
    given = {k: v for k, v in word.properties.items() if k not in (*stripped, "headers")}
    delivery = a_delivery(word.body, queue=TOPOLOGY.undeliverable, **given)
    if word.properties["type"] == NOTICE_TYPE and stripped:
        assert isinstance(outcome(responder, delivery), Park), "it names no task"
    else:
        assert outcome(responder, delivery) == Ack()
    assert bench.swf.calls == []


def test_a_task_whose_type_is_gone_or_of_a_later_version_is_failed_all_the_same(bench, responder):
    for kind in ({}, {"type": ""}, {"type": "swf.activity-task.v2", "app_id": "swf-bridge"}):
        task = bench.hold(f"token-{kind}")
        body = bench.journal.get(task.id).body
        assert outcome(responder, a_delivery(body, queue=TOPOLOGY.undeliverable, **kind)) == Ack()
        assert bench.in_flight == 0
    assert [call for call, _ in bench.swf.calls] == ["respond"] * 3


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b'{"notice":"settled","tasks":["\\ud800"],"from":1}']
)
def test_a_notice_that_is_none_is_done_with(responder, body):
    assert outcome(responder, a_delivery(body, queue=TOPOLOGY.notice_queue)) == Ack()


def test_a_notice_is_no_answer_of_swf_and_ends_no_outage(bench, responder):
    bench.settlement.outage.begin(Unavailable("ThrottlingException"))
    told = a_delivery(b"no notice", queue=TOPOLOGY.notice_queue)
    assert outcome(responder, told) == Ack()
    assert bench.settlement.outage.error
    assert outcome(responder, a_reply()) == Ack()
    assert not bench.settlement.outage.error


def test_a_notice_frees_the_slot_of_a_task_in_hand(bench, responder):
    task = bench.hold()
    message = notice("settled", [task.id], "another", exchange="x")
    assert outcome(responder, a_delivery(message.body, queue=TOPOLOGY.notice_queue)) == Ack()
    assert bench.in_flight == 0


# --- the bridge's own failures -----------------------------------------------------------------


def give_back(responder, token="token-1"):
    again = []
    responder.fail_back(Failed(token, "no worker"), again.append)
    assert responder.handled(responder.work.get()) == []
    return again


@pytest.mark.parametrize("answer", [None, TaskClosed("x"), INVALID])
def test_a_task_that_is_failed_back_is_in_hand_no_more(bench, responder, answer):
    bench.hold(published=False)
    bench.swf.will("respond", answer)
    assert give_back(responder) == []
    assert bench.in_flight == 0
    failed_by_us = 0 if isinstance(answer, TaskClosed) else 1
    assert bench.metrics.value(m.TASKS_FAILED_BACK, *TASK_LIST_ID) == failed_by_us


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_task_that_cannot_be_failed_back_now_is_owed_on(bench, responder, error):
    bench.hold(published=False)
    bench.swf.will("respond", error)
    assert len(give_back(responder)) == 1
    assert bench.in_flight == 1


# --- replies of tasks that this instance does not hold -------------------------------------------


def begun(responder, work):
    """A conversation that waits for its first answer from SWF."""
    conversation = responder.handle(work)
    conversation.send(None)
    return conversation


def ended(conversation):
    with pytest.raises(StopIteration) as end:
        conversation.send({})
    return end.value.value


def test_three_of_four_places_are_for_strangers_and_the_next_follows_where_one_ends(
    bench, responder
):
    bench.hold()
    first, *others = [begun(responder, a_reply(token=f"none-{number}")) for number in range(3)]
    fourth, fifth = a_reply(token="none-3"), a_reply(token="none-4")
    for each in (fourth, fifth):
        assert responder.handled(each) == [(each, Wait())]
    assert len(responder.strangers) == 2
    own = a_reply()
    assert responder.handled(own) == [(own, Ack())]
    assert responder.work.empty()
    ended(first)
    following = responder.work.get()
    assert following.delivery is fourth
    assert ended(begun(responder, following)) == [(fourth, Ack())]
    assert responder.work.get().delivery is fifth
    for each in others:
        ended(each)
    assert responder.work.empty()
    assert len(responder.strangers) == 0


def test_those_that_wait_are_not_kept_over_a_loss_of_their_channel():
    def turn(queue, life):
        return Turn(replace(a_reply(), queue=queue, life=life), Completed("none"))

    strangers = Strangers(1)
    assert strangers.enter(turn("a", 1))
    before = [turn("a", 1), turn("b", 1), turn("a", 1)]
    after = [turn("a", 2), turn("a", 2)]
    for each in (*before, *after):
        assert not strangers.enter(each)
    assert [strangers.leave() for _ in range(4)] == [before[1], *after, None]
    assert strangers.enter(turn("a", 2))


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_stranger_that_swf_cannot_take_now_makes_room(bench, responder, error):
    bench.swf.will("respond", *[error] * 8)
    for number in range(8):
        assert isinstance(outcome(responder, a_reply(token=f"none-{number}")), Later)


# --- turns -------------------------------------------------------------------------------------


def test_replies_of_one_task_are_handled_one_at_a_time_and_in_order(bench, responder):
    bench.hold()
    first, second, third, other = (
        a_reply(result="1"),
        a_reply(result="2"),
        a_reply("failed", reason="3"),
        a_reply(token="other"),
    )
    under_way = responder.handle(first)
    assert under_way.send(None).fields == Completed("token-1", "1")
    assert responder.handled(second) == []
    assert responder.handled(third) == []
    assert responder.handled(other) == [(other, Ack())]
    assert under_way.send({}).fields == Completed("token-1", "2")
    assert under_way.send({}).fields == Failed("token-1", "3")
    with pytest.raises(StopIteration) as end:
        under_way.send({})
    assert [delivery for delivery, _ in end.value.value] == [first, second, third]
    assert len(responder.turns) == 0


def test_a_turn_ends_with_the_last_reply():
    turns = Turns()
    one, two = (Turn(a_reply(), Completed("t", result)) for result in "12")
    assert turns.begin(one)
    assert not turns.begin(two)
    assert turns.begin(Turn(a_reply(), Completed("other")))
    assert turns.end(one) == two
    assert turns.end(two) is None
    assert turns.begin(one)


# --- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", [TOPOLOGY.reply_queue, TOPOLOGY.undeliverable])
def test_a_reply_for_which_memory_is_short_is_kept(responder, caplog, queue):
    class Short(dict):
        def get(self, *_):
            raise MemoryError

    ((_, found),) = responder.handled(a_delivery(b"{}", queue=queue, headers=Short()))
    assert isinstance(found, Later)
    assert "MemoryError" in caplog.text


# --- tasks that expired in their queue ---


def an_expired(**headers):
    deaths = [{"reason": "expired", "queue": "work", "count": 1}]
    body = json.dumps({"taskToken": "token-1"}).encode()
    given = {"x-death": deaths, **headers}
    return a_delivery(body, queue=TOPOLOGY.undeliverable, headers=given)


def test_a_task_that_expired_past_its_deadline_is_not_failed_but_looked_after(
    bench, responder, caplog
):
    task = bench.hold()
    assert outcome(responder, an_expired(**{"swf-deadline": 1_000_000})) == Ack()
    assert bench.swf.calls == []
    assert not bench.journal.get(task.id).published
    assert replies(bench, "expired") == 1
    assert caplog.records == []


def test_a_task_that_expired_before_its_deadline_or_without_one_is_failed(bench, responder):
    bench.hold()
    bench.clock.note("Sat, 28 Nov 2026 15:00:00 GMT")
    ahead = int(bench.clock.now() + 60) * 1000
    for headers in ({}, {"swf-deadline": ahead}):
        assert outcome(responder, an_expired(**headers)) == Ack()
    failed = [given for call, given in bench.swf.calls if call == "respond"]
    assert [each.reason for each in failed] == ["undeliverable: expired in queue work, count 1"] * 2


def test_a_task_that_expired_and_is_closed_is_no_late_reply(bench, responder, caplog):
    task = bench.hold()
    bench.swf.will("respond", TaskClosed("gone"))
    assert outcome(responder, an_expired()) == Ack()
    assert (replies(bench, "expired"), replies(bench, "late")) == (1, 0)
    assert bench.journal.get(task.id) is None
    assert "reply.late" not in [each.message for each in caplog.records]


def test_another_instance_tells_that_a_task_of_ours_expired(bench, responder):
    task = bench.hold()
    body = notice("dropped", [task.id], "another", exchange="x").body
    assert outcome(responder, a_delivery(body, queue=TOPOLOGY.notice_queue)) == Ack()
    assert not bench.journal.get(task.id).published


def large_reply(status):
    """One that is over the bound, and shows its task."""
    return a_reply(status, result="x" * 1_100_000)


def test_a_reply_over_the_bound_fails_its_task_and_is_parked(bench, responder):
    task = bench.hold()
    found = outcome(responder, large_reply("completed"))
    assert (found.code, found.about["task"]) == ("too-large", task.id)
    ((call, failed),) = bench.swf.calls
    assert (call, type(failed)) == ("respond", Failed)
    assert bench.journal.get(task.id) is None


@pytest.mark.parametrize("answer", [{}, TaskClosed("x"), INVALID, REFUSED])
@pytest.mark.parametrize("delivery", [large_reply("completed"), a_reply(result="x" * 32_769)])
def test_of_many_that_are_too_large_one_a_second_is_told_to_swf(bench, responder, delivery, answer):
    under_way = responder.handle(delivery)
    assert isinstance(under_way.send(None).fields, Failed)
    assert responder.handled(delivery) == []
    with pytest.raises(StopIteration) as end:
        under_way.throw(answer) if isinstance(answer, Exception) else under_way.send(answer)
    codes = [found.code for _, found in end.value.value]
    assert (len(codes), len(set(codes)), bench.swf.calls) == (2, 1, [])
    assert outcome(responder, delivery).code == codes[0]
    assert bench.swf.calls == []
    bench.settlement.holds = -1.0
    assert outcome(responder, delivery).code == codes[0]
    assert len(bench.swf.calls) == 1


def test_after_one_that_was_too_large_a_good_reply_to_the_task_costs_no_call(bench, responder):
    bench.hold()
    outcome(responder, large_reply("completed"))
    assert outcome(responder, a_reply()) == Ack()
    assert len(bench.swf.calls) == 1
    assert replies(bench, "duplicate") == 1


@pytest.mark.parametrize(
    "delivery",
    [
        large_reply("heartbeat"),
        a_delivery(b"[" + b"{}," * 400_000 + b"1]"),
        a_delivery(b"[" + b"{}," * 400_000 + b"1]", queue=TOPOLOGY.undeliverable),
    ],
    ids=["heartbeat", "no object", "undeliverable"],
)
def test_what_is_over_the_bound_and_closes_no_task_is_parked(bench, responder, delivery):
    assert outcome(responder, delivery).code == "too-large"
    assert bench.swf.calls == []
