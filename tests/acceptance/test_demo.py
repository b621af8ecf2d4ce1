"""`python -m demo`, which `make demo` runs, from outside."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.local.rabbitmq import RabbitNode
from tests.processes import processes_that_name, until

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    RabbitNode.unavailable() is not None, reason=str(RabbitNode.unavailable())
)


@pytest.fixture
def folder() -> Iterator[str]:
    """Where the demo makes its files; its processes have the name in their environment."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        yield name


def start(folder: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": folder},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def assert_nothing_is_left(folder: str) -> None:
    assert until(lambda: not processes_that_name(folder)), "processes were left"
    assert until(lambda: not os.listdir(folder)), "files were left"


def test_every_task_of_the_demo_closes_as_it_should_and_nothing_is_left(folder: str) -> None:
    demo = start(folder, "--tasks", "20")
    output, _ = demo.communicate(timeout=100)
    assert demo.returncode == 0, output
    assert "all 20 tasks closed as they should" in output
    all_types = output.splitlines()[[line[:3] for line in output.splitlines()].index("all")].split()
    assert all_types[1:6] == ["20", "17", "2", "1", "0"], "completed, failed, canceled, other"
    assert "the bridge drained" in output
    assert "\r" not in output, "a line was rewritten where there is no terminal"
    assert_nothing_is_left(folder)


def test_the_demo_fails_where_no_daemon_runs(folder: str) -> None:
    demo = start(folder, "--tasks", "3", "--timeout", "2", "--without-daemon")
    output, _ = demo.communicate(timeout=100)  # a node that goes ahead boots for a minute, if busy
    assert demo.returncode == 1, output
    assert "FAILED: 3 of 3 tasks" in output
    assert_nothing_is_left(folder)


@pytest.mark.parametrize("moment", ["keeper", "beam", "tasks"])
def test_ctrl_c_at_any_moment_leaves_nothing(folder: str, moment: str) -> None:
    demo = start(folder, "--stay")
    assert demo.stdout is not None
    if moment == "tasks":
        assert any("tasks closed" in line for line in demo.stdout)
    else:
        assert until(lambda: started(folder, moment), 60)
    demo.send_signal(signal.SIGINT)
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=20)
    assert demo.returncode == 130, output
    assert "Traceback" not in output
    assert_nothing_is_left(folder)


def started(folder: str, words: str) -> bool:
    """Whether a process of the demo has these words in its command line."""
    for pid in processes_that_name(folder):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if words in command:
            return True
    return False
