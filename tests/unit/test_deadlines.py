"""Deadlines: found in time or not at all, never too early, and nothing is forgotten over them."""

import logging
import time
from email.utils import formatdate
from threading import Thread

import pytest

from bridge.errors import Refused, Unavailable
from bridge.flow.timeouts.budget import Budget
from bridge.flow.timeouts.deadlines import MARGIN, PATIENCE, RETRY
from bridge.journal.journal import Journal
from bridge.message.message import TASK_TYPE
from bridge.rabbitmq.publisher import Fate
from bridge.swf.history import Look
from bridge.task import Deadline, Timeouts
from bridge.telemetry import metrics as m
from tests.unit.bridge_parts import TASK_LIST_ID, Bench
from tests.unit.test_forwarder import a_forwarder

KIND = (TASK_LIST_ID[0], "Greeter.say", "1.0")


class Flow:
    """A forwarder over deadlines, at an SWF whose clock is `skew` seconds ahead of ours."""

    def __init__(self, bench, mode="type", skew=0.0):
        self.bench, self.skew = bench, skew
        bench.modes[TASK_LIST_ID] = mode
        self.forwarder = a_forwarder(bench)
        bench.clock.note(formatdate(self.now, usegmt=True))

    @property
    def now(self):
        return time.time() + self.skew

    def forward(self, token="token-1", ago=0.0, **fields):
        given = {"given_at": float(int(self.now - ago)), **fields}
        task = self.bench.hold(token, published=False, **given)
        self.forwarder.forward(task, self.bench.journal.get(task.id).body)
        return task

    def types(self, *answers):
        self.bench.swf.will("registered", *answers)

    def looks(self, *answers):
        self.bench.swf.will("look", *answers)

    def sent(self):
        return self.bench.publisher.of(TASK_TYPE)

    def asked(self, call):
        return [given for name, given in self.bench.swf.calls if name == call]

    def expire(self, task, by=10.0):
        """As if the deadline of a task that is with RabbitMQ had been `by` seconds ago."""
        self.bench.journal.expires(task.id, Deadline(self.now - by))

    def look(self):
        self.bench.deadlines.look()
        self.bench.ask_swf()


@pytest.fixture
def flow(bench):
    return Flow(bench)


def header(message):
    return message.properties["headers"].get("swf-deadline")


def left(message):
    return None if message.until is None else message.until - time.monotonic()


# --- by type ---


def test_off_nothing_is_asked_and_nothing_told(bench):
    flow = Flow(bench, "off")
    flow.forward()
    (message,) = flow.sent()
    assert (header(message), message.until) == (None, None)
    assert bench.swf.calls == []


@pytest.mark.parametrize("skew", [-600, 0, 600])
def test_by_type_a_task_bears_swfs_own_time_and_expires_after_it(bench, skew):
    flow = Flow(bench, skew=skew)
    flow.types(Timeouts(20))
    task = flow.forward()
    assert flow.sent() == [], "SWF is asked first"
    bench.ask_swf()
    (message,) = flow.sent()
    assert header(message) == (task.given_at + 1 + 20) * 1000
    assert header(message) >= (flow.now + 20 - 1) * 1000
    assert 20 + MARGIN - 1 < left(message) <= 20 + MARGIN + 2
    assert bench.metrics.value(m.SECONDS_LEFT) == 1


def test_a_type_is_asked_for_once_and_not_for_each_task(flow, bench):
    flow.types(Timeouts(20))
    for token in ("a", "b", "c"):
        flow.forward(token)
    bench.ask_swf()
    flow.forward("d")
    assert flow.asked("registered") == [KIND]
    assert [header(each) is not None for each in flow.sent()] == [True] * 4
    assert flow.asked("look") == []


def test_a_schedule_to_close_counts_from_the_start_for_want_of_a_better(flow, bench):
    flow.types(Timeouts(None, 30, 40))
    task = flow.forward()
    bench.ask_swf()
    assert header(flow.sent()[0]) == (task.given_at + 31) * 1000


