"""What one worker sends in a flood delays no other worker's result, and none of it is forgotten."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pytest

from bridge.conformance.amqp import BoundedConnection
from tests.acceptance.harness import Site
from tests.brokers import Vhost
from tests.worker import DEAD, REPLIES, Worker

BEATS = 5000
BATCH = 500
RESULTS = 15
GAP = 0.1
"""Seconds between two of another worker's results."""
PATIENCE = 5.0
"""Seconds within which another worker's result is settled, where other tests keep the machine busy.
On one of its own it takes one at most."""


SLOW = 3.0
"""Seconds that SWF takes for a heartbeat: most of OWED beats of a task come meanwhile."""
OWED = 2400
"""With four tasks about as many as the bridge owes answers to: all are published at once."""


class Flood(threading.Thread):
    """A worker that beats in a tight loop, and asks each time for an answer; or sends results."""

    def __init__(
        self, url: str, *tokens: str, count: int = BEATS, status: str = "heartbeat"
    ) -> None:
        super().__init__()
        self._connection = BoundedConnection(pika.URLParameters(url))
        self._tokens = tokens
        self._count = count
        self._status = status

    def run(self) -> None:
        channel = self._connection.channel()
        channel.tx_select()  # a quorum queue may lose what is unconfirmed when the channel closes
        for number, token in enumerate(
            itertools.islice(itertools.cycle(self._tokens), self._count)
        ):
            headers: dict[str, Any] = {"swf-task-token": token, "swf-status": self._status}
            given = pika.BasicProperties(
                headers=headers, reply_to="answers", correlation_id=f"{number}", delivery_mode=2
            )
            channel.basic_publish("", REPLIES, b"", given)
            if number % BATCH == BATCH - 1:
                channel.tx_commit()
        channel.tx_commit()
        self._connection.close()


@contextmanager
def flooded(*floods: Flood) -> Iterator[None]:
    for flood in floods:
        flood.start()
    try:
        yield
    finally:
        for flood in floods:
            flood.join()


@pytest.fixture
def ready(site: Site) -> Site:
    """A task is done already, and the worker has a queue for answers."""
    task_id, task = site.hand_out()
    site.worker.queue("answers", bind=None)
    site.worker.complete(task)
    site.closed(task_id)
    return site


def seconds_to_settle(site: Site, *floods: Flood) -> list[float]:
    """How long the results of another worker take, one after the other, while others flood."""
    taken = [site.hand_out() for _ in range(RESULTS)]
    found = []
    with flooded(*floods):
        for task_id, task in taken:
            began = time.monotonic()
            site.worker.complete(task)
            site.closed(task_id, 60)
            found.append(time.monotonic() - began)
            time.sleep(GAP)
    print("seconds", sorted(round(each, 2) for each in found))
    return found


def all_answers(worker: Worker, count: int) -> list[Any]:
    assert worker.until(lambda: worker.ready("answers") >= count, 30), worker.ready("answers")
    return list(worker.take_all("answers"))


def test_heartbeats_in_a_tight_loop_are_all_answered_and_delay_no_other_result(
    ready: Site, vhost: Vhost
) -> None:
    task_id, task = ready.hand_out()
    token = task.json["taskToken"]
    began = time.monotonic()
    found = seconds_to_settle(ready, Flood(vhost.url, token))
    answers = all_answers(ready.worker, BEATS)
    took = time.monotonic() - began
    assert max(found) < PATIENCE, found
    assert sorted(int(each.properties.correlation_id) for each in answers) == list(range(BEATS))
    assert all(each.json["open"] for each in answers)
    assert len(ready.swf.task(task_id)["heartbeats"]) <= took + 2, "one a second goes to SWF"
    ready.worker.complete(task)
    ready.closed(task_id)


def test_several_loops_and_a_slow_swf_delay_neither_a_result_nor_another_tasks_heartbeat(
    ready: Site, vhost: Vhost
) -> None:
    held = [ready.hand_out() for _ in range(4)]
    for _, task in held:
        ready.worker.send(
            {"taskToken": task.json["taskToken"], "status": "heartbeat"}, reply_to="answers"
        )
    all_answers(ready.worker, len(held))
    fault = ready.swf.faults.add("slow", operation="RecordActivityTaskHeartbeat", delay=SLOW)
    _, other = ready.hand_out()
    found = seconds_to_settle(
        ready, *(Flood(vhost.url, task.json["taskToken"], count=OWED) for _, task in held)
    )
    assert max(found) < PATIENCE, found
    ready.swf.faults.remove(fault)
    answers = len(held) * OWED
    assert len(all_answers(ready.worker, answers)) == answers
    ready.worker.reply(other, "heartbeat")


def test_loops_over_more_tasks_than_may_wait_delay_no_result(ready: Site, vhost: Vhost) -> None:
    held = [ready.hand_out()[1] for _ in range(80)]
    found = seconds_to_settle(ready, Flood(vhost.url, *(each.json["taskToken"] for each in held)))
    assert max(found) < PATIENCE, found
    assert len(all_answers(ready.worker, BEATS)) == BEATS


def test_heartbeats_with_tokens_that_are_none_are_all_parked_and_delay_no_result(
    ready: Site, vhost: Vhost
) -> None:
    tokens = ("t", "token", "Value 'x' at 'result' failed to satisfy")
    found = seconds_to_settle(ready, Flood(vhost.url, *tokens, count=3000))
    assert max(found) < PATIENCE, found
    assert ready.worker.until(lambda: ready.worker.ready(DEAD) == 3000, 30), ready.worker.ready(
        DEAD
    )
    letters = ready.worker.channel.consume(DEAD, auto_ack=True)  # cheaper than one by one
    told = Counter(
        (properties.headers["swf-task-token"], properties.headers["swf-bridge-error"])
        for _, properties, _ in itertools.islice(letters, 3000)
    )
    assert told == {(token, "token-invalid"): 1000 for token in tokens}


def test_results_with_a_token_that_is_none_are_all_parked_and_delay_no_other(
    ready: Site, vhost: Vhost
) -> None:
    found = seconds_to_settle(ready, Flood(vhost.url, "t", count=3000, status="completed"))
    assert max(found) < PATIENCE, found
    assert ready.worker.until(lambda: ready.worker.ready(DEAD) == 3000, 30)
    assert ready.worker.take(DEAD).headers["swf-bridge-error"] == "token-invalid"


def test_results_that_are_late_in_numbers_delay_no_other(ready: Site, vhost: Vhost) -> None:
    task_id, task = ready.hand_out()
    ready.worker.complete(task)
    ready.closed(task_id)
    found = seconds_to_settle(
        ready, Flood(vhost.url, task.json["taskToken"], count=3000, status="completed")
    )
    assert max(found) < PATIENCE, found
    assert ready.worker.until(lambda: not ready.worker.ready(REPLIES), 30)
    assert ready.bridge.stop() == 0
    assert not ready.worker.ready(REPLIES), "all are done with"
    assert not ready.worker.ready(DEAD)


def test_results_with_tokens_of_their_own_that_are_none_delay_no_other(
    ready: Site, vhost: Vhost
) -> None:
    """Each of them costs a call to SWF, eight of which go side by side."""
    ready.swf.faults.add("slow", operation="RespondActivityTaskCompleted", delay=0.1)
    tokens = [f"none-{number}" for number in range(800)]
    found = seconds_to_settle(
        ready, Flood(vhost.url, *tokens, count=len(tokens), status="completed")
    )
    assert max(found) < PATIENCE, found
    assert ready.worker.until(lambda: ready.worker.ready(DEAD) == len(tokens), 30)
