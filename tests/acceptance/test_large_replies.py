"""Replies larger than any that SWF could take: parked unread, and nobody beside them waits."""

import resource
import time

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import Site, Start, peak
from tests.worker import DEAD, REPLIES, Worker

KEPT = 16 * 1024 * 1024
"""Bytes of a body that a dead letter has at most."""
ADDRESS_SPACE = 1536 * 1024 * 1024


def test_a_reply_of_120_mb_is_parked_unread_and_cut_within_little_memory(site: Site) -> None:
    resource.prlimit(site.bridge.pid, resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    before = peak(site.bridge)
    body = b"[" + b"{}," * 40_000_000 + b"{}]"
    task_id, task = site.hand_out()
    site.worker.send(body, headers={"mine": "stays"})
    started = time.monotonic()
    site.worker.complete(task)
    assert site.closed(task_id)["state"] == "completed"
    assert time.monotonic() - started < 2.0
    dead = site.worker.take(DEAD)
    assert dead.headers["swf-bridge-error"] == "too-large"
    assert dead.headers["swf-bridge-cut"] == len(body)
    assert str(KEPT) in dead.headers["swf-bridge-error-detail"]
    assert dead.headers["mine"] == "stays"
    assert len(dead.body) == KEPT
    assert body.startswith(dead.body)
    assert peak(site.bridge) - before < 8 * KEPT
    assert site.bridge.stop() == 0


@pytest.mark.parametrize("size", [1_100_000, KEPT])
def test_a_reply_that_the_dead_letter_queue_takes_is_parked_byte_for_byte(
    site: Site, size: int
) -> None:
    body = b"[" + b"{}," * ((size - 4) // 3) + b"{}]"
    site.hand_out()
    site.worker.send(body)
    dead = site.worker.take(DEAD)
    assert dead.body == body
    assert dead.headers["swf-bridge-error"] == "too-large"
    assert "swf-bridge-cut" not in dead.headers


@pytest.mark.parametrize("length", [1_100_000, 20_000_000])
def test_a_result_over_the_bound_fails_the_task_and_is_parked(site: Site, length: int) -> None:
    task_id, task = site.hand_out()
    site.worker.complete(task, "x" * length)
    closed = site.closed(task_id)
    assert closed["state"] == "failed"
    assert "bytes" in closed["reason"]
    assert site.worker.take(DEAD).headers["swf-bridge-error"] == "too-large"


# --- many of them at once ---


def a_large_reply(token: str, size: int) -> dict[str, str]:
    """One that is within the bound, and good; SWF takes no more of it than its result."""
    return {"taskToken": token, "status": "completed", "result": "good", "x": "x" * size}


def test_replies_of_200_mb_that_wait_for_swf_take_no_more_memory_than_the_setting(
    start: Start, swf: LocalSwf, worker: Worker
) -> None:
    worker.queue()
    site = Site(swf, start(reply_memory=32, max_in_flight=300), worker)
    tasks = [site.hand_out() for _ in range(200)]
    before = peak(site.bridge)
    swf.faults.add("unavailable", operation="RespondActivityTaskCompleted")
    for _, task in tasks:
        worker.send(a_large_reply(task.json["taskToken"], 1_000_000))
    assert worker.until(lambda: worker.ready(REPLIES) == 0, 60)
    site.bridge.wait("answers.failing")
    worker.until(lambda: False, 5)
    grown = peak(site.bridge) - before
    print(f"{grown >> 20} MiB for 200 replies of 1 MB")
    assert grown < 32 * 1024 * 1024 * 2
    swf.faults.clear()
    assert swf.wait_closed([task_id for task_id, _ in tasks], 90)
