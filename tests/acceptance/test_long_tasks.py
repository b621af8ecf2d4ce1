"""Contract §3, heartbeats and cancellation: what a worker with a long task may rely on."""

import time
from pathlib import Path
from typing import Any

import pytest

from bridge.local import LocalSwf
from bridge.local.rabbitmq import RabbitNode
from tests.acceptance.harness import Bridge, Site, Start, notice_queue
from tests.brokers import Vhost
from tests.worker import DEAD, Taken, Worker

HEARTBEAT = "RecordActivityTaskHeartbeat"


def beat(worker: Worker, task: Taken, number: int, reply_to: str | None = None) -> None:
    body = {"taskToken": task.json["taskToken"], "status": "heartbeat", "details": str(number)}
    worker.send(body, reply_to=reply_to, correlation_id=f"beat-{number}")


def answer(worker: Worker, task: Taken, number: int, queue: str = "answers") -> Any:
    """Beat once, and what comes back."""
    answers = worker.queue(queue, bind=None)
    beat(worker, task, number, answers)
    taken = worker.take(answers)
    assert taken.properties.correlation_id == f"beat-{number}"
    assert taken.json["taskToken"] == task.json["taskToken"]
    return taken.json


def notices(worker: Worker) -> str:
    """A queue for the notices of cancellations, bound before there is any."""
    assert worker.until(lambda: worker.exists("swf.replies"))
    return worker.queue("notices", bind="#", exchange="swf.cancellations")


def test_a_worker_beats_six_times_hears_the_cancel_and_confirms(site: Site) -> None:
    worker = site.worker
    told = notices(worker)
    task_id, task = site.hand_out(heartbeat=5)
    heard = []
    for number in range(6):
        if number == 4:
            site.swf.cancel(task_id)
        heard.append(answer(worker, task, number)["cancelRequested"])
    assert heard == [False] * 4 + [True] * 2
    notice = worker.take(told)
    assert notice.json == {"taskToken": task.json["taskToken"], "cancelRequested": True}
    worker.reply(task, "canceled", details="cleaned up")
    ledger = site.closed(task_id)
    assert (ledger["state"], ledger["details"]) == ("canceled", "cleaned up")
    assert ledger["heartbeatDetails"] == [str(number) for number in range(6)]
    assert ledger["startedAt"] < ledger["cancelRequestedAt"] <= ledger["cancelToldAt"]
    assert worker.take_now(told) is None


def test_heartbeats_that_come_fast_are_merged_and_each_is_answered(site: Site) -> None:
    worker = site.worker
    answers = worker.queue("answers", bind=None)
    task_id, task = site.hand_out()
    for number in range(40):
        beat(worker, task, number, answers)
    taken = worker.take_many(40, answers)
    assert sorted(each.properties.correlation_id for each in taken) == sorted(
        f"beat-{number}" for number in range(40)
    )
    assert all(each.json["open"] for each in taken)
    worker.complete(task)
    details = site.closed(task_id)["heartbeatDetails"]
    assert len(details) <= 4
    assert details[-1] == "39"


def test_the_last_details_win_where_swf_could_not_take_the_first(site: Site) -> None:
    worker = site.worker
    answers = worker.queue("answers", bind=None)
    task_id, task = site.hand_out()
    site.swf.faults.add("throttled", operation=HEARTBEAT, count=1)
    beat(worker, task, 1, answers)
    site.bridge.wait("reply.later")
    beat(worker, task, 2, answers)
    worker.take_many(2, answers)
    worker.complete(task)
    details = site.closed(task_id)["heartbeatDetails"]
    assert set(details) == {"2"}, "the older details came after the newer"


@pytest.mark.parametrize("kind", ["slow", "throttled"])
def test_heartbeats_that_swf_does_not_take_delay_no_result(
    swf: LocalSwf, worker: Worker, start: Start, kind: str
) -> None:
    worker.queue()
    start(max_in_flight=400, pollers=4, log_level="INFO")
    ids = swf.submit_many([{"count": 300}])
    *long, short = worker.take_many(300)
    fault = swf.faults.add(kind, operation=HEARTBEAT, delay=6.0 if kind == "slow" else 0.0)
    answers = worker.queue("answers", bind=None)
    for number, task in enumerate(long):
        beat(worker, task, number, answers)
    began = time.monotonic()
    worker.complete(short)
    by_message = {task["messageId"]: task["id"] for task in swf.tasks()}
    assert swf.wait_closed(by_message[short.properties.message_id], 5)
    assert time.monotonic() - began < 5, "it waited for heartbeats"
    swf.faults.remove(fault)
    heard = {each.properties.correlation_id for each in worker.take_many(299, answers, 30)}
    assert heard == {f"beat-{number}" for number in range(299)}
    assert sum(len(task["heartbeats"]) for task in swf.tasks()) >= 299
    assert len(ids) == 300


