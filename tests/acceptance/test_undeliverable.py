"""Contract §2: a task that a queue dead-letters to `swf.undeliverable` is failed in SWF."""

from collections.abc import Callable

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import Site, Start
from tests.worker import Worker


def reject(worker: Worker, *, times: int = 1, requeue: bool = False) -> None:
    for _ in range(times):
        tags: list[int] = []

        def taken(tags: list[int] = tags) -> bool:
            method, _, _ = worker.channel.basic_get("work")
            if method is not None:
                tags.append(method.delivery_tag)
            return method is not None

        assert worker.until(taken)
        worker.channel.basic_reject(tags[0], requeue=requeue)


WAYS: dict[str, tuple[dict[str, object], Callable[[Worker], object]]] = {
    "rejected": ({}, reject),
    "expired": ({"message_ttl": 200}, lambda worker: None),
    "delivery_limit": (
        {"queue_type": "quorum", "delivery_limit": 2},
        lambda worker: reject(worker, times=3, requeue=True),
    ),
}


@pytest.fixture
def site(swf: LocalSwf, worker: Worker, start: Start) -> Site:
    """A daemon, before the worker has a queue."""
    bridge = start(log_level="INFO")
    assert worker.until(lambda: worker.exists("swf.undeliverable"))
    return Site(swf, bridge, worker)


@pytest.mark.parametrize("reason", WAYS)
def test_what_a_worker_cannot_do_is_failed_with_reason_queue_and_count(
    site: Site, reason: str
) -> None:
    arguments, spoil = WAYS[reason]
    site.worker.queue(dead_letter_exchange="swf.undeliverable", **arguments)
    task_id = site.swf.submit()
    spoil(site.worker)
    ledger = site.closed(task_id)
    assert ledger["state"] == "failed"
    assert ledger["reason"] == f"undeliverable: {reason} in queue work, count 1"
    site.bridge.wait("task.undeliverable", task=ledger["messageId"])
    assert site.worker.until(lambda: site.worker.ready("swf.undeliverable") == 0)
    assert site.worker.take_now("swf.replies.dead") is None


def test_a_rejected_task_is_kept_while_swf_cannot_be_told_and_its_slot_is_free_afterwards(
    site: Site,
) -> None:
    site.worker.queue(dead_letter_exchange="swf.undeliverable")
    fault = site.swf.faults.add("unavailable", operation="RespondActivityTaskFailed")
    task_id = site.swf.submit()
    reject(site.worker)
    site.bridge.wait("answers.failing")
    assert site.swf.task(task_id)["state"] == "started"
    site.swf.faults.remove(fault)
    assert site.closed(task_id)["reason"].startswith("undeliverable: rejected in queue work")
