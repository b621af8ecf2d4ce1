"""`KEEPALIVE`: the bridge beats for a task that waits in a queue, until its worker speaks."""

import json
import time
from pathlib import Path

from bridge.local import LocalSwf
from tests.acceptance.harness import Start
from tests.worker import Worker


def beats(swf: LocalSwf, task_id: str) -> int:
    return len(swf.task(task_id)["heartbeats"])


def test_a_task_whose_worker_is_away_is_kept_alive_then_cancelled_and_its_worker_is_told(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    bridge = start(keepalive=1)
    assert worker.until(lambda: worker.exists("swf.replies"))
    told = worker.queue("notices", bind="#", exchange="swf.cancellations")
    task_id = swf.submit(heartbeat=3)
    assert worker.until(lambda: beats(swf, task_id) >= 4)
    assert swf.task(task_id)["state"] == "started"
    swf.cancel(task_id)
    asked = time.monotonic()
    bridge.wait("task.cancel_requested")
    notice = worker.take(told)
    assert time.monotonic() - asked < 4
    task = worker.take()  # only now is the worker back
    assert notice.json == {"taskToken": task.json["taskToken"], "cancelRequested": True}
    assert notice.properties.correlation_id == task.properties.message_id
    answers = worker.queue("answers", bind=None)
    worker.send({"taskToken": task.json["taskToken"], "status": "heartbeat"}, reply_to=answers)
    assert worker.take(answers).json["cancelRequested"]
    worker.reply(task, "canceled")
    assert swf.wait_closed(task_id, 10)
    assert swf.task(task_id)["state"] == "canceled"
    assert worker.take_now(told) is None


def test_only_the_lists_that_ask_for_it_are_kept_alive_and_the_first_word_ends_it(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    lists = [{"name": "kept", "keepalive": 1}, {"name": "plain"}]
    start(task_lists=json.dumps(lists))
    kept = swf.submit(task_list="kept", heartbeat=2.5)
    plain = swf.submit(task_list="plain", heartbeat=2.5)
    assert swf.wait_closed(plain, 10)
    assert swf.task(plain)["timeoutType"] == "HEARTBEAT"
    assert beats(swf, plain) == 0
    assert swf.task(kept)["state"] == "started"
    assert beats(swf, kept) >= 2
    tasks = {task.json["taskList"]: task for task in worker.take_many(2)}
    worker.reply(tasks["kept"], "heartbeat", details="the first word")
    assert swf.wait_closed(kept, 10), "a dead worker is hidden"
    ledger = swf.task(kept, payload=True)
    assert ledger["timeoutType"] == "HEARTBEAT"
    assert ledger["heartbeatDetails"][-1] == "the first word"


def test_a_first_word_that_another_instance_hears_ends_it_too(
    swf: LocalSwf, worker: Worker, start: Start, tmp_path: Path
) -> None:
    worker.queue()
    start(journal=tmp_path / "a.db", task_lists="kept", keepalive=1)
    other = start(journal=tmp_path / "b.db", task_lists="other")
    ids = [swf.submit(task_list="kept", heartbeat=3) for _ in range(8)]
    for task in worker.take_many(8):
        worker.reply(task, "heartbeat", details="the first word")
    assert swf.wait_closed(ids, 12), "those are kept alive of which the other instance heard"
    assert {swf.task(each)["timeoutType"] for each in ids} == {"HEARTBEAT"}
    assert {beats(swf, each) for each in ids} <= {1, 2}
    assert other.settings["SWF_BRIDGE_TASK_LISTS"] == "other"


def test_it_goes_on_over_a_kill_and_ends_at_its_limit(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    bridge = start(keepalive=1, keepalive_limit=6)
    task_id = swf.submit(heartbeat=4)
    assert worker.until(lambda: beats(swf, task_id) == 1)
    bridge.kill()
    bridge.start()
    assert worker.until(lambda: beats(swf, task_id) >= 3)
    bridge.wait("keepalive.ended", task=swf.task(task_id)["messageId"])
    assert swf.wait_closed(task_id, 10)
    ledger = swf.task(task_id)
    assert ledger["timeoutType"] == "HEARTBEAT"
    assert ledger["heartbeats"][-1] - ledger["startedAt"] < 6.5
    assert ledger["closedAt"] - ledger["heartbeats"][-1] > 3.9


def test_a_timeout_learnt_this_way_frees_the_slot_at_once(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    bridge = start(keepalive=1, max_in_flight=10)
    task_id = swf.submit(start_to_close=1.5)
    assert swf.wait_closed(task_id, 10)
    bridge.wait("slot.released", 5, reason="closed in SWF", task=swf.task(task_id)["messageId"])
