"""The worker of `examples/python`: it beats, and a connection that is cut costs it no task."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import ROOT, Start
from tests.brokers import Vhost
from tests.processes import until


@pytest.fixture
def worker(vhost: Vhost, start: Start) -> Iterator[subprocess.Popen[bytes]]:
    """The worker as a process, beside a daemon."""
    start().wait("broker.connected", connection="publisher")
    vhost.api.add_user("worker", "w")
    vhost.api.set_permissions("worker", vhost=vhost.name)
    url = f"amqp://worker:w@{vhost.url.rpartition('@')[2]}"
    worker = subprocess.Popen(
        [sys.executable, ROOT / "examples/python/worker.py"],
        env={**os.environ, "AMQP_URL": url},
        stdin=subprocess.DEVNULL,
    )
    yield worker
    worker.kill()
    worker.wait()
    vhost.api.delete_user("worker")


def test_it_beats_and_does_its_task_to_the_end_though_its_connection_is_cut(
    swf: LocalSwf, vhost: Vhost, worker: subprocess.Popen[bytes]
) -> None:
    task_id = swf.submit("Video.encode", "2.0", '{"steps": 15}', heartbeat=8)
    assert until(lambda: bool(swf.task(task_id)["heartbeats"]), 20)
    assert vhost.cut("worker") == 1
    before = len(swf.task(task_id)["heartbeats"])
    assert swf.wait_closed(task_id, 25)
    task = swf.task(task_id, payload=True)
    assert (task["state"], task["result"]) == ("completed", "encoded")
    assert len(task["heartbeats"]) > before, "it beats again on the new connection"
    assert worker.poll() is None


def test_it_stops_at_a_task_that_is_closed_and_takes_the_next(
    swf: LocalSwf, worker: subprocess.Popen[bytes]
) -> None:
    task_id = swf.submit("Video.encode", "2.0", '{"steps": 200}')
    assert until(lambda: bool(swf.task(task_id)["heartbeats"]), 20)
    swf.terminate(task_id)
    assert swf.wait_closed(swf.submit("Text.echo", "1.0", "next"), 15)
    assert swf.task(task_id)["refused"] is not None
