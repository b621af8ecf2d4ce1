"""A journal whose process is killed, and one whose disk is full."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.journal.journal import Journal
from bridge.task import task_id
from tests.unit.bridge_parts import until
from tests.unit.test_journal import BIG, in_hand, path, record

__all__ = ["path"]


def fill(path):
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    with contextlib.suppress(OSError):
        while True:
            os.write(file, bytes(65536))
    os.close(file)


CHILD = r"""
import os, sys, threading
from pathlib import Path
from bridge.journal.journal import Journal
from bridge.message.message import encode_task
from tests.unit.bridge_parts import a_task
journal = Journal(Path(sys.argv[1]))
def live(name):
    for number in range(1_000_000):
        task = a_task(f"{name}-{number}", input="x" * 500)
        journal.record(task, encode_task(task))
        if number % 4 == 3:
            journal.settle(task.id)
            os.write(1, f"settled {task.id}\n".encode())
        else:
            os.write(1, f"recorded {task.id}\n".encode())
for name in range(4):
    threading.Thread(target=live, args=(name,)).start()
"""


def test_a_kill_loses_no_task_whose_commit_had_returned(path):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    told = [child.stdout.readline().split() for _ in range(400)]
    child.send_signal(signal.SIGKILL)
    told += [line.split() for line in child.stdout.read().splitlines()[:-1]]
    child.stdout.close()
    assert child.wait(10) == -signal.SIGKILL
    journal = Journal(path, lock_timeout=0)
    found = {each for each, _, _ in journal.in_hand()}
    recorded = {each for what, each in told if what == "recorded"}
    settled = {each for what, each in told if what == "settled"}
    assert len(recorded) > 200
    assert recorded <= found
    assert not settled & found
    assert all(journal.was_settled(each) for each in settled)
    assert len(found) - len(recorded) <= 8  # on their way to being told, at most one a thread
    journal.close()


def test_a_real_disk_that_is_full_loses_nothing(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=4m tmpfs {folder}".split()
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk takes root's rights")
    try:
        journal = Journal(folder / "journal.db")
        ballast = folder / "ballast"
        fill(ballast)
        tokens = [f"t{number}" for number in range(20)]
        record(journal, *tokens, **BIG)
        assert not journal.writable.is_set()
        assert [journal.get(task_id(token)).task.token for token in tokens] == tokens
        for token in tokens[1:]:
            assert journal.settle(task_id(token))
        assert not journal.flush()
        ballast.unlink()
        until(journal.flush)
        journal.close()
        again = Journal(folder / "journal.db")
        assert in_hand(again) == ["t0"]
        again.close()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)
