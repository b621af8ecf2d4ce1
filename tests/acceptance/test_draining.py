"""A drain is shown, waited for by `swf-bridge drain`, and over as soon as it can be."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from tests.acceptance.harness import Bridge, Operator, Start
from tests.processes import until
from tests.worker import Worker


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def polling(start: Start, swf: LocalSwf, hold: float, **settings: Any) -> Bridge:
    """A daemon whose two polls are open for so many seconds."""
    swf.options(hold=hold)
    bridge = start(**settings)
    bridge.wait_connected()
    assert until(lambda: swf.counts()["polls"] == 2)
    return bridge


def end_polls(swf: LocalSwf) -> None:
    """Give each of the two a task: a poll that brings one ends."""
    for _ in range(2):
        swf.submit()


def test_a_drain_is_shown_with_a_countdown_and_is_over_with_the_last_poll(
    start: Start, swf: LocalSwf, operator: Operator
) -> None:
    port = free_ports(1)[0]
    bridge = polling(start, swf, 60.0, http=f"127.0.0.1:{port}", drain_timeout=100)
    assert until(lambda: ask(port, "/readyz")[0] == 200)
    assert operator.json("status")["draining"] is None
    bridge.signal()
    bridge.wait("daemon.draining", reason="SIGTERM", seconds=100)
    status, text = ask(port, "/readyz")
    daemon = json.loads(text)["checks"]["daemon"]
    assert (status, daemon["state"]) == (503, "draining")
    assert daemon["detail"].startswith("draining: 2 open polls left; ")
    assert ask(port, "/livez")[0] == 200
    assert "The daemon drains and will stop" in ask(port, "/")[1]
    told = operator.json("status")["draining"]
    assert told["polls"] == 2
    assert 0 < told["left"] <= 100  # rounded to tenths
    code, shown, _ = operator.run("status")
    assert code == 0
    _, first, *_ = shown.splitlines()
    assert first.startswith("! The daemon drains and will stop: 2 open polls left; ")
    assert "✓" not in shown
    end_polls(swf)
    assert bridge.leave() == 0


def test_the_command_returns_when_the_process_has_ended_and_all_is_handed_on(
    start: Start, swf: LocalSwf, worker: Worker, operator: Operator
) -> None:
    worker.queue()
    bridge = polling(start, swf, 60.0, drain_timeout=100)
    waiting = operator.begin("drain", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    other = operator.begin("drain", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    bridge.wait("daemon.draining", reason=f"asked by uid {os.getuid()}")
    bridge.wait("command.asked", count=2, command="drain")
    end_polls(swf)
    assert worker.take_many(2), "the open polls' tasks are published"
    out, err = waiting.communicate(timeout=20)
    assert not os.path.exists(f"/proc/{bridge.pid}/fd/0")
    assert (waiting.returncode, err) == (0, "")
    assert out == "it has ended: everything is handed on, 2 tasks are with workers\n"
    told = json.loads(other.communicate(timeout=20)[0])
    assert told == {"polls": 0, "owed": 0, "inHand": 2, "failed": False}
    assert bridge.leave() == 0


def test_on_a_terminal_the_command_shows_how_far_the_drain_is(
    start: Start, swf: LocalSwf, operator: Operator, worker: Worker
) -> None:
    worker.queue()
    bridge = polling(start, swf, 60.0, drain_timeout=100)
    reader, writer = pty.openpty()
    drain = operator.begin("drain", stdout=subprocess.DEVNULL, stderr=writer)
    os.close(writer)
    shown = b""
    while not re.search(rb"\r\x1b\[K2 open polls left; \d+ s more at most", shown):
        shown += os.read(reader, 4096)
    end_polls(swf)
    with contextlib.suppress(OSError):
        while os.read(reader, 4096):
            pass
    os.close(reader)
    assert drain.wait(20) == 0
    assert bridge.leave() == 0


def test_the_command_gives_up_waiting_after_its_timeout_and_the_drain_goes_on(
    start: Start, swf: LocalSwf, operator: Operator
) -> None:
    bridge = polling(start, swf, 60.0, drain_timeout=100)
    code, out, err = operator.run("drain", "--timeout", "1s")
    assert (code, out) == (70, "")
    assert err.startswith("swf-bridge: it drains on: 2 open polls left; ")
    end_polls(swf)
    assert bridge.leave() == 0


def test_what_is_left_in_the_journal_makes_the_command_exit_70(
    start: Start, swf: LocalSwf, operator: Operator, worker: Worker
) -> None:
    bridge = polling(start, swf, 1.0)
    swf.submit("nobody")
    bridge.wait("task.unroutable")
    code, _, err = operator.run("drain")
    assert code == 70
    assert "0 polls were cut, and 1 tasks wait in the journal" in err
    assert bridge.leave() == 0


def test_polls_that_are_cut_make_the_command_exit_70(
    start: Start, swf: LocalSwf, operator: Operator
) -> None:
    bridge = polling(start, swf, 30.0, drain_timeout=1)
    code, _, err = operator.run("drain")
    assert code == 70
    assert "2 polls were cut, and 0 tasks wait" in err
    assert bridge.leave() == 0


def is_pending(bridge: Bridge) -> bool:
    """Whether the daemon has not taken its SIGTERM yet."""
    (pending,) = re.findall(r"ShdPnd:\s+(\w+)", Path(f"/proc/{bridge.pid}/status").read_text())
    return bool(int(pending, 16) >> (signal.SIGTERM - 1) & 1)


def test_the_first_signal_after_the_command_cuts_no_poll_and_the_second_leaves_at_once(
    start: Start, swf: LocalSwf, operator: Operator, worker: Worker
) -> None:
    worker.queue()
    bridge = polling(start, swf, 30.0, drain_timeout=60)
    drain = operator.begin("drain", stderr=subprocess.PIPE)
    bridge.wait("daemon.draining")
    bridge.signal()
    swf.submit()
    assert worker.take(), "an open poll brings it still"
    assert until(lambda: not is_pending(bridge))  # two of one kind that are pending are one
    bridge.signal()
    assert bridge.leave(2) == 0
    assert drain.communicate(timeout=10)[1] == (
        "swf-bridge: it ended without saying how: see its log\n"
    )
    assert drain.returncode == 70


def test_without_a_daemon_the_command_exits_69(operator: Operator) -> None:
    code, _, err = operator.run("drain")
    assert code == 69
    assert err.startswith("swf-bridge: no daemon answers at ")


@pytest.mark.parametrize("timeout", ["5x", "-1s"])
def test_a_span_that_is_none_exits_64(operator: Operator, timeout: str) -> None:
    code, _, err = operator.run("drain", f"--timeout={timeout}")
    assert code == 64
    assert "is no span of time" in err
