"""Run the bridge as a child process against a local SWF."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping

from bridge.local.keeper import Keeper
from bridge.local.ports import free_ports

READY_TIMEOUT = 30.0  # seconds


class DaemonError(Exception):
    """The daemon did not become ready; the message has the last lines of its output."""


class Daemon:
    """`swf-bridge run` in a keeper's process group; every start uses the same journal.

    `settings` are environment variables. Of the caller, only PATH and `sys.path` are passed on.
    """

    def __init__(
        self, keeper: Keeper, endpoint: str, amqp_url: str, settings: Mapping[str, str]
    ) -> None:
        self._keeper = keeper
        self._process: subprocess.Popen[bytes] | None = None
        self.page = f"http://127.0.0.1:{free_ports(1)[0]}"
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": os.fspath(keeper.folder),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "AWS_ENDPOINT_URL_SWF": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "SWF_BRIDGE_DOMAIN": "demo",
            "SWF_BRIDGE_TASK_LISTS": "demo",
            "SWF_BRIDGE_AMQP_URL": amqp_url,
            "SWF_BRIDGE_JOURNAL": os.fspath(keeper.folder / "journal.db"),
            "SWF_BRIDGE_HTTP": self.page.removeprefix("http://"),
            **settings,
        }

    def start(self) -> None:
        """Start the process and return once `/readyz` answers 200. Raises DaemonError."""
        command = [sys.executable, "-m", "bridge", "run"]
        process = self._keeper.spawn(command, env=self._environment, output="daemon")
        self._process = process
        deadline = time.monotonic() + READY_TIMEOUT
        while not self._is_ready():
            if process.poll() is not None:
                raise DaemonError(f"the bridge ended ({process.returncode}):\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise DaemonError(f"the bridge is not ready:\n{self.last_words()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Send SIGKILL; `start()` starts a new process with the same journal."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, seconds: float) -> int | None:
        """Send SIGTERM; return the exit code, or None if it runs on after `seconds`."""
        assert self._process is not None
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def last_words(self, lines: int = 5) -> str:
        """The last lines of the process's output."""
        text = (self._keeper.folder / "daemon").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _is_ready(self) -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{self.page}/readyz", timeout=2) as answer,  # noqa: S310
        ):
            return bool(answer.status == 200)
        return False
