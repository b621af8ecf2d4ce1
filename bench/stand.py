"""What every subject runs on: a RabbitMQ, a local SWF and a worker, each a process of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from bridge.local import LocalClient
from bridge.local.ports import free_ports
from bridge.local.rabbitmq import RabbitNode

ROOT = Path(__file__).parents[1]
DOMAIN, TASK_LIST = "demo", "bench"
TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 240.0


class Process:
    """A process of ours, and what the kernel tells of it."""

    def __init__(self, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **(environment or {})},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if "BENCH_QUIET" in os.environ else None,
            text=True,
        )
        self.pid = self._process.pid

    def cpu(self) -> float:
        """Seconds of CPU so far, user and system, of all its threads."""
        return cpu_of(self.pid)

    def memory(self, field: str = "VmRSS") -> float:
        """Megabytes in memory now; of the peak with ``VmHWM``."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(f"{field}:")[2].split()[0]) / 1024

    def say(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it at once, where it was not before."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


def cpu_of(pid: int) -> float:
    """Seconds of CPU, user and system, of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def until(condition: Callable[[], bool], what: str, every: float = 0.01) -> None:
    """Wait for it; RuntimeError after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"it did not happen in {PATIENCE:.0f} s: {what}")
        time.sleep(every)


class Stand:
    """``with Stand(node) as stand:`` a new vhost, a new SWF, a new worker; all ends with it."""

    def __init__(self, node: RabbitNode, *, worker: bool = True) -> None:
        self.node = node
        self._vhost = f"bench-{time.monotonic_ns()}"
        self._ends = ExitStack()
        self._wants_worker = worker

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self.node.add_vhost(self._vhost)
            ends.callback(self.node.delete_vhost, self._vhost)
            self.url = self.node.url(self._vhost)
            self.folder = Path(tempfile.mkdtemp(prefix="swf-bench-", dir=ROOT / "build"))
            ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
            (port,) = free_ports(1)
            self.endpoint = f"http://127.0.0.1:{port}"
            self.swf_process = self._spawned(
                ends, ["-m", "bridge", "local", "run", "--listen", f"127.0.0.1:{port}"]
            )
            self.swf = LocalClient(self.endpoint)
            until(self._swf_answers, "the local SWF is up")
            if self._wants_worker:
                self.worker = self._spawned(ends, ["-m", "bench.worker", self.url])
                self.worker.say()
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends.close()

    def run(self, command: list[str], environment: Mapping[str, str]) -> Process:
        """A subject's process; ended with the stand, where it was not before."""
        aws = {
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL_SWF": self.endpoint,
        }
        return self._spawned(self._ends, command, {**aws, **environment})

    def polls(self) -> int:
        """Polls that are held now."""
        return int(self.swf.counts()["polls"])

    def submit(self, count: int, *, name: str = "greet", length: int = 200) -> list[str]:
        """Schedule so many tasks at once."""
        task = {
            "name": name,
            "version": "1",
            "domain": DOMAIN,
            "taskList": TASK_LIST,
            "input": "x" * length if length else None,
            "count": count,
        }
        return self.swf.submit_many([task])

    def _swf_answers(self) -> bool:
        try:
            self.swf.counts()
        except OSError:
            return False
        return True

    def _spawned(
        self, ends: ExitStack, command: list[str], environment: Mapping[str, str] | None = None
    ) -> Process:
        process = Process(command, environment)
        ends.callback(process.kill)
        return process
