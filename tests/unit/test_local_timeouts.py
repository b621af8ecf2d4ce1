"""Time-outs of the local SWF, on a clock that the test moves, and once on the real one."""

import time
from typing import Any

import pytest

from bridge.local import LocalSwf
from bridge.local.swf.errors import SwfError
from bridge.local.swf.model import Swf
from bridge.local.swf.options import Options
from bridge.local.swf.task import Task, Timeouts
from bridge.local.swf.tasklist import Poll
from tests.unit.local_clock import HandClock, Present
from tests.unit.local_wire import Wire


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def swf(clock: HandClock) -> Swf:
    return Swf(clock, Options(any_domain=True))


def schedule(swf: Swf, **seconds: float) -> Task:
    return swf.schedule(
        domain="d", task_list="l", name="a", version="1", input=None, workflow_id=None,
        activity_id=None, timeouts=Timeouts(**seconds), priority=0,
    )  # fmt: skip


def poll(swf: Swf) -> list[Task | None]:
    answers: list[Task | None] = []
    swf.poll("d", "l", Poll(None, Present(), answers.append))
    return answers


def last_event(task: Task) -> tuple[str, dict[str, Any]]:
    event = task.execution.events[-1]
    return event["eventType"], event["activityTaskTimedOutEventAttributes"]


def test_schedule_to_start_strikes_a_task_that_no_poll_took(swf: Swf, clock: HandClock) -> None:
    task = schedule(swf, schedule_to_start=10)
    clock.pass_(9.9)
    assert task.is_open
    clock.pass_(0.1)
    assert (task.state, task.timeout_type) == ("timed-out", "SCHEDULE_TO_START")
    assert last_event(task) == (
        "ActivityTaskTimedOut",
        {"timeoutType": "SCHEDULE_TO_START", "scheduledEventId": 2, "startedEventId": 0},
    )
    assert poll(swf) == []  # and no poll gets it any more
    assert swf.task_list("d", "l").scheduled == 0


def test_schedule_to_start_is_over_with_the_start(swf: Swf, clock: HandClock) -> None:
    task = schedule(swf, schedule_to_start=10)
    poll(swf)
    clock.pass_(1e6)
    assert task.is_open


def test_schedule_to_close_runs_from_the_scheduling(swf: Swf, clock: HandClock) -> None:
    task = schedule(swf, schedule_to_close=10)
    clock.pass_(6)
    poll(swf)
    clock.pass_(4)
    assert task.timeout_type == "SCHEDULE_TO_CLOSE"


def test_start_to_close_runs_from_the_start(swf: Swf, clock: HandClock) -> None:
    task = schedule(swf, start_to_close=10)
    clock.pass_(50)
    poll(swf)
    clock.pass_(9.9)
    assert task.is_open
    clock.pass_(0.2)
    assert task.timeout_type == "START_TO_CLOSE"
    with pytest.raises(SwfError, match="Unknown activity, scheduledEventId = 2"):
        swf.by_token(task.token or "", "RespondActivityTaskCompleted")


def test_the_heartbeat_clock_runs_from_the_start_and_anew_with_each_beat(
    swf: Swf, clock: HandClock
) -> None:
    task = schedule(swf, heartbeat=10)
    clock.pass_(50)
    poll(swf)
    for _ in range(3):
        clock.pass_(9)
        swf.heartbeat(task, "at work")
    clock.pass_(9.9)
    assert task.is_open
    clock.pass_(0.1)
    assert task.timeout_type == "HEARTBEAT"
    assert last_event(task)[1]["details"] == "at work"


def test_a_task_without_time_outs_waits_for_ever(swf: Swf, clock: HandClock) -> None:
    task = schedule(swf)
    poll(swf)
    clock.pass_(1e9)
    assert task.is_open
    scheduled = task.execution.events[1]["activityTaskScheduledEventAttributes"]
    assert {scheduled[k] for k in scheduled if k.endswith("Timeout")} == {"NONE"}


def test_a_closed_task_does_not_time_out(swf: Swf, clock: HandClock) -> None:
    task = schedule(swf, start_to_close=10, heartbeat=5)
    poll(swf)
    swf.complete(task, None)
    clock.pass_(100)
    assert (task.state, task.timeout_type) == ("completed", None)


def test_a_poll_is_held_for_as_long_as_the_service_holds_one(swf: Swf, clock: HandClock) -> None:
    answers = poll(swf)
    clock.pass_(59.9)
    assert answers == []
    clock.pass_(0.1)
    assert answers == [None]


def test_a_poll_that_was_answered_is_not_answered_again_when_its_hold_is_over(
    swf: Swf, clock: HandClock
) -> None:
    answers = poll(swf)
    task = schedule(swf)
    clock.pass_(100)
    assert answers == [task]


def test_time_outs_strike_promptly_on_the_real_clock() -> None:
    with LocalSwf() as swf, Wire(swf.endpoint) as wire:
        task_id = swf.submit(start_to_close=0.2)
        token = wire.token()
        began = time.monotonic()
        assert swf.wait_closed(task_id, 5.0)
        assert 0.15 < time.monotonic() - began < 0.4
        assert swf.task(task_id)["timeoutType"] == "START_TO_CLOSE"
        answer = wire.call("RespondActivityTaskCompleted", taskToken=token)
        assert answer.error == "com.amazonaws.swf.base.model#UnknownResourceFault"
        refused = swf.task(task_id)["refused"]
        assert [(r["operation"], r["fault"]) for r in refused] == [
            ("RespondActivityTaskCompleted", "UnknownResourceFault")
        ]


def test_the_defaults_of_a_registered_type_hold_where_nothing_else_is_said() -> None:
    with LocalSwf() as swf, Wire(swf.endpoint) as wire:
        wire.call(
            "RegisterActivityType",
            domain="demo",
            name="a",
            version="1",
            defaultTaskHeartbeatTimeout="30",
            defaultTaskStartToCloseTimeout="NONE",
        )
        timeouts = swf.task(swf.submit("a", "1", start_to_close=7))["timeouts"]
    assert timeouts["heartbeatTimeout"] == "30"
    assert timeouts["startToCloseTimeout"] == "7"
