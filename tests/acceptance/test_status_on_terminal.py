"""`swf-bridge status` on a terminal of 80 columns, and in a pipe: the page's words."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import ROOT, Bridge, Start
from tests.processes import until
from tests.worker import Worker

HOME = "\x1b[H"
LONG = "wide-" * 30
LISTS = json.dumps(["demo", LONG, {"name": "lost", "domain": "nowhere"}])


class Terminal:
    """A terminal of a given size with one command on it."""

    def __init__(self, bridge: Bridge, *args: str, columns: int = 80, lines: int = 60) -> None:
        self._end, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.set_blocking(self._end, False)
        self._process = subprocess.Popen(
            command(bridge, *args),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._told = b""

    @property
    def told(self) -> str:
        """All that it has written so far."""
        with suppress(BlockingIOError, OSError):
            while part := os.read(self._end, 65536):
                self._told += part
        return self._told.decode().replace("\r\n", "\n")

    @property
    def screens(self) -> list[list[str]]:
        """Each complete picture as plain lines, oldest first."""
        whole = [each for each in self.told.split(HOME)[1:] if each.endswith("\x1b[J")]
        return [plain(each).splitlines() for each in whole]

    def ended(self) -> bool:
        return self.told is not None and self._process.poll() is not None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._end)


def command(bridge: Bridge, *args: str) -> list[str]:
    socket = Path(bridge.settings["SWF_BRIDGE_JOURNAL"]).with_suffix(".sock")
    return [sys.executable, "-m", "bridge", "status", *args, "--control", str(socket)]


def plain(text: str) -> str:
    return re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", text)


@pytest.fixture
def bridge(start: Start, worker: Worker) -> Bridge:
    worker.queue()
    bridge = start(task_lists=LISTS)
    bridge.wait("poll.refused")
    bridge.wait_connected()
    return bridge


@pytest.fixture
def terminal(bridge: Bridge, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    terminal = Terminal(bridge, *request.param[0], **request.param[1])
    yield terminal
    terminal.end()


def on(*args: str, **size: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("terminal", [(args, size)], indirect=True, ids=[""])


@on()
def test_no_line_is_wider_than_the_terminal_and_what_is_wrong_comes_first(
    terminal: Terminal,
) -> None:
    assert until(terminal.ended, 20)
    lines = plain(terminal.told).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("✗ SWF refuses the polls of nowhere/lost: UnknownResourceFault")
    text = " ".join(" ".join(lines).split())
    assert "tasks: SWF keeps these tasks" in text
    assert "do: Mend the domain or the permission" in text
    assert re.search(r"/docs/alerts\.md,\s+SwfBridgePollsRefused\)", text)
    (head,) = [line for line in lines if line.startswith("TASK LIST")]
    assert head.endswith("POLLED")
    assert any(re.match("demo/w[^ ]*…[^ ]*e- +[0-9]", line) for line in lines)
    assert "\x1b[1;31m✗" in terminal.told


@on("--watch", "0.2")
def test_what_is_watched_stays_in_place_and_follows(terminal: Terminal, swf: LocalSwf) -> None:
    assert until(lambda: len(terminal.screens) >= 2, 20)
    assert "\x1b[2J" not in terminal.told, "no flicker: nothing is cleared before it is written"
    assert any("TASKS/S" in line for line in terminal.screens[-1])
    swf.submit()
    swf.submit()
    shows = re.compile(r"demo/demo +2/2 +2/100 ")
    assert until(lambda: any(map(shows.match, terminal.screens[-1])), 20)


@on("--watch", "0.2")
def test_what_is_watched_outlives_the_daemon(bridge: Bridge, terminal: Terminal) -> None:
    assert until(lambda: terminal.screens, 20)
    bridge.kill()
    gone = "✗ no daemon answers at"
    assert until(lambda: terminal.screens[-1][0].startswith(gone), 20), terminal.screens[-1]
    assert not terminal.ended()


@on("--watch", "0")
def test_a_watch_without_a_pause_is_refused(terminal: Terminal) -> None:
    assert until(terminal.ended, 20)
    assert "'0' is under 0.2 s" in terminal.told


@on("--watch", "0.2", columns=60, lines=8)
def test_on_a_small_terminal_the_gravest_stays_in_sight(terminal: Terminal) -> None:
    assert until(lambda: len(terminal.screens) >= 2, 20)
    screen = terminal.screens[-1]
    assert len(screen) == 7
    assert screen[1].startswith("✗ SWF refuses the polls of nowhere/lost")


def test_in_a_pipe_each_line_is_whole_and_without_colour(bridge: Bridge) -> None:
    ended = subprocess.run(
        command(bridge), cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 70, "something is wrong"
    told = ended.stdout
    assert "\x1b" not in told
    (wrong,) = [line for line in told.splitlines() if line.startswith("✗")]
    assert wrong.endswith("UnknownResourceFault: Unknown domain: nowhere")
    assert f"demo/{LONG}" in told
