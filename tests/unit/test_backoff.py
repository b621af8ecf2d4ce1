from random import Random

import pytest

from bridge.threads.backoff import Backoff, delay


def test_the_longest_wait_doubles_up_to_the_cap():
    assert [delay(n, first=1, cap=10) for n in range(6)] == [1, 2, 4, 8, 10, 10]


def test_a_million_attempts_stay_at_the_cap():
    assert delay(1_000_000, first=0.5, cap=30) == 30


def test_waits_are_spread_over_the_whole_range_and_never_beyond_it():
    backoff = Backoff(first=1, cap=8, random=Random(7))
    waits = [backoff.next() for _ in range(2000)]
    assert all(0 <= wait <= delay(n, 1, 8) for n, wait in enumerate(waits))
    assert min(waits) < 0.1
    assert max(waits) > 7.9
    assert sum(waits) / len(waits) == pytest.approx(4, rel=0.1)


def test_two_that_failed_together_do_not_come_back_together():
    one, other = Backoff(), Backoff()
    assert [one.next() for _ in range(5)] != [other.next() for _ in range(5)]


def test_a_success_begins_anew():
    backoff = Backoff(first=1, cap=60)
    for _ in range(10):
        backoff.next()
    assert backoff.attempts == 10
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.next() <= 1
