"""After a poll has returned a task every path hands it over or leaves it in the journal."""

import logging
import threading

import pytest
from bridge_parts import LABEL, a_task, aws, until

from bridge import metrics as m
from bridge import poller as module
from bridge.errors import PartFailed, Refused, Unavailable
from bridge.local import LocalSwf
from bridge.poller import PACE, Poller, Source
from bridge.swf import Swf


@pytest.fixture
def ready():
    found = threading.Event()
    found.set()
    return found


@pytest.fixture
def make(bench, ready, monkeypatch):
    monkeypatch.setattr(module, "TICK", 0.02)

    def make(**given):
        source = given.pop("source", None) or Source(
            LABEL, broker_ready=ready, journal=bench.journal
        )
        parts = {
            "swf": bench.swf,
            "window": bench.window,
            "journal": bench.journal,
            "hand_over": lambda task, body: bench.handed.append(task),
            "metrics": bench.metrics,
            "read_timeout": 70.0,
        }
        return Poller("poller-1", source, **{**parts, **given})

    bench.handed = []
    return make


def polled(bench):
    return [call for call, _ in bench.swf.calls]


def test_a_task_is_recorded_then_handed_over_and_holds_its_slot(bench, make):
    task = a_task()
    bench.swf.will("poll", task)
    seen = []
    poller = make(hand_over=lambda given, body: seen.append(bench.journal.get(given.id)))
    assert poller.poll_once() == 0.0
    (entry,) = seen
    assert entry.task == task
    assert bench.in_flight == 1
    assert bench.metrics.value(m.TASKS_POLLED, *LABEL) == 1
    assert bench.metrics.value(m.POLLS, *LABEL, "task") == 1


def test_an_empty_poll_gives_its_slot_back_and_is_paced(bench, make):
    poller = make()
    for _ in range(10):
        assert 0 < poller.poll_once() <= PACE
    assert polled(bench) == ["poll"] * 10
    assert bench.metrics.value(m.POLLS, *LABEL, "empty") == 10


def test_an_empty_poll_that_was_held_is_followed_at_once(bench, make, monkeypatch):
    monkeypatch.setattr(module, "PACE", 0.0)
    assert make().poll_once() <= 0


def test_the_same_task_given_twice_holds_one_slot(bench, make):
    bench.swf.will("poll", a_task(), a_task())
    poller = make()
    poller.poll_once()
    poller.poll_once()
    assert bench.in_flight == 1
    assert len(bench.handed) == 2


@pytest.mark.parametrize("error", [PartFailed("damaged"), MemoryError()])
def test_a_task_that_cannot_be_recorded_is_handed_over_all_the_same(
    bench, make, monkeypatch, error
):
    def record(task, body):
        raise error

    monkeypatch.setattr(bench.journal, "record", record)
    bench.swf.will("poll", a_task())
    with pytest.raises(type(error)):
        make().poll_once()
    assert len(bench.handed) == 1


def test_a_task_is_in_the_journal_whatever_breaks_behind_it(bench, make):
    def broken(*_):
        raise RuntimeError

    for number, how in enumerate([{"hand_over": broken}, {"scope": broken}]):
        bench.swf.will("poll", task := a_task(f"token-{number}"))
        with pytest.raises(RuntimeError):
            make(**how).poll_once()
        assert bench.journal.get(task.id)
        assert bench.in_flight == number + 1


# --- errors ------------------------------------------------------------------------------------


def test_a_poll_that_fails_gives_its_slot_back_and_backs_off(bench, make, caplog):
    poller = make()
    bench.swf.will("poll", *[Unavailable("ThrottlingException")] * 40)
    waits = [poller.poll_once() for _ in range(40)]
    assert all(0 <= wait <= 30 for wait in waits)
    assert max(waits[10:]) > 5
    assert bench.in_flight == 0
    assert bench.window.acquire(LABEL, 0)
    assert [each.message for each in caplog.records] == ["poll.failing"]
    assert bench.metrics.value(m.POLLS, *LABEL, "error") == 40


