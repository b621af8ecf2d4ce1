"""Bad replies on their way to the dead-letter queue: how fast, and how many wait in memory."""

import pytest

from bridge.rabbitmq.consuming.delivery import Delivery, Park
from bridge.rabbitmq.consuming.parking import BURST, OVERHEAD, PACE, PACE_BYTES, PARKING, Parking

BAD = Park("not-json", "why")
MEMORY = 100 * OVERHEAD


class Clock:
    """Time that passes when the test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def parking(clock):
    return Parking("dead", lambda code: None, MEMORY, clock)


def reply(tag, size=0, headers=None):
    return Delivery(
        lambda *_: None, "replies", b"x" * size, {"headers": headers or {}}, False, 1, tag, 0.0
    )


def published_in(parking, clock, seconds):
    """How many of those that wait are published and confirmed in that time."""
    until, count = clock.now + seconds, 0
    while clock.now < until:
        while found := parking.take():
            parking.letter(*found)
            parking.under_way -= 1
            count += 1
        clock.now += BURST / 10
    return count


def fill(parking, size=0):
    count = 0
    while parking.wait(reply(count, size), BAD):
        count += 1
    return count


def test_those_that_wait_take_no_more_memory_than_they_may(parking):
    assert fill(parking) in range(95, 101)
    assert parking.in_prefetch in range(95, 101)


def test_headers_and_bodies_of_those_that_wait_count(parking):
    assert parking.wait(reply(1, MEMORY // 4), BAD)
    assert parking.wait(reply(2, headers={"a": "x" * (MEMORY // 4)}), BAD)
    assert not parking.wait(reply(3, MEMORY // 4), BAD)


def test_one_that_is_larger_than_the_memory_waits_where_it_is_alone(parking):
    assert parking.wait(reply(1, 2 * MEMORY), BAD)
    assert not parking.wait(reply(2), BAD)


def test_they_are_published_slowly_while_there_is_memory_for_others(clock):
    parking = Parking("dead", lambda code: None, 4 * 1000 * OVERHEAD, clock)
    for tag in range(1000):
        assert parking.wait(reply(tag), BAD)
    first = published_in(parking, clock, 0.1)
    assert first < (0.1 + 2 * BURST) * PACE
    assert parking.delay > 0
    assert published_in(parking, clock, 0.1) == pytest.approx(0.1 * PACE, rel=0.1)


def test_with_little_memory_left_they_are_published_as_fast_as_can_be(parking, clock):
    waiting = fill(parking)
    at_once = 0
    while found := parking.take():
        parking.letter(*found)
        parking.under_way -= 1
        at_once += 1
    assert at_once > waiting // 5


def test_a_large_one_holds_the_next_up_for_as_long_as_its_bytes_take(parking, clock):
    parking.letter(reply(1, 2 * PACE_BYTES), BAD)
    assert not parking.may_go(reply(2))
    assert parking.wait(reply(2), BAD)
    assert parking.take() is None
    assert 1.9 < parking.delay < 2.1
    clock.now += 2.1
    assert parking.delay == 0
    assert parking.take() is not None


def test_no_more_are_under_way_than_may_be(parking, clock):
    for tag in range(PARKING):
        clock.now += 1
        assert parking.may_go(reply(tag))
        parking.letter(reply(tag), BAD)
    clock.now += 1
    assert not parking.may_go(reply(0))
    assert parking.wait(reply(0), BAD)
    assert parking.take() is None


def test_what_is_set_aside_comes_again_once_none_waits_and_as_much_as_there_is_memory_for(
    parking, clock
):
    assert parking.room == 0
    parking.aside.put(7, MEMORY // 2)
    parking.wait(reply(1), BAD)
    assert parking.room == 0
    assert parking.take() is not None
    assert parking.room == 2
    parking.letter(reply(2, PACE_BYTES), BAD)
    assert parking.room == 0
    assert parking.delay > 0.9


def test_while_the_queue_takes_none_none_waits_in_memory(parking, clock):
    probe = reply(1)
    parking.letter(probe, BAD)
    parking.wait(reply(2), BAD)
    assert parking.refused(probe, "full")
    assert parking.take(all_=True) is not None
    assert not parking.wait(reply(3), BAD)
    assert not parking.may_go(reply(3))
    assert parking.may_go(probe)
    parking.aside.put(3, 0)
    assert parking.room == 0
    assert parking.delay == 0
    parking.taken(probe)
    clock.now += 1
    assert parking.room > 0