@pytest.mark.parametrize("error", [Unavailable("ThrottlingException"), Refused("no", "no")])
def test_where_swf_does_not_tell_the_type_tasks_go_out_without(flow, bench, error):
    flow.types(error)
    flow.forward()
    bench.ask_swf()
    flow.forward("two")
    assert [header(each) for each in flow.sent()] == [None, None]
    assert len(flow.asked("registered")) == 1, "and it is not asked again at once"


def test_no_task_waits_for_longer_than_its_patience(flow, bench):
    flow.forward()
    assert bench.timer.waits == [PATIENCE]
    assert bench.deadlines.searching
    bench.timer.happen()
    (message,) = flow.sent()
    assert header(message) is None
    assert not bench.deadlines.searching
    bench.ask_swf()
    assert len(flow.sent()) == 1, "once"


def test_a_task_does_not_wait_for_an_answer_that_others_have_waited_for_in_vain(flow, bench):
    flow.forward()
    bench.ahead = 2 * PATIENCE
    flow.forward("two")
    (message,) = flow.sent()
    assert b'"two"' in message.body


def test_without_a_date_of_swf_there_is_no_deadline(flow, bench):
    flow.types(Timeouts(20))
    flow.forward(given_at=None)
    bench.ask_swf()
    assert header(flow.sent()[0]) is None


def test_where_the_bridge_beats_a_heartbeat_is_no_deadline(bench):
    flow = Flow(bench)
    bench.kept_alive.add(TASK_LIST_ID)
    flow.types(Timeouts(20, None, 5))
    task = flow.forward()
    bench.ask_swf()
    assert header(flow.sent()[0]) == (task.given_at + 21) * 1000


def test_a_type_whose_tasks_were_given_other_time_outs_has_none(flow, bench, caplog):
    caplog.set_level(logging.INFO)
    flow.types(Timeouts(20))
    task = flow.forward()
    bench.ask_swf()
    bench.deadlines.look_at(task, Look(None, Timeouts(20)))
    flow.forward("same")
    bench.deadlines.look_at(task, Look(None, Timeouts(3600)))
    flow.forward("other")
    assert [header(each) is None for each in flow.sent()] == [False, False, True]
    assert bench.journal.overridden == {KIND}
    assert [each.message for each in caplog.records].count("type.overridden") == 1


def test_an_override_that_was_seen_before_the_type_was_known_counts(flow, bench):
    task = bench.hold("before")
    bench.deadlines.look_at(task, Look(None, Timeouts(3600)))
    flow.types(Timeouts(20))
    flow.forward()
    bench.ask_swf()
    assert header(flow.sent()[0]) is None


# --- by history ---


def test_by_history_a_task_has_its_own_time_and_one_look(bench):
    flow = Flow(bench, "history")
    at = flow.now + 50
    flow.looks(Look(None, Timeouts(50), Deadline(at)))
    task = flow.forward()
    bench.ask_swf()
    assert flow.asked("look") == [(task, 1)]
    assert flow.asked("registered") == []
    assert header(flow.sent()[0]) == pytest.approx(at * 1000, abs=1)


@pytest.mark.parametrize(
    "answer", [Unavailable("ThrottlingException"), Refused("no"), Look(), Look(None, Timeouts(5))]
)
def test_where_its_history_does_not_tell_the_type_does(bench, answer):
    flow = Flow(bench, "history")
    flow.looks(answer)
    flow.types(Timeouts(20) if getattr(answer, "timeouts", None) is None else Timeouts(5))
    flow.forward()
    bench.ask_swf()
    assert header(flow.sent()[0]) is not None


