"""Contract §5, at run time: what SWF may do to a poll, and what the list of that poll does then."""

import json
import time

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import Site, Start
from tests.worker import Worker

FOR_NOW = [
    "throttled",
    "limit-exceeded",
    "internal",
    "unavailable",
    "expired-token",
    "cut-before",
    "html",
    "garbage",
]


def lists(*names: str, **entries: object) -> str:
    return json.dumps([*({"name": name, "pollers": 1} for name in names), *entries.values()])


def test_failing_polls_back_off_and_recover_and_are_logged_where_it_begins_and_ends(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    for kind in FOR_NOW:
        swf.faults.add(kind, operation="PollForActivityTask", task_list=kind, count=3)
    bridge = start(task_lists=lists(*FOR_NOW, "spared"))
    for kind in FOR_NOW:
        bridge.wait("poll.failing", task_list=kind, domain="demo")
    for kind in FOR_NOW:
        back = bridge.wait("poll.back", task_list=kind)
        assert 1 <= back["count"] <= 3, kind
        assert len(bridge.events("poll.failing", task_list=kind)) == 1
        assert len(bridge.events("poll.back", task_list=kind)) == 1
    assert not bridge.events("poll.failing", task_list="spared")
    ids = [swf.submit(task_list=kind) for kind in (*FOR_NOW, "spared")]
    for task in worker.take_many(len(ids)):
        worker.complete(task)
    assert swf.wait_closed(ids, 10)


def test_refused_polls_name_domain_list_action_and_cause_and_other_lists_go_on(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    refusals = {
        "access-denied": "AccessDeniedException",
        "not-permitted": "OperationNotPermittedFault",
    }
    for kind in refusals:
        swf.faults.add(kind, operation="PollForActivityTask", task_list=kind)
    unknown = {"name": "lost", "domain": "nowhere"}
    bridge = start(task_lists=lists("good", *refusals, unknown=unknown))
    for kind, cause in refusals.items():
        refused = bridge.wait("poll.refused", domain="demo", task_list=kind, level="warning")
        assert refused["action"] == "swf:PollForActivityTask"
        assert cause in refused["error"]
    refused = bridge.wait("poll.refused", domain="nowhere", task_list="lost")
    assert "UnknownResourceFault" in refused["error"]
    assert refused["action"] == "swf:PollForActivityTask"
    for _ in range(3):
        task_id = swf.submit(task_list="good")
        worker.complete(worker.take())
        assert swf.wait_closed(task_id, 10)
    swf.faults.clear()
    swf.options(any_domain=True)
    ids = [swf.submit(task_list=kind) for kind in refusals]
    ids.append(swf.submit(domain="nowhere", task_list="lost"))
    for task in worker.take_many(3, seconds=30):
        worker.complete(task)
    assert swf.wait_closed(ids, 10)
    bridge.wait("poll.accepted", task_list="lost")
    assert len(bridge.events("poll.refused")) == 3


@pytest.mark.parametrize("absent", [False, True], ids=["empty token", "absent token"])
def test_empty_polls_that_come_at_once_are_paced(
    swf: LocalSwf, start: Start, worker: Worker, absent: bool
) -> None:
    worker.queue()
    swf.options(absent_token=absent)
    swf.faults.add("empty", operation="PollForActivityTask")

    def polls() -> int:
        return int(swf.faults.list()[0]["struck"])

    start(pollers=2)
    assert worker.until(lambda: polls() >= 2)
    began = time.monotonic()
    assert worker.until(lambda: polls() >= 12)
    assert time.monotonic() - began > 1.2, "more than four polls a second a poller"
    swf.faults.clear()
    task_id = swf.submit()
    worker.complete(worker.take())
    assert swf.wait_closed(task_id, 10)


def test_credentials_that_come_later_are_found(site: Site) -> None:
    site.swf.faults.add("unrecognized-client", operation="PollForActivityTask", count=4)
    failing = site.bridge.wait("poll.failing")
    assert "UnrecognizedClientException" in failing["error"]
    site.bridge.wait("poll.back")
    task_id, task = site.hand_out()
    site.worker.complete(task)
    assert site.closed(task_id)["state"] == "completed"
