"""Contract §5: what ends a start, and what costs no more than a warning."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from tests.acceptance.harness import ROOT, START_TIMEOUT, Start
from tests.worker import Worker

pytestmark = pytest.mark.usefixtures("by_exec")

WRONG = {
    "a misspelt variable": (
        {"SWF_BRIDGE_POLERS": "3"},
        ["SWF_BRIDGE_POLERS", "did you mean SWF_BRIDGE_POLLERS"],
    ),
    "no task list": ({"task_lists": ""}, ["SWF_BRIDGE_TASK_LISTS"]),
    "a number that is none": ({"max_in_flight": "many"}, ["SWF_BRIDGE_MAX_IN_FLIGHT"]),
    "a poll cut too early": ({"read_timeout": "60"}, ["SWF_BRIDGE_READ_TIMEOUT"]),
    "a name that SWF forbids": ({"task_lists": "a:b"}, ["SWF_BRIDGE_TASK_LISTS"]),
    "an URL of another kind": (
        {"amqp_url": "http://user:pa55word@localhost"},
        ["SWF_BRIDGE_AMQP_URL"],
    ),
    "no region": ({"AWS_REGION": ""}, ["AWS_REGION"]),
    "a folder that is not there": ({"journal": "/nowhere/journal.db"}, ["SWF_BRIDGE_JOURNAL"]),
    "two at once": (
        {"pollers": "0", "responders": "-1"},
        ["SWF_BRIDGE_POLLERS", "SWF_BRIDGE_RESPONDERS"],
    ),
}


def seconds_to_import_it() -> float:
    """What Python takes to read the daemon's code: half a second, or more on a loaded machine."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import bridge.wiring"], cwd=ROOT, check=True)
    return time.monotonic() - began


@pytest.mark.parametrize("kind", WRONG)
def test_a_setting_that_cannot_work_ends_the_start_with_78_and_its_name(
    swf: LocalSwf, start: Start, kind: str
) -> None:
    given, named = WRONG[kind]
    began = time.monotonic()
    bridge = start(await_start=False, **given)
    assert bridge.leave(START_TIMEOUT) == 78
    took = time.monotonic() - began
    assert took < 3 or took < 4 * seconds_to_import_it()
    for name in named:
        assert name in bridge.log
    assert "Traceback" not in bridge.log
    assert "pa55word" not in bridge.log
    assert not swf.counts()["calls"]


def test_a_port_that_is_taken_costs_a_warning(swf: LocalSwf, start: Start, worker: Worker) -> None:
    worker.queue()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bridge = start(http=f"127.0.0.1:{taken.getsockname()[1]}")
        bridge.wait("status.unavailable", level="warning")
        task_id = swf.submit()
        worker.complete(worker.take())
        assert swf.wait_closed(task_id, 10)
        assert bridge.stop() == 0


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_readiness_follows_the_peers_and_liveness_does_not(
    swf: LocalSwf, start: Start, worker: Worker
) -> None:
    port = free_ports(1)[0]
    fault = swf.faults.add("access-denied", operation="PollForActivityTask")
    bridge = start(http=f"127.0.0.1:{port}")
    bridge.wait("poll.refused")
    status, text = ask(port, "/readyz")
    assert status == 503
    assert "AccessDeniedException" in text
    assert ask(port, "/livez")[0] == 200
    swf.faults.remove(fault)
    assert worker.until(lambda: ask(port, "/readyz")[0] == 200)
    assert ask(port, "/nothing")[0] == 404


def test_a_broker_that_is_away_is_told_by_readiness(swf: LocalSwf, start: Start) -> None:
    port, nobody = free_ports(2)
    bridge = start(http=f"127.0.0.1:{port}", amqp_url=f"amqp://127.0.0.1:{nobody}")
    bridge.wait("broker.lost", connection="publisher")
    status, text = ask(port, "/readyz")
    assert status == 503
    assert "broker" in text
    assert ask(port, "/livez")[0] == 200


def test_several_lists_of_several_domains_are_polled_each_with_its_own_window(
    start: Start, worker: Worker, swf: LocalSwf
) -> None:
    worker.queue("narrow", bind="narrow.#")
    worker.queue("wide", bind="wide.#")
    swf.options(any_domain=True)
    lists = [
        {"name": "narrow", "max_in_flight": 1},
        {"name": "wide", "domain": "other", "max_in_flight": 5},
    ]
    start(task_lists=json.dumps(lists))
    ids = swf.submit_many(
        [
            {"name": "narrow", "taskList": "narrow", "count": 3},
            {"name": "wide", "taskList": "wide", "domain": "other", "count": 10},
        ]
    )
    for _ in range(3):
        worker.complete(worker.take("narrow"))
    for _ in range(10):
        worker.complete(worker.take("wide"))
    assert swf.wait_closed(ids, 10)
    of_list = swf.counts()["taskLists"]
    assert of_list["demo/narrow"]["mostAtOnce"] == 1
    assert of_list["other/wide"]["mostAtOnce"] <= 5
