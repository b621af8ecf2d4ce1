"""Events of which one worker may bring thousands."""

import logging

import pytest

from bridge.telemetry import repeated
from bridge.telemetry.repeated import KINDS, MOST, SPAN, Repeated

log = logging.getLogger("bridge.test")


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def bad(clock, caplog):
    caplog.set_level(logging.INFO)
    return Repeated(log, "reply.bad", clock=clock)


def told(caplog):
    return [vars(each) for each in caplog.records if each.message == "reply.bad"]


def test_a_few_are_logged_each_with_its_fields(bad, caplog):
    for number in range(MOST):
        bad.tell((), number=number)
    assert [each["number"] for each in told(caplog)] == list(range(MOST))
    bad.flush(everything=True)
    assert len(told(caplog)) == MOST


def test_of_thousands_the_first_are_logged_and_then_their_number(bad, clock, caplog):
    for number in range(3000):
        bad.tell((), number=number)
    assert len(told(caplog)) == MOST
    clock.now += SPAN
    bad.flush()
    *_, last = told(caplog)
    assert len(told(caplog)) == MOST + 1
    assert (last["count"], last["number"], last["seconds"]) == (3000 - MOST, 2999, 60)


def test_a_new_span_begins_with_lines_again(bad, clock, caplog):
    for _ in range(100):
        bad.tell(())
    clock.now += SPAN
    bad.flush()
    caplog.clear()
    for _ in range(100):
        bad.tell(())
    assert len(told(caplog)) == MOST


def test_before_the_span_is_over_nothing_is_told_of_what_was_left_out(bad, clock, caplog):
    for _ in range(100):
        bad.tell(())
    clock.now += SPAN - 1
    bad.flush()
    assert len(told(caplog)) == MOST


def test_one_kind_takes_no_line_from_another(bad, caplog):
    for _ in range(100):
        bad.tell(("a",), worker="a")
    bad.tell(("b",), worker="b")
    assert told(caplog)[-1]["worker"] == "b"


def test_a_worker_with_a_new_name_each_time_fills_no_log_and_no_memory(bad, clock, caplog):
    for number in range(10 * KINDS):
        bad.tell((number,), number=number)
    assert len(told(caplog)) == KINDS + MOST
    clock.now += SPAN
    bad.flush()
    assert told(caplog)[-1]["count"] == 9 * KINDS - MOST


def test_what_was_left_out_is_told_at_the_end_of_the_daemon_too(bad, caplog):
    for _ in range(MOST + 2):
        bad.tell(())
    repeated.flush(everything=True)
    assert told(caplog)[-1]["count"] == 2
