"""A hand takes as many jobs as it has room for, and brings to an end what it has begun."""

import threading

import pytest

from bridge.swf import executor as module
from bridge.swf.executor import Hand, Jobs
from bridge.swf.runner import Call, InPlace, Line
from tests.unit.bridge_parts import until


class Held:
    """A wire whose calls end when the test says so."""

    def __init__(self):
        self.open = []
        self.over = []
        self.changed = threading.Condition()

    def begin(self, call, whom):
        with self.changed:
            self.open.append(whom)
            self.changed.notify_all()

    def ended(self, timeout):
        with self.changed:
            self.changed.wait_for(lambda: self.over, timeout)
            over, self.over = self.over, []
            return over

    def wake(self):
        with self.changed:
            self.changed.notify_all()

    def answer(self):
        with self.changed:
            self.over.append((self.open.pop(0), {}))
            self.changed.notify_all()


async def ask(job):
    await Call(job, {})
    return job


@pytest.fixture
def held(monkeypatch):
    monkeypatch.setattr(module, "TICK", 0.01)
    return Held()


@pytest.mark.parametrize("hands", [1, 3])
def test_idle_hands_end_at_once_when_they_are_stopped(monkeypatch, hands):
    monkeypatch.setattr(module, "TICK", 30.0)
    jobs = Jobs()
    found = [Hand(f"hand-{number}", jobs, ask, Line(Held(), print)) for number in range(hands)]
    threads = [threading.Thread(target=hand.run, daemon=True) for hand in found]
    for thread in threads:
        thread.start()
    for hand in found:
        hand.stop()
        hand.stop()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


def test_a_hand_has_as_many_jobs_under_way_as_it_has_room_for(held):
    jobs, done = Jobs(), []
    for number in range(5):
        jobs.put(number)
    hand = Hand("hand-1", jobs, ask, Line(held, done.append), room=3)
    hand.turn()
    assert len(held.open) == 3
    held.answer()
    hand.turn()
    hand.turn()
    assert len(held.open) == 3
    assert done == [0]


def test_a_hand_without_work_moves(held):
    hand = Hand("hand-1", Jobs(), ask, Line(held, id))
    hand.moved = 0.0
    hand.turn()
    assert hand.moved > 0.0


def test_a_job_that_comes_while_others_are_under_way_is_begun_at_once(held, monkeypatch):
    monkeypatch.setattr(module, "TICK", 60.0)
    woken = threading.Event()
    monkeypatch.setattr(held, "wake", woken.set)
    jobs = Jobs()
    jobs.put("one")
    Hand("hand-1", jobs, ask, Line(held, id), room=2)
    assert not woken.is_set()
    jobs.put("two")
    assert woken.is_set()


def test_a_stop_takes_no_more_and_waits_for_what_is_begun(held):
    jobs, done = Jobs(), []
    hand = Hand("hand-1", jobs, ask, Line(held, done.append))
    thread = threading.Thread(target=hand.run)
    thread.start()
    jobs.put("begun")
    until(lambda: held.open)
    hand.stop()
    jobs.put("too late")
    held.answer()
    thread.join(10)
    assert not thread.is_alive()
    assert done == ["begun"]
    assert not jobs.empty()


def test_in_place_jobs_are_done_one_after_the_other(held):
    jobs, done = Jobs(), []
    for number in range(3):
        jobs.put(number)
    hand = Hand("hand-1", jobs, ask, Line(InPlace(lambda call: {}), done.append))
    while not jobs.empty() or hand._line.open:
        hand.turn()
    assert done == [0, 1, 2]
