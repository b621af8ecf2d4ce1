"""Descriptors: what the settings ask for, and a daemon that runs out of them."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import ROOT, Start, settings
from tests.brokers import Vhost
from tests.processes import until
from tests.worker import Worker


@pytest.fixture
def swf() -> Iterator[LocalSwf]:
    """An SWF that holds polls, as the real one does."""
    with LocalSwf(hold=3) as swf:
        yield swf


LIMITED = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({}, {}));"
    "os.execv(sys.executable, [sys.executable, '-m', 'bridge', {!r}])"
)


def limited(soft: int, hard: int, command: str) -> list[str]:
    return ["-c", LIMITED.format(soft, hard, command)]


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_the_limit_is_raised_to_what_the_pollers_need(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    bridge = start(command=limited(256, 4096, "run"), task_lists="a,b,c", pollers=100)
    assert until(lambda: swf.counts()["polls"] == 300, 30)
    soft, _ = resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE)
    assert open_files(bridge.pid) < soft <= 600
    assert not bridge.events("descriptors.few")
    assert bridge.stop() == 0


def test_where_it_cannot_be_raised_fewer_polls_are_opened_and_all_else_works(
    swf: LocalSwf, worker: Worker, start: Start
) -> None:
    worker.queue()
    bridge = start(
        command=limited(256, 300, "run"), task_lists="a,b,c", pollers=100, http="127.0.0.1:0"
    )
    told = bridge.wait("descriptors.few")
    assert told["needed"] > told["limit"] == 300
    assert told["wanted"] == 300
    assert until(lambda: swf.counts()["polls"] == told["pollers"], 30)
    ids = swf.submit_many(
        [{"name": "echo", "version": "1.0", "taskList": each, "count": 60} for each in "abc"]
    )
    for _ in range(180):
        worker.complete(worker.take())
    assert swf.wait_closed(ids, 30)
    assert open_files(bridge.pid) < 300
    assert bridge.status["lists"][0]["pollers"] == told["pollers"] // 3
    assert bridge.stop() == 0


def test_check_names_settings_that_ask_for_too_much(swf: LocalSwf, tmp_path: Path) -> None:
    given = settings(swf, "amqp://u:p@localhost/v", tmp_path, task_lists="a,b,c", pollers=100)
    told = subprocess.run(
        [sys.executable, *limited(256, 300, "check")],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (line,) = [each for each in told.stdout.splitlines() if "open files" in each]
    assert line.startswith("! open files: ")
    assert "300 allowed" in line
    assert "SWF_BRIDGE_POLLERS" in line


def test_a_daemon_that_runs_out_of_them_lives_and_goes_on_once_there_are_some(
    swf: LocalSwf, vhost: Vhost, worker: Worker, start: Start
) -> None:
    worker.queue()
    bridge = start(pollers=10, http="127.0.0.1:0")
    first = swf.submit()
    taken = worker.take()
    _, hard = resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE, (3, hard))
    second = swf.submit()
    worker.complete(taken)
    worker.complete(worker.take())  # over the connections that stand
    worker.close()
    assert until(lambda: len(vhost.connections()) >= 5, 20)
    vhost.cut()
    for name in ("publisher", "consumer", "answers", "undeliverable", "notices"):
        bridge.wait("broker.lost", 40, connection=name)
    third = swf.submit()
    assert not until(lambda: bool(bridge.events("part.ended")), 5)
    worker = Worker(vhost.url)
    resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE, (1024, hard))
    worker.complete(worker.take(seconds=40))
    assert swf.wait_closed([first, second, third], 40), bridge.log
    worker.close()
    assert not bridge.events("part.ended")
    assert bridge.stop() == 0
