"""`python -m bridge run` as a process, seen from outside: environment, signals, log, exit code."""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.cli import client
from bridge.local import LocalSwf
from tests import forked
from tests.brokers import Vhost
from tests.worker import Taken, Worker

ROOT = Path(__file__).parents[2]
LEAVE_TIMEOUT = 20.0
START_TIMEOUT = 60.0
"""Seconds; the first process on a loaded machine imports for long. How soon it has to be there is
measured in test_starting alone."""

Event = dict[str, Any]

MARK = "s3cr3t"
"""Stands in inputs, results and details of the tests, and must never stand in a log."""


Start = Callable[..., "Bridge"]


RUN = ("-m", "bridge", "run")


class Bridge:
    """One daemon after the other on the same journal, with the same settings.

    The log is read as it comes: tests wait for an event of it instead of for time to pass. It
    holds the lives before a restart, too.
    """

    def __init__(self, settings: Mapping[str, str], command: Sequence[str] = RUN) -> None:
        self.settings = settings
        self._command = command
        self.reading = threading.Event()
        """While it is cleared, nobody reads what the daemon writes to standard error."""
        self.reading.set()
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._events: list[Event] = []
        self._process: forked.Process | None = None
        self._reader: threading.Thread | None = None
        self._life = 0

    # --- life ---

    def start(self, *, await_start: bool = True) -> "Bridge":
        """Start it, again after its end; returns when it has said that it has started."""
        assert self._process is None, "it runs already"
        reading, writing = os.pipe()
        self._process = forked.python(
            self._command, env={**forked.SHELL, **self.settings}, stderr=writing
        )
        os.close(writing)
        self._life = len(self._events)
        self._reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._reader.start()
        if await_start:
            self.wait("daemon.started", START_TIMEOUT)
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: int = signal.SIGTERM) -> None:
        os.kill(self.pid, number)

    def leave(self, timeout: float = LEAVE_TIMEOUT) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process is not None
        assert self._reader is not None
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it runs on after {timeout} s:\n{self.log}") from None
        self._reader.join()
        self._process = None
        return code

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.signal()
        return self.leave()

    def kill(self) -> None:
        """SIGKILL: nothing of it can say goodbye."""
        self.signal(signal.SIGKILL)
        self.leave()

    def end(self) -> None:
        """Leave no process behind, whatever has happened."""
        self.reading.set()
        if self._process is not None:
            self._process.kill()
            self.leave()

    def file_size_limit(self, limit: int) -> None:
        """No file of it may grow beyond: a full disk, for it alone; RLIM_INFINITY ends that."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    @property
    def status(self) -> Any:
        """What it tells over its control socket, as `swf-bridge status --json` prints it."""
        journal = Path(self.settings["SWF_BRIDGE_JOURNAL"])
        given = argparse.Namespace(control=journal.with_suffix(".sock"), instance=None, peer=None)
        return client.result(given, "status")

    # --- log ---

    @property
    def log(self) -> str:
        """Everything that it has written to standard error in all its lives."""
        with self._changed:
            return "".join(self._lines)

    def events(self, event: str, **fields: Any) -> list[Event]:
        """The events so named, with these fields, of all its lives."""
        with self._changed:
            return [each for each in self._events if _matches(each, event, fields)]

    def wait(self, event: str, seconds: float = 15, *, count: int = 1, **fields: Any) -> Event:
        """The event, once it stands in the log of the present life `count` times."""
        deadline = time.monotonic() + seconds
        found: list[Event] = []
        with self._changed:
            looked_at = self._life
            while True:
                found += [e for e in self._events[looked_at:] if _matches(e, event, fields)]
                looked_at = len(self._events)
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0 or not self._lives():
                    raise AssertionError(f"no {event} {fields}:\n{''.join(self._lines)}")
                self._changed.wait(min(left, 0.5))

    def wait_connected(self, seconds: float = 15, *, count: int = 1) -> None:
        """Return once the connections without which `status` exits with 70 were made `count` times.

        They are made one after the other, in any order.
        """
        for connection in ("publisher", "consumer"):
            self.wait("broker.connected", seconds, count=count, connection=connection)

    def _lives(self) -> bool:
        assert self._reader is not None
        return self._reader.is_alive()

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb") as stream:
            for line in stream:
                self._note(line.decode())
                self.reading.wait()
        with self._changed:
            self._changed.notify_all()

    def _note(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = {}
        with self._changed:
            self._lines.append(line)
            if isinstance(event, dict):
                self._events.append(event)
            self._changed.notify_all()


def _matches(event: Event, name: str, fields: Mapping[str, Any]) -> bool:
    return event.get("event") == name and all(event.get(k) == v for k, v in fields.items())


def settings(swf: LocalSwf, url: str, folder: Path, **more: object) -> dict[str, str]:
    """An environment that works: two pollers on the list `demo` of the domain `demo`.

    `more` are our variables without their prefix, in lower case; others by their full name.
    """
    ours: dict[str, object] = {
        "amqp_url": url,
        "domain": "demo",
        "task_lists": "demo",
        "journal": folder / "journal.db",
        "http": "off",
        "log_level": "DEBUG",
        "log_format": "json",
        "drain_timeout": 10,
    }
    given = {
        "HOME": folder,
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_ENDPOINT_URL_SWF": swf.endpoint,
    }
    for name, value in {**ours, **more}.items():
        given[name if name.isupper() else f"SWF_BRIDGE_{name.upper()}"] = value
    return {name: str(value) for name, value in given.items()}


def peak(bridge: Bridge) -> int:
    """The most memory that the daemon has had, in bytes."""
    status = Path(f"/proc/{bridge.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def notice_queue(vhost: Vhost) -> str:
    """The queue in which the vhost's only instance hears of the others, once it has one.

    Its queue `swf.bridge.lock.ID` comes and goes beside it with a connection.
    """
    queues = [each["name"] for each in vhost.api.call("GET", f"queues/{vhost.name}")]
    (found,) = [name for name in queues if name.startswith("swf.bridge.quorum.")]
    return str(found)


def check_log(bridge: Bridge, swf: LocalSwf) -> None:
    """Nothing secret stands in the log, and nothing unexpected was met."""
    log = bridge.log
    assert MARK not in log
    for task in swf.tasks(payload=True):
        assert not task["taskToken"] or task["taskToken"] not in log
    for unexpected in ("exception.uncaught", "broker.callback_failed", "reply.unexpected"):
        assert not bridge.events(unexpected), log


@dataclass
class Site:
    """A running daemon with an SWF and a worker, whose queue `work` gets every task."""

    swf: LocalSwf
    bridge: Bridge
    worker: Worker

    def hand_out(self, name: str = "echo", version: str = "1.0", **task: Any) -> tuple[str, Taken]:
        """Submit a task, and take its message."""
        task_id = self.swf.submit(name, version, **task)
        while True:
            taken = self.worker.take()
            if taken.properties.message_id == self.swf.task(task_id)["messageId"]:
                return task_id, taken

    def closed(self, task_id: str, seconds: float = 10) -> dict[str, Any]:
        """What SWF has of the task, once it is closed."""
        assert self.swf.wait_closed(task_id, seconds), self.bridge.log
        return self.swf.task(task_id, payload=True)


class Operator:
    """A shell on the same machine, without the daemon's settings."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "journal.sock"

    def _command(self, args: Sequence[str]) -> list[str]:
        return ["-m", "bridge", *args, "--control", str(self._socket)]

    def run(self, *args: str) -> tuple[int, str, str]:
        ended = forked.run(self._command(args))
        assert "Traceback" not in ended.stderr
        return ended.returncode, ended.stdout, ended.stderr

    def begin(self, *args: str, **streams: Any) -> subprocess.Popen[str]:
        """The same, without waiting for its end."""
        command = [sys.executable, *self._command(args)]
        shell: Any = {"cwd": ROOT, "env": forked.SHELL, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(command, text=True, **shell, **streams)

    def json(self, *args: str) -> Any:
        code, out, err = self.run(*args, "--json")
        assert code == 0, err
        return json.loads(out)
