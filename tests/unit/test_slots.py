import threading
import time

import pytest

from bridge.journal.slots import Slots
from tests.unit.bridge_parts import TASK_LIST_ID, until, waits

OTHER = ("demo", "other")
GONE = ("demo", "polled no more")


@pytest.fixture
def window():
    return Slots({TASK_LIST_ID: 2, OTHER: 1})


def take(window, task_list_id=TASK_LIST_ID):
    return window.acquire(task_list_id, 0)


def test_polls_and_tasks_together_never_take_more_than_the_limit(window):
    assert take(window)
    window.fill(TASK_LIST_ID, "a")
    assert take(window)
    assert not take(window)
    window.fill(TASK_LIST_ID, "b")
    assert not take(window)
    assert window.in_flight(TASK_LIST_ID) == 2


def test_a_slot_comes_back_from_an_empty_poll_and_from_a_settled_task(window):
    assert take(window, OTHER)
    window.give_back(OTHER)
    assert take(window, OTHER)
    window.fill(OTHER, "a")
    assert window.release("a")
    assert take(window, OTHER)


def test_a_slot_is_given_back_once_and_never_for_an_unknown_task(window):
    assert take(window, OTHER)
    window.fill(OTHER, "a")
    assert window.release("a")
    assert not window.release("a")
    assert not window.release("unknown")
    assert take(window, OTHER)
    assert not take(window, OTHER)


def test_the_same_task_given_twice_holds_one_slot(window):
    assert take(window)
    window.fill(TASK_LIST_ID, "a")
    assert take(window)
    window.fill(TASK_LIST_ID, "a")
    window.hold(TASK_LIST_ID, "a")
    assert window.in_flight(TASK_LIST_ID) == 1
    assert take(window)
    assert not take(window)


def test_a_list_does_not_take_the_slots_of_another(window):
    assert take(window, OTHER)
    assert not take(window, OTHER)
    assert take(window)


def test_tasks_over_a_restart_hold_slots_beyond_the_limit_too(window):
    for task_id in "abc":
        window.hold(TASK_LIST_ID, task_id)
    assert window.full(TASK_LIST_ID)
    assert not take(window)
    window.release("a")
    assert not take(window)
    window.release("b")
    assert take(window)


def test_a_task_of_a_list_that_is_polled_no_more_takes_no_slot_of_another(window):
    window.hold(GONE, "a")
    assert window.in_flight(GONE) == 1
    assert take(window)
    assert window.release("a")
    assert window.in_flight(GONE) == 0


def test_a_window_is_full_by_its_tasks_and_not_by_its_polls(window):
    assert take(window, OTHER)
    assert not window.full(OTHER)
    window.fill(OTHER, "a")
    assert window.full(OTHER)
    assert window.limit(OTHER) == 1


@pytest.mark.parametrize("how", ["release", "give_back", "duplicate fill"])
def test_who_waits_for_a_slot_is_woken_by_one_that_comes_free(window, how):
    assert take(window)
    window.fill(TASK_LIST_ID, "a")
    assert take(window)
    got = []
    waiter = threading.Thread(target=lambda: got.append(window.acquire(TASK_LIST_ID, 30)))
    waiter.start()
    until(lambda: waits(waiter))
    {
        "release": lambda: window.release("a"),
        "give_back": lambda: window.give_back(TASK_LIST_ID),
        "duplicate fill": lambda: window.fill(TASK_LIST_ID, "a"),
    }[how]()
    waiter.join(10)
    assert got == [True]


def test_a_slot_is_waited_for_no_longer_than_asked(window):
    assert take(window, OTHER)
    started = time.monotonic()
    assert not window.acquire(OTHER, 0.05)
    assert 0.05 <= time.monotonic() - started < 5


def test_a_closed_window_wakes_all_who_wait_and_gives_no_slot(window):
    assert take(window, OTHER)
    got = []
    waiters = [
        threading.Thread(target=lambda: got.append(window.acquire(OTHER, 30))) for _ in range(3)
    ]
    for waiter in waiters:
        waiter.start()
    until(lambda: all(map(waits, waiters)))
    window.close()
    for waiter in waiters:
        waiter.join(10)
    assert got == [False] * 3
    assert not take(window)


def test_many_threads_never_have_more_out_than_the_limit_and_leak_nothing():
    window = Slots({TASK_LIST_ID: 5})
    out, most, lock = 0, 0, threading.Lock()

    def live(name):
        nonlocal out, most
        for number in range(200):
            assert window.acquire(TASK_LIST_ID, 30)
            with lock:
                out += 1
                most = max(most, out)
            task_id = f"{name}-{number}"
            if number % 3:
                window.fill(TASK_LIST_ID, task_id)
            with lock:
                out -= 1
            if number % 3:
                assert window.release(task_id)
            else:
                window.give_back(TASK_LIST_ID)

    threads = [threading.Thread(target=live, args=(name,)) for name in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most <= 5
    assert window.in_flight(TASK_LIST_ID) == 0
    assert [take(window) for _ in range(6)] == [True] * 5 + [False]
