"""What tests look at from outside: living processes, and conditions that come true in time."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path


def processes_that_name(text: str) -> list[int]:
    """Living processes, but this one, with the text in their arguments or environment.

    A zombie has neither.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            if text.encode() in words and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether the condition came true in so many seconds."""
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds
