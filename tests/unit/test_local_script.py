"""Scripted cancellations, time-outs and ends of tasks of the local SWF."""

from collections.abc import Iterator

import pytest

from bridge.local import ControlError, LocalSwf
from bridge.local.swf.model import Swf
from bridge.local.swf.options import Options
from bridge.local.swf.task import Step, Task, Timeouts, steps
from bridge.local.swf.tasklist import Poll
from tests.unit.local_clock import HandClock, Present
from tests.unit.local_wire import Wire


@pytest.fixture(scope="module")
def swf() -> Iterator[LocalSwf]:
    with LocalSwf(hold=0.05) as running:
        yield running


def started(clock: HandClock, script: tuple[Step, ...]) -> Task:
    """A task that a worker has had since now."""
    model = Swf(clock, Options(any_domain=True))
    task = model.schedule(
        domain="d", task_list="l", name="a", version="1", input=None, workflow_id=None,
        activity_id=None, timeouts=Timeouts(), priority=0, script=script,
    )  # fmt: skip
    clock.pass_(100)
    assert task.state == "scheduled"
    model.poll("d", "l", Poll(None, Present(), lambda _: None))
    return task


@pytest.mark.parametrize(
    ("member", "state"), [("timeOutAfter", "timed-out"), ("terminateAfter", "terminated")]
)
def test_a_task_ends_so_long_after_a_worker_was_given_it(member: str, state: str) -> None:
    clock = HandClock()
    task = started(clock, steps({member: 5}))
    clock.pass_(4.9)
    assert task.state == "started"
    clock.pass_(0.1)
    assert task.state == state


def test_a_cancellation_is_requested_so_long_after_a_worker_was_given_the_task() -> None:
    clock = HandClock()
    task = started(clock, steps({"cancelAfter": "2.5", "timeOutAfter": 9}))
    clock.pass_(2.4)
    assert task.cancel_requested is None
    clock.pass_(0.1)
    assert task.cancel_requested is not None
    assert task.is_open
    clock.pass_(7)
    assert (task.state, task.timeout_type) == ("timed-out", "START_TO_CLOSE")


def test_what_is_scripted_for_a_task_that_is_closed_does_nothing() -> None:
    clock = HandClock()
    task = started(clock, steps({"timeOutAfter": 1, "terminateAfter": 2}))
    clock.pass_(5)
    assert task.state == "timed-out"
    assert task.execution.closed_at is None


def given(swf: LocalSwf, wire: Wire, **script: str) -> tuple[str, str]:
    """The id and the token of a task that this wire has been given."""
    task_id = swf.submit("a", **script)
    polled = wire.call("PollForActivityTask", domain="demo", taskList={"name": "demo"})
    return task_id, polled.json["taskToken"]


def test_the_heartbeat_so_scripted_is_told_of_the_cancellation(swf: LocalSwf) -> None:
    with Wire(swf.endpoint) as wire:
        task_id, token = given(swf, wire, cancel_after="beats:2")
        beats = [wire.call("RecordActivityTaskHeartbeat", taskToken=token) for _ in range(2)]
        assert [beat.json["cancelRequested"] for beat in beats] == [False, True]
        assert wire.call("RespondActivityTaskCanceled", taskToken=token).status == 200
    assert swf.task(task_id)["state"] == "canceled"


@pytest.mark.parametrize(
    ("script", "state"), [("time_out_after", "timed-out"), ("terminate_after", "terminated")]
)
def test_the_heartbeat_so_scripted_comes_too_late(swf: LocalSwf, script: str, state: str) -> None:
    with Wire(swf.endpoint) as wire:
        task_id, token = given(swf, wire, **{script: "beats:1"})
        beat = wire.call("RecordActivityTaskHeartbeat", taskToken=token)
        assert "UnknownResourceFault" in beat.error
    assert swf.task(task_id)["state"] == state


@pytest.mark.parametrize("when", [-1, "soon", "beats:", "beats:0", "beats:-1", [], 1e9, "nan"])
def test_a_script_that_cannot_be_is_refused(swf: LocalSwf, when: object) -> None:
    with pytest.raises(ControlError, match=r"cancelAfter wants seconds, or beats:N"):
        swf.submit_many([{"name": "a", "cancelAfter": when}])
