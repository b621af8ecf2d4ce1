"""Where no thread can be started, what needs one goes without it, and tries again later."""

import logging
import os
import threading

import pytest
from botocore.credentials import ReadOnlyCredentials

from bridge.control.dead_letters import DeadLetterCommands
from bridge.control.request import Request
from bridge.errors import Unavailable
from bridge.swf.aws import KeptCredentials
from bridge.telemetry.stderr import Stderr


@pytest.fixture
def no_thread(monkeypatch):
    """Until it is undone, as where the kernel has no more threads for the user."""

    def start(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        yield patch


def test_the_next_line_of_the_log_is_written_once_a_thread_can_be_had(no_thread, capsys):
    reads, writes = os.pipe()
    handler = Stderr()
    handler.fd = writes
    handler.emit(logging.makeLogRecord({"levelno": 20, "msg": "without a thread"}))
    no_thread.undo()
    handler.emit(logging.makeLogRecord({"levelno": 20, "msg": "with a thread"}))
    handler.flush()
    os.set_blocking(reads, False)
    assert os.read(reads, 1024) == b"with a thread\n"
    handler.close()
    os.close(reads)
    os.close(writes)


def test_credentials_are_used_on_and_looked_for_again_once_a_thread_can_be_had(no_thread):
    renewed = threading.Event()

    class Provider:
        change, version, found = True, 0, 0

        def get_frozen_credentials(self):
            self.found += 1
            if self.found > 1:
                renewed.set()
            return ReadOnlyCredentials(f"key-{self.found}", "secret", None)

    kept = KeptCredentials(Provider(), keep=0.0)
    for _ in range(3):
        assert kept.current().access_key == "key-1"
    no_thread.undo()
    kept.current()
    assert renewed.wait(10)


def test_a_command_over_the_dead_letters_is_told_so_and_the_next_is_not_kept_out(no_thread):
    class Consumer:
        def run(self): ...

    commands = DeadLetterCommands(
        lambda on_dead_letter: Consumer(), None, reply_queue="replies", halted=lambda: False
    )
    for _ in range(2):
        with pytest.raises(Unavailable, match="can't start new thread"):
            list(commands.list_dead_letters(Request({})))
