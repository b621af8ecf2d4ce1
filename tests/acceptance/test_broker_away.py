"""Contract §1: no task is taken while RabbitMQ is away or blocked, and none that was is lost."""

from collections import Counter

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from bridge.local.rabbitmq import RabbitNode
from tests.acceptance.harness import Site, Start
from tests.brokers import Vhost
from tests.worker import Worker


def polls(swf: LocalSwf) -> int:
    """Polls that SWF has answered so far."""
    return Counter(swf.counts()["calls"].get("PollForActivityTask", {})).total()


def test_no_poll_begins_while_rabbitmq_is_away_and_what_was_polled_is_published_after_a_restart(
    swf: LocalSwf, start: Start, vhost: Vhost, worker: Worker, broker_node: RabbitNode
) -> None:
    worker.queue()
    swf.options(hold=30.0)
    bridge = start()
    assert worker.until(lambda: swf.counts()["polls"] == 2)
    worker.close()
    broker_node.stop_app()
    try:
        bridge.wait("broker.lost", connection="publisher")
        polled = swf.submit_many([{"count": 2}])  # what was open may still bring a task
        bridge.wait("task.polled", count=2)
        waiting = swf.submit()
        bridge.kill()
        swf.options(hold=1.0)
        before = polls(swf)
        bridge.start()
        bridge.wait("broker.lost", connection="publisher")
        bridge.wait("broker.lost", connection="consumer")
        assert polls(swf) == before
        assert swf.task(waiting)["state"] == "scheduled"
    finally:
        broker_node.start_app()
    worker = Worker(vhost.url)
    tasks = {task.properties.message_id: task for task in worker.take_many(3, seconds=30)}
    assert set(tasks) == {swf.task(each)["messageId"] for each in (*polled, waiting)}
    for task in tasks.values():
        worker.complete(task)
    assert swf.wait_closed([*polled, waiting], 10)
    worker.close()


def test_no_poll_begins_while_rabbitmq_blocks_publishers_and_nothing_comes_twice(
    site: Site, broker_node: RabbitNode
) -> None:
    swf, bridge, worker = site.swf, site.bridge, site.worker
    broker_node.memory_alarm(True)
    try:
        waiting = swf.submit()
        bridge.wait("broker.blocked", connection="publisher")
        assert worker.until(lambda: swf.counts()["polls"] == 0)
        before = polls(swf)
        still = swf.submit()
        broker_node.ctl("status")  # half a second of RabbitMQ's own
        assert polls(swf) == before
        assert worker.take_now() is None
    finally:
        broker_node.memory_alarm(False)
    tasks = worker.take_many(2)
    for each in tasks:
        worker.complete(each)
    assert swf.wait_closed([waiting, still], 10)
    assert worker.take_now() is None


def test_a_broker_that_was_never_there_ends_nothing_and_no_poll_begins(
    swf: LocalSwf, start: Start, worker: Worker
) -> None:
    bridge = start(amqp_url=f"amqp://127.0.0.1:{free_ports(1)[0]}")
    bridge.wait("broker.lost", connection="publisher")
    bridge.wait("broker.lost", connection="consumer")
    assert polls(swf) == swf.counts()["polls"] == 0
    assert bridge.stop() == 0
    assert not bridge.events("exception.uncaught")