def test_a_poll_that_is_refused_names_list_action_and_cause(bench, make, caplog):
    poller = make()
    bench.swf.will("poll", *[Refused("UnknownResourceFault", "Unknown domain: demo")] * 40)
    waits = [poller.poll_once() for _ in range(40)]
    assert max(waits) > 30
    assert max(waits) <= 60
    (told,) = caplog.records
    assert (told.message, told.domain, told.task_list) == ("poll.refused", *LABEL)
    assert told.action == "swf:PollForActivityTask"
    assert "Unknown domain" in told.error
    assert "refused" in poller.state


def test_a_poll_that_works_again_is_told_and_begins_the_back_off_anew(bench, make, caplog):
    caplog.set_level(logging.INFO)
    poller = make()
    bench.swf.will("poll", *[Unavailable("InternalFailure")] * 20, None, Unavailable("x"))
    for _ in range(21):
        poller.poll_once()
    assert [each.message for each in caplog.records] == ["poll.failing", "poll.back"]
    assert poller.poll_once() <= 0.5


def test_an_error_that_nobody_expects_gives_the_slot_back_and_ends_the_part(bench, make):
    bench.swf.will("poll", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        make().poll_once()
    assert all(bench.window.acquire(LABEL, 0) for _ in range(4))


# --- gates -------------------------------------------------------------------------------------


def test_nothing_is_polled_while_rabbitmq_is_away(bench, make, ready):
    ready.clear()
    poller = make()
    assert poller.poll_once() == 0.0
    assert polled(bench) == []
    assert poller.state == "RabbitMQ is away or blocked"


def test_nothing_is_polled_while_the_journal_cannot_be_written(bench, make):
    bench.journal.writable.clear()
    poller = make()
    poller.poll_once()
    assert polled(bench) == []
    assert poller.state == "the journal cannot be written"
    bench.journal.writable.set()
    poller.poll_once()
    assert polled(bench) == ["poll"]


def test_nothing_is_polled_beyond_the_window(bench, make):
    for number in range(4):
        bench.hold(f"token-{number}")
    poller = make()
    poller.poll_once()
    assert polled(bench) == []
    assert poller.state == "every slot is taken"


def test_a_gate_that_closed_while_a_slot_was_waited_for_gives_the_slot_back(
    bench, make, ready, monkeypatch
):
    acquire = bench.window.acquire

    def acquire_and_close(label, timeout):
        ready.clear()
        return acquire(label, timeout)

    monkeypatch.setattr(bench.window, "acquire", acquire_and_close)
    make().poll_once()
    assert polled(bench) == []
    monkeypatch.setattr(bench.window, "acquire", acquire)
    assert all(bench.window.acquire(LABEL, 0) for _ in range(4))


# --- the thread --------------------------------------------------------------------------------


def test_a_stop_lets_the_open_poll_end_and_hands_its_task_over(bench, make):
    with LocalSwf(hold=30.0) as service, aws(service.endpoint):
        swf = Swf(identity="unit", pollers=1, responders=1, read_timeout=70.0)
        poller = make(swf=swf)
        thread = threading.Thread(target=poller.run)
        thread.start()
        until(lambda: service.counts()["polls"] == 1)
        assert poller.state == "polling"
        poller.stop()
        poller.stop()
        service.submit(domain=LABEL[0], task_list=LABEL[1])
        thread.join(10)
        assert not thread.is_alive()
        assert len(bench.handed) == 1
        assert service.counts()["calls"]["PollForActivityTask"] == {"task": 1}
    assert poller.state == "stopped"


def test_a_stop_ends_a_back_off_at_once(bench, make):
    bench.swf.will("poll", *[Refused("AccessDenied")] * 1000)
    poller = make()
    poller._seldom.next = lambda: 60.0
    thread = threading.Thread(target=poller.run)
    thread.start()
    until(lambda: polled(bench))
    poller.stop()
    thread.join(5)
    assert not thread.is_alive()
