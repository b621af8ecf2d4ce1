"""`SWF_BRIDGE_DEADLINES`: no worker does what SWF has given up, and nothing else is dropped."""

import time
from typing import Any

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import Site, Start
from tests.contract.sides import client_of
from tests.worker import Taken, Worker

MARGIN = 2.0


def register(swf: LocalSwf, name: str = "echo", **timeouts: str) -> None:
    """An activity type with these default time-outs."""
    client_of(swf.endpoint).register_activity_type(
        domain="demo", name=name, version="1.0",
        **{f"defaultTask{each}Timeout": value for each, value in timeouts.items()},  # type: ignore[arg-type]
    )  # fmt: skip


def calls(swf: LocalSwf, operation: str) -> int:
    return sum(swf.counts()["calls"].get(operation, {}).values())


def deadline(taken: Taken) -> float:
    return float(taken.headers["swf-deadline"]) / 1000


def site_with(
    swf: LocalSwf, worker: Worker, start: Start, *, queue: dict[str, Any] | None = None, **more: Any
) -> Site:
    worker.queue(**(queue or {}))
    return Site(swf, start(**more), worker)


def test_by_type_tasks_bear_the_time_at_which_swf_gives_them_up_for_one_call(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    register(swf, StartToClose="60", Heartbeat="NONE")
    site = site_with(swf, worker, start, deadlines="type")
    for _ in range(10):
        task_id, taken = site.hand_out()
        ends = swf.task(task_id)["startedAt"] + 60
        assert ends <= deadline(taken) <= ends + 1.5
        (listed,) = site.bridge.status["lists"]
        assert 55 < listed["timeLeft"] <= 61
        assert 60 + MARGIN - 1 < int(taken.properties.expiration) / 1000 < 60 + MARGIN + 2
        worker.complete(taken)
        site.closed(task_id)
    assert worker.until(lambda: site.bridge.status["lists"][0]["timeLeft"] is None)
    assert calls(swf, "DescribeActivityType") == 1
    assert calls(swf, "GetWorkflowExecutionHistory") == 0


def test_by_history_tasks_bear_their_own_time(swf: LocalSwf, worker: Worker, start: Start) -> None:
    register(swf, StartToClose="60")
    lists = '["other", {"name": "demo", "deadlines": "history"}]'
    site = site_with(swf, worker, start, task_lists=lists)
    for given, seconds in (
        ({"start_to_close": 300, "schedule_to_close": 20}, 20),
        ({"start_to_close": 30, "heartbeat": 10}, 10),
        ({}, 60),
    ):
        task_id, taken = site.hand_out(**given)
        since = "scheduledAt" if "schedule_to_close" in given else "startedAt"
        ends = swf.task(task_id)[since] + seconds
        assert ends - 0.001 <= deadline(taken) <= ends + 0.05
    assert calls(swf, "GetWorkflowExecutionHistory") == 3
    assert calls(swf, "DescribeActivityType") == 0
    _, taken = site.hand_out(task_list="other")
    assert "swf-deadline" not in taken.headers


@pytest.mark.parametrize("dead_lettered", [False, True])
def test_what_swf_gave_up_leaves_the_queue_and_its_slot_and_is_no_late_reply(
    swf: LocalSwf, worker: Worker, start: Start, dead_lettered: bool
) -> None:
    register(swf, StartToClose="2")
    queue = {"dead_letter_exchange": "swf.undeliverable"} if dead_lettered else {}
    site = site_with(swf, worker, start, queue=queue, deadlines="type")
    first = swf.submit()
    assert worker.until(lambda: swf.task(first)["startedAt"])
    site.bridge.wait("task.expired", task=swf.task(first)["messageId"])
    assert swf.task(first)["state"] == "timed-out"
    assert worker.until(lambda: worker.ready("work") == 0)
    (listed,) = site.bridge.status["lists"]
    assert (listed["inFlight"], listed["tasks"]) == (0, 0)
    assert site.bridge.events("reply.late") == site.bridge.events("task.undeliverable") == []
    assert calls(swf, "RespondActivityTaskFailed") == 0
    if dead_lettered:
        site.bridge.wait("task.dropped", task=swf.task(first)["messageId"])
        assert site.bridge.status["replies"]["outcomes"]["expired"] == 1


@pytest.mark.parametrize("dead_lettered", [False, True])
def test_a_task_with_a_longer_time_than_its_type_comes_again_and_the_type_is_trusted_no_more(
    swf: LocalSwf, worker: Worker, start: Start, dead_lettered: bool
) -> None:
    register(swf, StartToClose="1")
    queue = {"dead_letter_exchange": "swf.undeliverable"} if dead_lettered else {}
    site = site_with(swf, worker, start, queue=queue, deadlines="type")
    task_id = swf.submit(start_to_close=600)
    site.bridge.wait("type.overridden")
    ends = swf.task(task_id)["startedAt"] + 600
    taken = worker.take()
    if deadline(taken) < ends - 60:  # RabbitMQ lets it expire as late as the bridge asks SWF of it
        taken = worker.take()
    assert ends - 0.001 <= deadline(taken) <= ends + 0.05
    worker.complete(taken)
    assert site.closed(task_id)["state"] == "completed"
    _, other = site.hand_out(start_to_close=600)
    assert "swf-deadline" not in other.headers
    site.bridge.stop()
    site.bridge.start()
    _, other = site.hand_out(start_to_close=600)
    assert "swf-deadline" not in other.headers


def test_after_a_restart_a_copy_has_what_is_left(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    register(swf, StartToClose="60")
    site = site_with(swf, worker, start, queue={"bind": None}, deadlines="type")
    task_id = swf.submit()
    site.bridge.wait("task.unroutable")
    worker.until(lambda: False, 2.0)
    site.bridge.kill()
    site.bridge.start()
    worker.channel.queue_bind("work", "swf.activities", "#")
    taken = worker.take()
    ends = swf.task(task_id)["startedAt"] + 60
    assert ends <= deadline(taken) <= ends + 1.5
    if taken.properties.expiration:  # SWF has told its time before
        assert int(taken.properties.expiration) / 1000 < 60


@pytest.mark.parametrize("mode", ["type", "history"])
def test_an_swf_that_does_not_answer_delays_no_task_by_more_than_a_second(
    swf: LocalSwf, worker: Worker, start: Start, mode: str
) -> None:
    register(swf, StartToClose="60")
    site = site_with(swf, worker, start, deadlines=mode)
    for operation in ("DescribeActivityType", "GetWorkflowExecutionHistory"):
        swf.faults.add("slow", operation=operation, delay=10.0)
    for _ in range(3):
        _, taken = site.hand_out()
        assert "swf-deadline" not in taken.headers
        polled = site.bridge.wait("task.polled", task=taken.properties.message_id)
        published = site.bridge.wait("task.published", task=taken.properties.message_id)
        assert _seconds(published) - _seconds(polled) < 1.0


def _seconds(event: dict[str, Any]) -> float:
    return time.mktime(time.strptime(event["time"][:19], "%Y-%m-%dT%H:%M:%S")) + float(
        event["time"][19:].rstrip("Z") or 0
    )


def test_by_history_the_budget_is_kept_at_ten_times_the_rate(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    register(swf, StartToClose="60")
    site_with(
        swf, worker, start, deadlines="history", deadline_calls=5, max_in_flight=1000, pollers=4,
        log_level="INFO",
    )  # fmt: skip
    begin, submitted = time.monotonic(), 0
    while (passed := time.monotonic() - begin) < 6:
        while submitted < passed * 50:
            swf.submit()
            submitted += 1
        worker.until(lambda: False, 0.02)
    # Of the whole time, for a busy machine may delay calls; each second is tests/unit's.
    used = calls(swf, "GetWorkflowExecutionHistory")
    assert used <= 5 * (time.monotonic() - begin + 1)
    assert used >= 3 * (passed - 2), "and it is used"
    assert worker.until(lambda: worker.ready("work") == submitted)
    assert calls(swf, "DescribeActivityType") == 1
    assert all("swf-deadline" in each.headers for each in worker.take_all())
