"""What operators and systems send by habit, while polls are open that SWF is about to answer."""

import os
import signal
from collections.abc import Iterator

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import Bridge, Start
from tests.processes import until
from tests.worker import Worker

LEFT_ALONE = {
    *(signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP),
    *(signal.SIGTERM, signal.SIGINT, signal.SIGXCPU),
    *(signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV),
    *(signal.SIGSYS, signal.SIGTRAP),
}
"""What ends or stops every process, what drains, and what tells of a fault in the process."""
HABITS = sorted(signal.valid_signals() - LEFT_ALONE)


@pytest.fixture
def swf() -> Iterator[LocalSwf]:
    """An SWF that holds polls for long enough that all of a test happens within them."""
    with LocalSwf(hold=20) as swf:
        yield swf


@pytest.fixture
def bridge(swf: LocalSwf, worker: Worker, start: Start) -> Bridge:
    worker.queue()
    bridge = start(pollers=4, drain_timeout=20)
    assert until(lambda: swf.counts()["polls"] == 4)
    return bridge


def hand_out_four(swf: LocalSwf, worker: Worker) -> None:
    """The four open polls get a task each, and each comes through to SWF again."""
    ids = swf.submit_many([{"name": "echo", "version": "1.0", "count": 4}])
    for taken in worker.take_many(4):
        worker.complete(taken)
    assert all(swf.wait_closed(each, 10) for each in ids)


def test_no_signal_of_habit_cuts_a_poll_or_loses_a_task(
    swf: LocalSwf, worker: Worker, bridge: Bridge
) -> None:
    for number in HABITS:
        os.kill(bridge.pid, number)
    bridge.wait("signal.ignored", signal="SIGHUP")
    bridge.wait("signal.ignored", signal="SIGRTMAX")
    hand_out_four(swf, worker)
    assert swf.counts()["polls"] == 4


def test_a_drain_goes_on_whatever_habit_sends(
    swf: LocalSwf, worker: Worker, bridge: Bridge
) -> None:
    bridge.signal(signal.SIGTERM)
    bridge.wait("daemon.draining")
    for number in HABITS:
        os.kill(bridge.pid, number)
    bridge.wait("signal.ignored", signal="SIGHUP")
    swf.submit_many([{"name": "echo", "version": "1.0", "count": 4}])
    assert len(worker.take_many(4)) == 4
    assert bridge.leave() == 0
    assert not bridge.events("daemon.left")


def test_a_limit_of_cpu_time_drains_and_is_not_taken_for_a_second_signal(
    swf: LocalSwf, worker: Worker, bridge: Bridge
) -> None:
    bridge.signal(signal.SIGXCPU)
    bridge.wait("daemon.draining")
    bridge.signal(signal.SIGXCPU)
    swf.submit_many([{"name": "echo", "version": "1.0", "count": 4}])
    assert len(worker.take_many(4)) == 4
    assert bridge.leave() == 0
    assert not bridge.events("daemon.left")


def test_sigquit_tells_where_every_thread_is(bridge: Bridge) -> None:
    bridge.signal(signal.SIGQUIT)
    told = bridge.wait("thread.stack", of="MainThread")
    assert "daemon.py" in told["at"]
    assert "rabbitmq/connection.py" in bridge.wait("thread.stack", of="publisher")["at"]
    assert bridge.events("thread.stack", of="timer")
