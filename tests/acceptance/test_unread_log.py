"""Standard error is a pipe whose reader stands still, as a container's runtime or a shipper may."""

import json
import time
import urllib.request

from bridge.local import LocalSwf
from tests.acceptance.harness import Start
from tests.processes import until
from tests.worker import Worker

COUNT = 300
PIPE = 64 * 1024
"""Bytes that a pipe holds."""
LONG = "x" * 32_768
"""A request's line is one of the log at DEBUG: so long, a few fill what may wait for the reader."""


def test_tasks_and_the_stop_go_on_and_what_was_dropped_is_told(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    bridge = start(http="127.0.0.1:0", max_in_flight=COUNT)
    port = bridge.wait("status.listening")["address"].rpartition(":")[2]
    bridge.reading.clear()
    swf.submit_many([{"name": "echo", "version": "1.0", "input": "s3cr3t", "count": COUNT}])
    for _ in range(COUNT):
        worker.complete(worker.take())
    assert worker.until(lambda: swf.counts()["closed"].get("completed") == COUNT, 20), swf.counts()

    def dropped() -> float:
        """What the metric tells, asked again: each request makes another line."""
        url = f"http://127.0.0.1:{port}/metrics?{LONG}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        return float(text.partition("\nswf_bridge_log_lines_dropped_total ")[2].split()[0])

    assert until(lambda: [dropped() for _ in range(10)][-1] > 0, 20)
    bridge.reading.set()
    assert bridge.wait("log.dropped")["count"] > 0
    assert len(bridge.log.partition('"status.requested"')[0]) > 2 * PIPE, "it was never full"
    published = [each["task"] for each in bridge.events("task.published")]
    assert len(published) == len(set(published)) == COUNT
    assert json.loads(bridge.log.splitlines()[0])["event"]
    bridge.reading.clear()
    began = time.monotonic()
    bridge.signal()
    assert until(lambda: not alive(bridge.pid), 20)
    assert time.monotonic() - began < 15
    bridge.reading.set()
    assert bridge.leave() == 0


def alive(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
