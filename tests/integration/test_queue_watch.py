"""What demand sees of real queues; a queue that does not answer closes its own demand alone."""

import pytest

from bridge.rabbitmq import queue_watch, setup
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.demand import Demand, DemandState
from bridge.rabbitmq.queue_watch import QueueWatch
from bridge.rabbitmq.setup import Step
from tests.brokers import Vhost
from tests.integration.running import Running, await_that
from tests.worker import Worker


def looking(url: str, *queues: str) -> QueueWatch:
    demands = [Demand(queue, 5) for queue in queues]
    return QueueWatch([url], Tls(), demands, declare=False, interval=0.1)


def test_a_queue_that_does_not_answer_stops_no_other(
    vhost: Vhost, running: Running, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "STEP_TIMEOUT", 0.5)
    look_at = queue_watch.look_at

    def look(channel: object, queue: str) -> Step:
        return Step("hang", lambda done: None) if queue == "stuck" else look_at(channel, queue)

    monkeypatch.setattr(queue_watch, "look_at", look)
    for queue in ("stuck", "fine"):
        worker.queue(queue)
    worker.channel.basic_consume("fine", lambda *given: None)
    part = looking(vhost.url, "stuck", "fine")
    running.start(part)
    stuck, fine = part.demands
    await_that(lambda: stuck.state is DemandState.SILENT)
    assert fine.wait(5)
    assert not stuck.wait(0)
    assert part.reconnects == 0


def test_a_queue_that_is_deleted_and_declared_again_is_seen_again(
    vhost: Vhost, running: Running, worker: Worker
) -> None:
    worker.queue()
    worker.channel.basic_consume("work", lambda *given: None)
    part = looking(vhost.url, "work")
    running.start(part)
    (demand,) = part.demands
    assert demand.wait(5)
    worker.channel.queue_delete("work")
    await_that(lambda: demand.state is DemandState.REFUSED)
    assert "NOT_FOUND" in demand.why
    assert not demand.wait(0)
    worker.queue()
    await_that(lambda: demand.state is DemandState.NO_CONSUMER)
    assert demand.why == "queue work has no consumer"
    worker.channel.basic_consume("work", lambda *given: None)
    assert demand.wait(5)
    assert part.reconnects == 0