def test_beyond_the_budget_tasks_go_out_by_their_type(bench):
    flow = Flow(bench, "history")
    flow.looks(*(Look(None, Timeouts(20), Deadline(flow.now + 20)) for _ in range(200)))
    flow.types(Timeouts(20))
    for number in range(200):
        flow.forward(f"token-{number}")
    bench.ask_swf()
    assert len(flow.asked("look")) == bench.deadlines.budget.calls == 20
    assert len(flow.asked("registered")) == 1
    assert len(flow.sent()) == 200
    assert all(header(each) is not None for each in flow.sent())


def test_a_look_that_takes_too_long_is_not_waited_for(bench):
    flow = Flow(bench, "history")
    flow.forward()
    bench.timer.happen()
    assert len(flow.sent()) == 1
    flow.looks(Look(None, Timeouts(50), Deadline(flow.now + 50)))
    bench.ask_swf()
    assert len(flow.sent()) == 1


def test_a_budget_is_of_any_second_not_of_each():
    now = 100.0
    budget, taken = Budget(5, lambda: now), []
    for step in range(400):
        now = 100.0 + step * 0.01
        taken += [now] if budget.take() else []
    assert len(taken) == 20
    assert all(sum(begin <= each < begin + 1 for each in taken) <= 5 for begin in taken)
    assert not budget.take(spare=5)


# --- published again ---


def test_a_copy_that_is_published_again_gets_what_is_left(flow, bench):
    flow.types(Timeouts(20))
    task = flow.forward(ago=15)
    bench.ask_swf()
    bench.publisher.receipt(Fate.NACKED)
    bench.later.happen()
    flow.forwarder.republish(task, b"", lambda fate, why: None)
    first, second, third = flow.sent()
    assert header(first) == header(second) == header(third)
    assert 3 < left(third) < 5 + MARGIN + 1
    assert len(flow.asked("registered")) == 1


def test_after_the_first_word_a_copy_is_under_no_heartbeat(flow, bench):
    flow.types(Timeouts(20, None, 5))
    task = flow.forward()
    bench.ask_swf()
    bench.journal.first_word(task.id)
    flow.forwarder.republish(task, b"", lambda fate, why: None)
    first, again = flow.sent()
    assert header(again) - header(first) == 15_000


# --- past it ---


def test_a_task_whose_time_is_up_is_forgotten_once_swf_says_that_it_is_closed(flow, bench):
    flow.types(Timeouts(20))
    task = flow.forward(ago=60)
    bench.ask_swf()
    bench.publisher.receipt(Fate.EXPIRED)
    assert bench.journal.get(task.id), "until SWF has said so"
    flow.looks("timed out (START_TO_CLOSE)")
    flow.look()
    assert bench.journal.get(task.id) is None
    assert bench.in_flight == 0
    assert bench.metrics.value(m.TASKS_EXPIRED, *TASK_LIST_ID) == 1
    assert len(flow.sent()) == 1


def test_a_task_that_swf_still_waits_for_goes_out_again_with_what_it_has(flow, bench):
    flow.types(Timeouts(20))
    flow.forward(ago=60)
    bench.ask_swf()
    bench.publisher.receipt(Fate.EXPIRED)
    flow.looks(Look(None, Timeouts(3600), Deadline(flow.now + 3540)))
    flow.look()
    _, again = flow.sent()
    assert 3530 < left(again) < 3545
    assert bench.journal.overridden == {KIND}


def test_what_expired_in_its_queue_too_early_goes_out_again(flow, bench):
    task = bench.hold()
    flow.expire(task)
    flow.looks(Look(None, Timeouts(3600), Deadline(flow.now + 3540)))
    flow.look()
    assert len(flow.sent()) == 1
    flow.look()
    assert len(flow.asked("look")) == 1


def test_a_task_of_which_a_worker_has_spoken_does_not_go_out_again(flow, bench):
    task = bench.hold()
    bench.journal.first_word(task.id)
    flow.expire(task)
    flow.looks(Look(None, Timeouts(3600), Deadline(flow.now + 3540)))
    flow.look()
    assert flow.sent() == []


