"""Sentry where one thread carries on many conversations: what is told of one names no other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import MARK, Bridge, settings
from tests.brokers import Vhost
from tests.envelopes import Sentry
from tests.processes import until
from tests.worker import Taken, Worker

pytestmark = pytest.mark.usefixtures("by_exec")

TYPES = ("one", "two", "three", "four")
BREAK_ON_THE_WAY = """
import logging
from bridge.swf.runner import Executor
from bridge.flow.responder import Responder
from bridge.flow.heartbeats.heartbeats import Heartbeats

async def respond(self, delivery, reply):
    logging.getLogger("bridge.flow.responder").info("test.begun", extra={"task": reply.task})
    await self._swf.heartbeat(reply.token, None)
    raise ValueError("on the way")
Responder._respond = respond

async def beat(self, beats, last):
    log = logging.getLogger("bridge.flow.heartbeats.heartbeats")
    log.info("test.begun", extra={"task": last.task})
    await self._swf.heartbeat(last.token, None)
    raise ValueError("on the way")
Heartbeats._beat = beat

run = Executor.run
def run_noting(self):
    extra = {"task": "of the thread"}
    logging.getLogger("bridge.swf.runner").warning("test.outside", extra=extra)
    run(self)
Executor.run = run_noting
"""
"""On the threads something is noted before, as where the journal cannot be written: from then on
Sentry has a scope of the thread."""


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    with Sentry() as sentry:
        yield sentry


@pytest.fixture(params=[0, 1], ids=["errors", "traces"])
def bridge(
    request: pytest.FixtureRequest, swf: LocalSwf, vhost: Vhost, tmp_path: Path, sentry: Sentry
) -> Iterator[Bridge]:
    """A daemon whose answers break after SWF was waited for, all on their way at once."""
    (tmp_path / "sitecustomize.py").write_text(BREAK_ON_THE_WAY)
    more = {"sentry_dsn": sentry.dsn, "sentry_traces_sample_rate": request.param, "responders": 8}
    given = settings(swf, vhost.url, tmp_path, swf_client="curl", log_level="INFO", **more)
    bridge = Bridge({**given, "PYTHONPATH": str(tmp_path)})
    yield bridge.start()
    bridge.end()


def taken(swf: LocalSwf, worker: Worker) -> dict[str, Taken]:
    """A task of each type, by its message's id."""
    for name in TYPES:
        swf.submit(name, input=MARK)
    tasks = worker.take_many(len(TYPES))
    return {task.properties.message_id: task for task in tasks}


def noted(event: dict[str, Any]) -> set[str]:
    """The tasks that the event's breadcrumbs name."""
    crumbs = event.get("breadcrumbs", {}).get("values", [])
    return {each["data"]["task"] for each in crumbs if "task" in each.get("data", {})}


@pytest.mark.parametrize("status", ["completed", "heartbeat"])
def test_an_error_names_its_own_task_alone_among_those_that_were_carried_on_beside_it(
    bridge: Bridge, swf: LocalSwf, worker: Worker, sentry: Sentry, status: str
) -> None:
    worker.queue()
    tasks = taken(swf, worker)
    swf.faults.add("slow", operation="RecordActivityTaskHeartbeat", delay=1.0)
    for task in tasks.values():
        headers = {name: task.headers[name] for name in ("sentry-trace", "baggage")
                   if name in task.headers}  # fmt: skip
        worker.send({"taskToken": task.json["taskToken"], "status": status}, headers=headers)
    assert until(lambda: len(sentry.events) >= len(TYPES), 20), bridge.log
    begun = bridge.events("test.begun")[: len(TYPES)]
    broken = bridge.events("reply.unexpected")
    assert max(each["time"] for each in begun) < min(each["time"] for each in broken)
    assert len({each["thread"] for each in begun}) == 1, "they do not share a thread"
    seen = {event["tags"]["activity_type"]: event for event in sentry.events[: len(TYPES)]}
    assert set(seen) == set(TYPES)
    for task_id, task in tasks.items():
        event = seen[task.json["activityType"]["name"]]
        assert noted(event) == {task_id}
        if "sentry-trace" in task.headers and status == "completed":
            trace, _, _ = task.headers["sentry-trace"].split("-")
            assert event["contexts"]["trace"]["trace_id"] == trace
    assert MARK not in sentry.text
