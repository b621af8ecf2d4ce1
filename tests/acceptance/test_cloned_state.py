"""A state directory that was copied to a second machine: two instances with one id."""

import shutil
from pathlib import Path

from bridge.local import LocalSwf
from tests.acceptance.harness import Bridge, Start
from tests.brokers import Vhost
from tests.worker import Worker


def test_the_second_takes_an_id_of_its_own_and_both_hear_of_their_tasks(
    swf: LocalSwf, vhost: Vhost, worker: Worker, start: Start, tmp_path: Path
) -> None:
    for each in ("first", "second"):
        (tmp_path / each).mkdir()
    given = {"max_in_flight": 2, "pollers": 1}
    first = start(journal=tmp_path / "first" / "journal.db", **given)
    waiting = swf.submit()
    first.wait("task.polled")  # no queue is bound: it stands in the journal
    assert first.stop() == 0
    shutil.copy(tmp_path / "first" / "journal.db", tmp_path / "second" / "journal.db")
    first.start()
    first.wait("broker.connected", connection="notices")
    worker.queue()
    second = start(journal=tmp_path / "second" / "journal.db", **given)
    second.wait("instance.cloned", 60, level="critical")
    second.wait("broker.connected", 60, connection="notices")
    assert instance(first) != instance(second)
    for taken in worker.take_many(2):  # the copied one is published by both
        worker.complete(taken)
    assert swf.wait_closed(waiting, 10)
    for _ in range(10):
        task_id, taken = swf.submit(), worker.take()
        worker.complete(taken)
        assert swf.wait_closed(task_id, 10)
    assert worker.until(lambda: in_flight(first) == in_flight(second) == 0)
    was = instance(second)
    assert second.stop() == 0
    second.start()
    second.wait("broker.connected", connection="notices")
    assert instance(second) == was
    assert len(second.events("instance.cloned")) == 1
    assert not first.events("instance.cloned")
    assert first.stop() == second.stop() == 0


def test_a_connection_of_its_own_that_broker_still_knows_is_waited_for(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    bridge = start()
    bridge.wait("broker.connected", connection="notices")
    before = instance(bridge)
    bridge.kill()
    bridge.start()
    bridge.wait("broker.connected", connection="notices")
    assert instance(bridge) == before
    assert bridge.stop() == 0


def instance(bridge: Bridge) -> str:
    found: str = bridge.status["instance"]
    return found


def in_flight(bridge: Bridge) -> int:
    return sum(int(each["inFlight"]) for each in bridge.status["lists"])
