"""Standard error is a pipe whose reader stands still, as a container's runtime or a shipper may."""

import http.client
import json
import time

from bridge.local import LocalSwf
from tests.acceptance.harness import Start
from tests.processes import until
from tests.worker import Worker

COUNT = 300
PIPE = 64 * 1024
"""Bytes that a pipe holds."""
LONG = "x" * 2000
"""Characters of a field that the log shows: a request for a page so named is a line of the log at
DEBUG, and costs the daemon little else."""


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

    def get(path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
        connection.request("GET", path)
        with connection.getresponse() as answer:
            return answer.read().decode()

    def dropped() -> float:
        """What the metric tells, after a hundred more lines of the log."""
        for _ in range(100):
            get(f"/{LONG}")
        told = get("/metrics").partition("\nswf_bridge_log_lines_dropped_total ")[2]
        return float(told.split()[0])

    assert until(lambda: dropped() > 0, 60)
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
