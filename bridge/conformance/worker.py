"""The worker under test, as a process that can be started and killed repeatedly."""

import contextlib
import os
import shlex
import subprocess
from collections.abc import Mapping

from bridge.local.keeper import Keeper


class WorkerProcess:
    """Runs `command` by the shell in the caller's folder; adds `environment` to the caller's.

    Its processes have their own process group, and never outlive the trial.
    """

    def __init__(self, command: str, environment: Mapping[str, str]) -> None:
        self._line = f"cd {shlex.quote(os.getcwd())} && exec {command}"
        self._environment = {**os.environ, **environment}
        self._keeper: Keeper | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the worker; kill the processes of an earlier start first."""
        self.kill()
        self._keeper = Keeper("conformance-worker-")
        self._process = self._keeper.spawn(["/bin/sh", "-c", self._line], env=self._environment)

    def kill(self) -> None:
        """Send SIGKILL to all its processes."""
        if self._keeper is not None:
            self._keeper.end()
            self._keeper = self._process = None

    def stop(self, seconds: float) -> bool:
        """Send SIGTERM to its first process; return whether that exits within `seconds`."""
        assert self._process is not None
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return True
        return False

    @property
    def exit_code(self) -> int | None:
        """The exit code of the first process; None while it runs or before `start`."""
        return self._process.poll() if self._process is not None else None

    def last_words(self) -> str:
        """The last five lines of its output, at most 2,000 characters."""
        if self._keeper is None:
            return ""
        with contextlib.suppress(OSError):
            text = (self._keeper.folder / "output").read_text(errors="replace")
            return "\n".join(text.splitlines()[-5:])[-2000:]
        return ""