def test_a_task_past_its_heartbeat_that_is_open_has_a_worker(flow, bench):
    task = bench.hold()
    bench.journal.expires(task.id, Deadline(flow.now + 50, flow.now - 10))
    flow.looks(Look(None, Timeouts(60, None, 5), Deadline(flow.now + 50, flow.now - 10)))
    flow.look()
    assert flow.sent() == []
    assert bench.journal.deadlines.get(task.id).beat_by is None


def test_swf_may_be_late_itself_and_is_asked_again(flow, bench):
    task = bench.hold()
    flow.expire(task)
    flow.looks(Look(None, Timeouts(20), Deadline(flow.now - 10)), "timed out")
    flow.look()
    flow.look()
    assert len(flow.asked("look")) == 1
    bench.ahead = RETRY + 1
    flow.look()
    assert bench.journal.get(task.id) is None


def test_a_task_within_its_margin_is_not_asked_about(flow, bench):
    flow.expire(bench.hold(), by=MARGIN - 1.5)
    flow.look()
    assert flow.asked("look") == []


def test_where_the_history_may_not_be_read_what_was_not_published_goes_out(flow, bench):
    flow.types(Timeouts(20))
    flow.forward(ago=60)
    bench.ask_swf()
    bench.publisher.receipt(Fate.EXPIRED)
    flow.looks(Refused("AccessDenied"))
    flow.look()
    _, again = flow.sent()
    assert again.until is None


def test_where_the_history_cannot_be_read_now_nothing_is_lost(flow, bench):
    flow.types(Timeouts(20))
    task = flow.forward(ago=60)
    bench.ask_swf()
    bench.publisher.receipt(Fate.EXPIRED)
    flow.looks(Unavailable("ThrottlingException"), "timed out")
    flow.look()
    assert bench.journal.get(task.id)
    bench.ahead = RETRY + 1
    flow.look()
    assert bench.journal.get(task.id) is None


def test_looks_at_what_is_overdue_keep_to_the_budget(flow, bench):
    for number in range(100):
        flow.expire(bench.hold(f"token-{number}"))
    for _ in range(5):
        flow.look()
    assert len(flow.asked("look")) == 20


class Watched(Journal):
    """Tells whoever asks whether it holds a task, before it answers."""

    def meanwhile(self, task_id): ...

    def holds(self, task_id):
        self.meanwhile(task_id)
        return super().holds(task_id)


def test_a_look_goes_on_while_an_answer_puts_a_task_off(tmp_path):
    bench = Bench(tmp_path / "watched.db", kind=Watched)
    flow = Flow(bench)
    first, second = bench.hold("token-1"), bench.hold("token-2")
    flow.looks(Unavailable("ThrottlingException"), Unavailable("ThrottlingException"))
    flow.expire(first)
    flow.look()
    flow.expire(second)
    bench.deadlines.look()
    answers = Thread(target=bench.ask_swf)

    def meanwhile(task_id):
        if not answers.ident:  # the first of what was put off is looked at
            answers.start()
            answers.join(0.2)

    bench.journal.meanwhile = meanwhile
    flow.look()
    answers.join()
    assert len(flow.asked("look")) == 2
    bench.journal.close()


# --- what RabbitMQ dropped ---


def test_a_dropped_message_is_owed_again_until_swf_has_spoken(flow, bench):
    task = bench.hold()
    flow.expire(task, by=1.0)
    bench.deadlines.dropped(task.id)
    assert not bench.journal.get(task.id).published
    flow.looks(Look(None, Timeouts(60), Deadline(flow.now + 30)))
    flow.look()
    assert len(flow.sent()) == 1


def test_what_another_holds_is_told_to_it(bench):
    bench.deadlines.dropped("0" * 32)
    assert bench.notices() == [("dropped", "0" * 32)]
