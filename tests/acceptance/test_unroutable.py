"""Contract §5: tasks that no queue takes, or that RabbitMQ refuses, wait and delay no others."""

import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import Bridge, Start
from tests.brokers import Vhost
from tests.worker import Worker


def one_goes_through(swf: LocalSwf, worker: Worker, name: str = "echo") -> float:
    """Seconds that a task took from its submission to its end."""
    began = time.monotonic()
    task_id = swf.submit(name)
    worker.complete(worker.take())
    assert swf.wait_closed(task_id, 10)
    return time.monotonic() - began


def test_a_task_without_a_queue_waits_for_one_and_delays_no_other(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue("work", bind="echo.#")
    bridge = start()
    waiting = [swf.submit("lonely") for _ in range(20)]
    bridge.wait("task.unroutable", key="lonely.1.0")
    (told,) = bridge.status["unroutable"]
    assert told["key"] == "lonely.1.0"
    assert told["tasks"] >= 1
    assert 40 < told["failsIn"] <= 60
    assert max(one_goes_through(swf, worker) for _ in range(5)) < 2
    worker.queue("late", bind="lonely.#")
    for task in worker.take_many(20, "late"):
        worker.complete(task)
    assert swf.wait_closed(waiting, 10)
    bridge.wait("task.routable", key="lonely.1.0")
    assert len(bridge.events("task.unroutable")) == 1


def test_a_task_that_finds_no_queue_in_time_is_failed_with_its_key(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue("work", bind="echo.#")
    start(unroutable_timeout=1)
    task_id = swf.submit("lonely", "7")
    assert one_goes_through(swf, worker) < 2
    assert swf.wait_closed(task_id, 10)
    task = swf.task(task_id)
    assert task["state"] == "failed"
    assert "lonely.7" in task["reason"]
    assert task["closedAt"] - task["startedAt"] >= 1


def test_a_timeout_of_0_fails_a_task_without_a_queue_at_once(swf: LocalSwf, start: Start) -> None:
    bridge = start(unroutable_timeout=0)
    task_id = swf.submit("x" * 256)
    assert swf.wait_closed(task_id, 5)
    task = swf.task(task_id, payload=True)
    assert task["state"] == "failed"
    assert "xxxx" in task["reason"]
    assert "~" in task["details"], "the whole key does not fit the reason"
    bridge.wait("task.failed_back")


def test_the_time_to_wait_for_a_queue_counts_over_a_restart(
    swf: LocalSwf, start: Start, worker: Worker
) -> None:
    bridge = start(unroutable_timeout=4)
    task_id = swf.submit("lonely")
    bridge.wait("task.unroutable")
    bridge.kill()
    started = swf.task(task_id)["startedAt"]
    assert worker.until(lambda: time.time() > started + 2)
    bridge.start()
    assert swf.wait_closed(task_id, 10)
    waited = swf.task(task_id)["closedAt"] - started
    assert 4 <= waited < 5.9
    assert "lonely.1.0" in swf.task(task_id)["reason"]


@pytest.fixture
def limited(vhost: Vhost) -> Iterator[str]:
    """The URL of a user who may publish tasks of the type `echo` only."""
    name = f"limited-{vhost.name}"
    vhost.api.add_user(name, "a password")
    vhost.api.set_permissions(name, vhost=vhost.name)
    allowed = {"exchange": "swf.activities", "write": "^echo", "read": ".*"}
    vhost.api.call("PUT", f"topic-permissions/{vhost.name}/{name}", allowed)
    scheme, _, rest = vhost.url.partition("://")
    yield f"{scheme}://{name}:{quote('a password')}@{rest.rpartition('@')[2]}"
    vhost.api.delete_user(name)


def test_a_key_that_may_not_be_published_counts_as_unroutable_and_others_go_on(
    swf: LocalSwf, worker: Worker, start: Start, limited: str
) -> None:
    worker.queue()
    bridge: Bridge = start(amqp_url=limited, unroutable_timeout=3, pollers=4)
    denied = [swf.submit("denied") for _ in range(30)]
    bridge.wait("task.unroutable", key="denied.1.0")
    took = [one_goes_through(swf, worker) for _ in range(6)]
    assert max(took) < 2, took
    assert swf.wait_closed(denied, 20)
    for task_id in denied:
        task = swf.task(task_id)
        assert task["state"] == "failed"
        assert "denied.1.0" in task["reason"]
        assert "403" in task["reason"]
    assert not list(worker.take_all())
