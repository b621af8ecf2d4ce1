"""An executor takes as many jobs as it has room for, and brings to an end what it has begun."""

import threading

import pytest

from bridge.swf.runner import Call, Executor, InPlace, JobQueue, Runner
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
def held():
    return Held()


class Patient(Executor):
    """Waits so long for a job or an answer that only a wake ends it in time."""

    def turn(self, timeout=30.0):
        super().turn(timeout)


@pytest.mark.parametrize("executors", [1, 3])
def test_idle_executors_end_at_once_when_they_are_stopped(executors):
    jobs = JobQueue()
    found = [
        Patient(f"executor-{number}", jobs, ask, Runner(Held(), print))
        for number in range(executors)
    ]
    threads = [threading.Thread(target=executor.run, daemon=True) for executor in found]
    for thread in threads:
        thread.start()
    for executor in found:
        executor.stop()
        executor.stop()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


def test_an_executor_has_as_many_jobs_under_way_as_it_has_room_for(held):
    jobs, done = JobQueue(), []
    for number in range(5):
        jobs.put(number)
    executor = Executor("executor-1", jobs, ask, Runner(held, done.append), room=3)
    executor.turn(0.01)
    assert len(held.open) == 3
    held.answer()
    executor.turn(0.01)
    executor.turn(0.01)
    assert len(held.open) == 3
    assert done == [0]


def test_an_executor_without_work_moves(held):
    executor = Executor("executor-1", JobQueue(), ask, Runner(held, id))
    executor.moved = 0.0
    executor.turn(0.01)
    assert executor.moved > 0.0


def test_a_job_that_comes_while_others_are_under_way_is_begun_at_once():
    woken = threading.Event()

    class Waking(Held):
        def wake(self):
            woken.set()

    jobs = JobQueue()
    jobs.put("one")
    Executor("executor-1", jobs, ask, Runner(Waking(), id), room=2)
    assert not woken.is_set()
    jobs.put("two")
    assert woken.is_set()


def test_a_stop_takes_no_more_and_waits_for_what_is_begun(held):
    jobs, done = JobQueue(), []
    executor = Patient("executor-1", jobs, ask, Runner(held, done.append))
    thread = threading.Thread(target=executor.run)
    thread.start()
    jobs.put("begun")
    until(lambda: held.open)
    executor.stop()
    jobs.put("too late")
    held.answer()
    thread.join(10)
    assert not thread.is_alive()
    assert done == ["begun"]
    assert not jobs.empty()


def test_in_place_jobs_are_done_one_after_the_other():
    jobs, done = JobQueue(), []
    for number in range(3):
        jobs.put(number)
    runner = Runner(InPlace(lambda call: {}), done.append)
    executor = Executor("executor-1", jobs, ask, runner)
    while not jobs.empty() or runner.open:
        executor.turn()
    assert done == [0, 1, 2]
