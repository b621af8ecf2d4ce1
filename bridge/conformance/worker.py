"""The worker that is tried, as a process: one life after the other."""

import contextlib
import os
import shlex
import subprocess
from collections.abc import Mapping

from bridge.local.keeper import Keeper


class WorkerProcess:
    """Runs `command`, by the shell, in the caller's folder and environment and that given here.

    Its processes are a group of their own, and outlive the trial in no case.
    """

    def __init__(self, command: str, environment: Mapping[str, str]) -> None:
        self._line = f"cd {shlex.quote(os.getcwd())} && exec {command}"
        self._environment = {**os.environ, **environment}
        self._keeper: Keeper | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; what is left of the life before is killed."""
        self.kill()
        self._keeper = Keeper("conformance-worker-")
        self._process = self._keeper.spawn(["/bin/sh", "-c", self._line], env=self._environment)

    def kill(self) -> None:
        """SIGKILL for all its processes."""
        if self._keeper is not None:
            self._keeper.end()
            self._keeper = self._process = None

    def stop(self, seconds: float) -> bool:
        """SIGTERM for its first process; whether that ended in time."""
        assert self._process is not None
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return True
        return False

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process is not None else None

    def last_words(self) -> str:
        """The last lines that it printed."""
        if self._keeper is None:
            return ""
        with contextlib.suppress(OSError):
            text = (self._keeper.folder / "output").read_text(errors="replace")
            return "\n".join(text.splitlines()[-5:])[-2000:]
        return ""
