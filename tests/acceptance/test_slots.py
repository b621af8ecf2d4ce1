"""Contract §1.5: no task is taken that could not be handed on, over restarts too."""

from bridge.local import LocalSwf
from tests.acceptance.harness import Start
from tests.brokers import Vhost
from tests.worker import Worker


def test_a_window_of_50_lets_no_51st_task_out_over_a_kill_and_a_restart(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    bridge = start(max_in_flight=50, pollers=8)
    ids = swf.submit_many([{"count": 120}])
    tasks = worker.take_many(50)
    for task in tasks[:10]:
        worker.complete(task)
    tasks = [*tasks[10:], *worker.take_many(10)]
    bridge.kill()
    bridge.start()
    known = {task.properties.message_id for task in tasks}
    for task in tasks[:20]:
        worker.complete(task)
    new = 0
    while new < 20:  # what was not marked as published before the kill comes once more
        task = worker.take()
        new += task.properties.message_id not in known
        known.add(task.properties.message_id)
        tasks.append(task)
    assert swf.counts()["taskLists"]["demo/demo"]["mostAtOnce"] == 50
    assert swf.counts()["started"] == 50
    for task in tasks[20:]:
        worker.complete(task)
    while not swf.wait_closed(ids, 0.2):
        for task in worker.take_all():
            worker.complete(task)
    assert swf.counts()["taskLists"]["demo/demo"]["mostAtOnce"] == 50
    assert len(swf.tasks(state="completed")) == 120


def test_the_slot_of_a_task_that_timed_out_in_swf_comes_free(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    bridge = start(max_in_flight=1)
    forgotten = swf.submit(start_to_close=1)
    worker.take()
    next_one = swf.submit()
    assert swf.wait_closed(forgotten, 5)
    worker.complete(worker.take(seconds=15))
    assert swf.wait_closed(next_one, 5)
    bridge.wait("slot.released")


def test_the_task_of_a_worker_that_dies_goes_to_another_and_the_bridge_need_not_know(
    swf: LocalSwf, vhost: Vhost, worker: Worker, start: Start
) -> None:
    worker.queue()
    bridge = start()
    task_id = swf.submit()
    assert worker.until(lambda: worker.ready("work") == 1)
    mortal = Worker(vhost.url)
    method, properties, _ = mortal.channel.basic_get("work")
    mortal.close()  # without a word about the task
    again = worker.take()
    assert method is not None
    assert again.redelivered
    assert again.properties.message_id == properties.message_id
    worker.complete(again)
    assert swf.wait_closed(task_id, 5)
    assert len(bridge.events("task.published")) == 1