def test_beats_that_later_ones_overtake_do_not_pile_up_while_swf_takes_none(site: Site) -> None:
    worker = site.worker
    task_id, task = site.hand_out()
    fault = site.swf.faults.add("throttled", operation=HEARTBEAT)
    beat(worker, task, 0)
    site.bridge.wait("heartbeats.failing")
    for number in range(1, 600):
        beat(worker, task, number)
    began = time.monotonic()
    other_id, other = site.hand_out()
    worker.complete(other)
    site.closed(other_id)
    assert time.monotonic() - began < 5
    site.swf.faults.remove(fault)
    worker.until(lambda: bool(site.swf.task(task_id)["heartbeats"]), 90)
    worker.complete(task)
    details = site.closed(task_id)["heartbeatDetails"]
    assert set(details) == {"599"}


def test_a_task_that_swf_timed_out_is_answered_as_not_open_and_its_slot_is_free_at_once(
    site: Site,
) -> None:
    task_id, task = site.hand_out(start_to_close=1)
    assert site.swf.wait_closed(task_id, 5)
    assert answer(site.worker, task, 1) == {
        "taskToken": task.json["taskToken"],
        "open": False,
        "cancelRequested": False,
    }
    site.bridge.wait("slot.released", task=task.properties.message_id, reason="closed in SWF")


def test_a_heartbeat_that_swf_refuses_for_good_fails_the_task_and_is_parked(site: Site) -> None:
    task_id, task = site.hand_out()
    code = "ValidationException"
    site.swf.faults.add("error", operation=HEARTBEAT, code=code, message="1 error", status=400)
    beat(site.worker, task, 1)
    ledger = site.closed(task_id)
    assert ledger["state"] == "failed"
    assert "refused by SWF" in ledger["reason"]
    parked = site.worker.take(DEAD)
    assert parked.headers["swf-bridge-error"] == "refused-by-swf"
    assert parked.json["status"] == "heartbeat"


# --- a cancel is told once -----------------------------------------------------------------------


def test_a_cancel_is_told_once_over_a_kill_of_the_daemon(site: Site) -> None:
    worker = site.worker
    told = notices(worker)
    task_id, task = site.hand_out()
    site.swf.cancel(task_id)
    assert answer(worker, task, 1)["cancelRequested"]
    worker.take(told)
    site.bridge.wait("cancel.told", task=task.properties.message_id)  # else it is owed
    site.bridge.kill()
    site.bridge.start()
    while (again := worker.take_now()) is not None:  # if the journal did not know of the confirm
        assert again.properties.message_id == task.properties.message_id
    for number in (2, 3):  # beat 1 may be delivered and answered again, if its ack was lost
        assert answer(worker, task, number, "answers after the kill")["cancelRequested"]
    worker.reply(task, "canceled")
    assert site.closed(task_id)["state"] == "canceled"
    assert worker.take_now(told) is None


def test_a_cancel_that_was_heard_but_not_told_before_a_kill_is_told_after_it(
    swf: LocalSwf, start: Start, vhost: Vhost, worker: Worker, broker_node: RabbitNode
) -> None:
    worker.queue()
    told = None
    bridge = start(keepalive=1)
    told = notices(worker)
    task_id = swf.submit()
    bridge.wait("task.published")
    worker.close()
    broker_node.stop_app()
    try:
        bridge.wait("broker.lost", connection="publisher")
        swf.cancel(task_id)
        bridge.wait("task.cancel_requested")
        bridge.kill()
    finally:
        broker_node.start_app()
    bridge.start()
    worker = Worker(vhost.url)
    token = worker.take().json["taskToken"]
    assert worker.take(told).json["taskToken"] == token
    worker.reply(token, "canceled")
    assert swf.wait_closed(task_id, 10)
    assert worker.take_now(told) is None
    worker.close()


def test_a_holder_that_was_down_when_another_heard_of_the_cancel_tells_it_when_it_is_back(
    swf: LocalSwf, worker: Worker, start: Start, tmp_path: Path
) -> None:
    def one(name: str) -> Bridge:
        return start(journal=tmp_path / f"{name}.db", task_lists=name)

    worker.queue()
    holder, other = one("left"), one("right")
    told = notices(worker)
    task_id = swf.submit(task_list="left")
    task = worker.take()
    holder.kill()
    swf.cancel(task_id)
    for number in range(3):
        assert answer(worker, task, number)["cancelRequested"]
    assert worker.take_now(told) is None
    holder.start()
    assert worker.take(told).json["taskToken"] == task.json["taskToken"]
    assert answer(worker, task, 4)["cancelRequested"]
    worker.reply(task, "canceled")
    assert swf.wait_closed(task_id, 10)
    assert worker.take_now(told) is None
    assert not other.events("task.cancel_requested")


def test_no_answer_goes_to_the_notice_queue_of_any_instance(site: Site, vhost: Vhost) -> None:
    task_id, task = site.hand_out()
    for number, queue in enumerate((notice_queue(vhost), "swf.bridge.another")):
        beat(site.worker, task, number, queue)
        site.bridge.wait("heartbeat.not_answered", queue=queue)
    site.worker.complete(task)
    ledger = site.closed(task_id)
    assert ledger["heartbeatDetails"] == ["0", "1"]
