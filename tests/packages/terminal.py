"""A terminal of a person's, with a shell on it: what is typed, and what then stands there."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path

ESCAPES = re.compile(r"\x1b(\[[0-9;?>=]*[ -/]*[@-~]|\][^\x07]*\x07|[()][AB0]|[=>78])")
DEVICE_ASKED = "\x1b[c"
SIZE = (50, 100)


class Terminal:
    """The shell ends with the block."""

    def __init__(self, *argv: str, env: Mapping[str, str], cwd: Path) -> None:
        self._end, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self._process = subprocess.Popen(
            argv,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm", **env},
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=self._take_terminal,  # noqa: PLW1509 - nothing of ours runs in it
        )
        os.close(theirs)
        self._told = ""

    @staticmethod
    def _take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._end)

    def type(self, keys: str) -> None:
        """Press these keys; what was there before is no longer looked at."""
        self._told = ""
        os.write(self._end, keys.encode())

    def see(self, *words: str, seconds: float = 30) -> str:
        """What stands there once it has all of these words."""
        deadline = time.monotonic() + seconds
        while not all(word in self.shown for word in words):
            left = deadline - time.monotonic()
            assert left > 0, f"{words} are not in {self.shown!r}"
            if select.select([self._end], [], [], left)[0]:
                part = os.read(self._end, 65536).decode(errors="replace")
                if DEVICE_ASKED in part:
                    os.write(self._end, b"\x1b[?62c")  # as a terminal answers who it is
                self._told += part
        return self.shown

    @property
    def shown(self) -> str:
        """Without what moves the cursor and colours."""
        return ESCAPES.sub("", self._told).replace("\r", "")
