"""Heartbeats of the bridge's own: for whom, when, how many at once, and until when."""

import time
from queue import Empty, SimpleQueue

import pytest

from bridge.errors import BadReply, TaskClosed, Unavailable
from bridge.flow.heartbeats.keepalive import LANES, RETRY, Keepalive
from bridge.message.message import CANCELLATION_TYPE
from bridge.swf.runner import complete
from tests.unit.bridge_parts import TASK_LIST_ID, Awaited


class Kept:
    """A keepalive over a bench; the test is its clock and its threads."""

    def __init__(self, bench):
        self.bench = bench
        self.now = time.monotonic()
        self.work = SimpleQueue()  # as of heartbeats
        self.keepalive = self.anew()

    def anew(self, interval=20.0, limit=3600.0):
        return Keepalive(
            Awaited(),
            self.bench.journal,
            self.bench.peers,
            intervals={TASK_LIST_ID: interval, ("demo", "other"): 0.0},
            limit=limit,
            monotonic=lambda: self.now,
        )

    async def own(self, task, beat):
        await beat()

    def watched(self, *tokens):
        tasks = [self.bench.hold(token) for token in tokens or ("token-1",)]
        for task in tasks:
            self.keepalive.watch(task)
        return tasks

    def after(self, seconds):
        """How many heartbeats are made when so much time has passed."""
        self.now += seconds
        self.keepalive.look(self.work, self.own)
        before = len(self.bench.swf.calls)
        while True:
            try:
                job = self.work.get_nowait()
            except Empty:
                return len(self.bench.swf.calls) - before
            complete(job(), self.bench.swf.make)


@pytest.fixture
def kept(bench):
    return Kept(bench)


def test_a_task_is_beaten_for_at_every_interval_and_not_before(kept):
    kept.watched()
    assert [kept.after(seconds) for seconds in (10, 9, 1, 10, 10)] == [0, 0, 1, 0, 1]
    assert kept.bench.swf.calls[0] == ("heartbeat", ("token-1", None))


def test_a_task_of_a_list_that_does_not_ask_for_it_is_left_alone(kept):
    kept.keepalive.watch(kept.bench.hold(task_list="other"))
    assert kept.after(1000) == 0


def test_after_a_restart_the_first_comes_at_once_for_whoever_has_not_spoken(kept):
    silent, spoken = kept.watched("silent", "spoken")
    kept.keepalive.heard(spoken.id)
    kept.keepalive = kept.anew()
    kept.keepalive.resume()
    assert kept.after(0) == 1
    assert kept.bench.swf.calls == [("heartbeat", ("silent", None))]
    assert kept.bench.journal.get(silent.id)


def test_a_task_past_the_limit_is_not_taken_up_again(kept, caplog):
    kept.bench.hold(polled_at=time.time() - 100)
    kept.keepalive = kept.anew(limit=50.0)
    kept.keepalive.resume()
    assert kept.after(0) == 0
    assert not caplog.records


def test_a_workers_word_that_comes_before_all_else_is_not_missed(kept):
    task = kept.bench.hold()
    kept.keepalive.heard(task.id)
    kept.keepalive.watch(task)
    assert kept.after(20) == 0
    assert "0 tasks" in repr(kept.keepalive)


def test_a_settled_task_is_forgotten_when_it_is_due(kept):
    (task,) = kept.watched()
    kept.bench.journal.settle(task.id)
    assert kept.after(20) == 0
    assert "0 tasks" in repr(kept.keepalive)


def test_what_swf_cannot_take_is_tried_again_soon(kept):
    kept.watched()
    kept.bench.swf.will("heartbeat", Unavailable("ThrottlingException"))
    assert kept.after(20) == 1
    assert kept.after(RETRY) == 1
    assert kept.after(RETRY) == 0


@pytest.mark.parametrize("error", [TaskClosed(), BadReply("token-invalid", "no")])
def test_what_swf_refuses_for_good_ends_it(kept, error):
    kept.watched()
    kept.bench.swf.will("heartbeat", error)
    assert kept.after(20) == 1
    assert kept.after(1000) == 0
    assert kept.bench.in_flight == isinstance(error, BadReply)


def test_a_cancel_is_passed_on_once_and_beating_goes_on(kept):
    kept.watched()
    kept.bench.swf.will("heartbeat", True, True)
    assert [kept.after(20), kept.after(20)] == [1, 1]
    assert len(kept.bench.publisher.of(CANCELLATION_TYPE)) == 1


def test_few_are_on_their_way_at_once_so_that_workers_need_not_wait(kept):
    kept.watched("a", "b", "c", "d")
    kept.now += 20
    for _ in range(3):
        kept.keepalive.look(kept.work, kept.own)
    assert kept.work.qsize() == LANES
    assert kept.after(0) == 4


def test_a_word_heard_of_anothers_task_is_told(kept):
    kept.keepalive.heard("0" * 32)
    assert kept.bench.notices() == [("spoke", "0" * 32)]
