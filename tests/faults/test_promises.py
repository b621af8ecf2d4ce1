"""What contract §1 promises, each as one course of events."""

import json
import signal
import time
from collections.abc import Iterator

import pytest

from bridge.local.rabbitmq import RabbitNode

from .bench import POLLERS, Bench
from .daemon import until

DONE = json.dumps({"end": "completed", "seconds": 0})


@pytest.fixture
def bench(broker_node: RabbitNode) -> Iterator[Bench]:
    """Without a load of its own."""
    with Bench(seed=3, node=broker_node, level=0, max_in_flight=100) as bench:
        until(lambda: bench.polls() == POLLERS, 30, "every poll open", bench.words)
        yield bench
        bench.mend()


def _submit(bench: Bench, count: int, name: str = "steady", **more: object) -> list[str]:
    task = {"name": name, "version": "1", "taskList": "load", "input": DONE, "count": count, **more}
    return bench.swf.submit_many([task])


def _completed(bench: Bench, ids: list[str]) -> int:
    return sum(bench.swf.task(each)["state"] == "completed" for each in ids)


def test_a_poll_brings_tasks_while_rabbitmq_is_down_and_the_daemon_is_killed(bench: Bench) -> None:
    bench.swf.options(hold=30)
    time.sleep(4)  # until the polls that are open were begun with the longer hold
    until(lambda: bench.polls() == POLLERS, 10, "every poll open", bench.words)
    bench.node.kill()
    ids = _submit(bench, POLLERS)
    until(lambda: len(bench.daemon.polled) == POLLERS, 10, "the tasks journalled", bench.words)
    bench.daemon.kill()
    bench.node.start()
    bench.swf.options(hold=3)
    until(lambda: _completed(bench, ids) == POLLERS, 60, "every task completed", bench.words)


def test_after_sigterm_what_open_polls_still_bring_is_delivered(bench: Bench) -> None:
    bench.swf.options(hold=6)
    time.sleep(4)
    until(lambda: bench.polls() == POLLERS, 10, "every poll open", bench.words)
    mark = bench.daemon.mark()
    bench.daemon.send(signal.SIGTERM)
    bench.daemon.await_event("daemon.draining", since=mark)
    ids = _submit(bench, POLLERS)
    assert bench.daemon.await_end() == 0
    until(lambda: sum(bench.received.values()) == POLLERS, 10, "the tasks at their worker")
    tasks = [bench.swf.task(each) for each in ids]
    assert [task["unheard"] for task in tasks] == [None] * POLLERS
    bench.daemon.start()
    until(lambda: _completed(bench, ids) == POLLERS, 30, "every task completed", bench.words)


def test_a_task_without_a_queue_delays_no_other_type(bench: Bench) -> None:
    lonely = _submit(bench, 50, "nobody")
    until(lambda: len(bench.daemon.polled) == 50, 20, "the tasks journalled", bench.words)
    for _ in range(10):
        began = time.monotonic()
        ids = _submit(bench, 10)
        until(lambda ids=ids: _completed(bench, ids) == 10, 5, "the other type", bench.words)
        assert time.monotonic() - began < 5
    assert _completed(bench, lonely) == 0
    with_queue = bench.workers[0]
    with_queue.key = "nobody.1"
    bench.bind(with_queue)
    until(lambda: _completed(bench, lonely) == 50, 30, "those that waited", bench.words)


def test_a_hundred_tasks_that_time_out_unanswered_do_not_stop_their_list(bench: Bench) -> None:
    bench.workers[1].idle.set()
    _submit(bench, 100, "victim", startToCloseTimeout="4")
    until(lambda: bench.started() == 100, 20, "a window full of tasks", bench.words)
    ids = _submit(bench, 20)
    until(lambda: _completed(bench, ids) == 20, 60, "those behind them", bench.words)
    assert bench.daemon.said("slot.released")  # a few are enough for those behind them
    assert bench.swf.counts()["calls"]["GetWorkflowExecutionHistory"]["ok"] <= 400


def _heard_and_open(bench: Bench) -> int:
    """Open tasks, but for those that SWF gave into an answer that it then broke."""
    return sum(not task["unheard"] for task in bench.swf.tasks(state="open"))


WAYS = ("internal", "unavailable", "throttled", "expired-token", "html", "half-body", "cut-after")


def test_with_a_fifth_of_all_calls_failing_every_task_closes(bench: Bench) -> None:
    for way in WAYS:
        bench.swf.faults.add(way, task_list="load", probability=0.2 / len(WAYS), seed=3)
    ids = _submit(bench, 400)
    calm = []
    deadline = time.monotonic() + 60
    while _heard_and_open(bench) and time.monotonic() < deadline:
        calm += bench.swf.submit_many(
            [{"name": "steady", "version": "1", "taskList": "calm", "input": DONE}]
        )
        time.sleep(0.2)
        until(lambda: not bench.swf.tasks(state="open", task_list="calm"), 10, "the calm list")
    tasks = [bench.swf.task(each, payload=True) for each in ids]
    heard = [task for task in tasks if not task["unheard"]]
    assert {task["state"] for task in heard} == {"completed"}
    assert bench.dead_letters() == []
    calls = sum(bench.swf.counts()["calls"]["RespondActivityTaskCompleted"].values())
    assert calls <= 2 * (len(ids) + len(calm))
    assert set(bench.received.values()) == {1}, "a worker had a task twice"
    assert bench.daemon.said("reply.requeued") == [], "a reply went round through its queue"
    bench.assert_answered_within(1.0, calm)
