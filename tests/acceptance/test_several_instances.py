"""Contract §4: instances that share their reply queue tell each other what concerns the other."""

import json
from pathlib import Path

from bridge.local import LocalSwf
from tests.acceptance.harness import Bridge, Start
from tests.worker import Worker


def two(start: Start, folder: Path, window: int) -> tuple[Bridge, Bridge]:
    """One that polls the list `left`, and one that polls the list `right`."""

    def one(name: str) -> Bridge:
        lists = json.dumps([{"name": name, "max_in_flight": window}])
        return start(journal=folder / f"{name}.db", task_lists=lists)

    return one("left"), one("right")


def test_a_reply_that_lands_at_the_other_instance_frees_the_holders_slot(
    swf: LocalSwf, worker: Worker, start: Start, tmp_path: Path
) -> None:
    worker.queue()
    left, right = two(start, tmp_path, window=10)
    ids = swf.submit_many([{"taskList": "left", "count": 40}])
    for _ in range(4):
        for task in worker.take_many(10):
            worker.complete(task)
    assert swf.wait_closed(ids, 10)
    assert right.events("reply.settled"), "RabbitMQ gave the other instance none"
    left.wait("slot.released", reason="settled by another instance")
    assert swf.counts()["taskLists"]["demo/left"]["mostAtOnce"] == 10


def test_the_holders_slot_comes_free_where_it_was_down_when_the_reply_came(
    swf: LocalSwf, worker: Worker, start: Start, tmp_path: Path
) -> None:
    worker.queue()
    left, right = two(start, tmp_path, window=1)
    first = swf.submit(task_list="left")
    task = worker.take()
    left.kill()
    worker.complete(task)
    assert swf.wait_closed(first, 10)
    right.wait("reply.settled")
    second = swf.submit(task_list="left")
    left.start()
    left.wait("slot.released", reason="settled by another instance")
    known = swf.task(first)["messageId"]
    while (task := worker.take()).properties.message_id == known:
        pass  # published again: the kill came before the journal knew
    worker.complete(task)
    assert swf.wait_closed(second, 10)


def test_a_request_to_cancel_that_the_other_instance_hears_of_is_told_once(
    swf: LocalSwf, worker: Worker, start: Start, tmp_path: Path
) -> None:
    worker.queue()
    two(start, tmp_path, window=10)
    assert worker.until(lambda: worker.exists("swf.undeliverable"))
    notices = worker.queue("notices", bind="#", exchange="swf.cancellations")
    task_id = swf.submit(task_list="left")
    task = worker.take()
    swf.cancel(task_id)
    answers = worker.queue("answers", bind=None)
    beat = {"taskToken": task.json["taskToken"], "status": "heartbeat"}
    for _ in range(6):
        worker.send(beat, reply_to=answers)
    assert worker.take(notices).json["taskToken"] == task.json["taskToken"]
    assert all(answer.json["cancelRequested"] for answer in worker.take_many(6, answers))
    worker.reply(task, "canceled")
    assert swf.wait_closed(task_id, 10)
    assert worker.take_now(notices) is None
