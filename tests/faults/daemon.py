"""The daemon as a process under a supervisor that does what systemd would do for it."""

import contextlib
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import Any

from bridge.local.keeper import Keeper
from tests.forked import ROOT, Process, python

LAUNCH = "tests.faults.launch"
RESTART_AFTER = 0.3
NOT_RESTARTED = (0, 64, 78)
HISTORY = 200_000


@dataclass(frozen=True)
class Death:
    """An end of the daemon: when, its exit code, and the ids in its journal then."""

    at: float
    code: int
    began: float
    journalled: frozenset[str] = field(repr=False)


class Daemon:
    """`swf-bridge run`, started again whenever it ends otherwise than asked to."""

    def __init__(self, keeper: Keeper, environment: Mapping[str, str], *options: str) -> None:
        self.journal = keeper.folder / "journal.db"
        self.options = options
        self.environment = dict(environment)
        self.wrapper: tuple[str, ...] = ()
        """A command that runs the daemon, if it is not run as it is."""
        self.deaths: list[Death] = []
        self.events: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        """What it logged, over all its lives."""
        self.polled: set[str] = set()
        """Ids of tasks that it said it had journalled."""
        self._keeper = keeper
        self._process: Process | None = None
        self.began = 0.0
        """When the present life began; Unix time."""
        self._wanted = False
        self._over = False
        self._lock = threading.RLock()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        with self._lock:
            self._wanted = True
            if self._process is None:
                self._spawn()

    def start(self, *, seconds: float = 30.0) -> None:
        """Returns once it says that it has started."""
        mark = self.mark()
        self.launch()
        self.await_event("daemon.started", since=mark, seconds=seconds)

    def kill(self) -> None:
        """SIGKILL; the supervisor starts it again."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Ask it to end, and not to be started again; its exit code."""
        with self._lock:
            self._wanted = False
            if self._process is not None:
                self.send(number)
        return self.await_end(seconds)

    def await_end(self, seconds: float = 60.0) -> int:
        """The exit code of a daemon that was asked to end."""
        until(lambda: self._process is None, seconds, "the end of the daemon", self.last_words)
        return self.deaths[-1].code

    def close(self) -> None:
        self._over = True
        self._supervisor.join()

    # --- what it says ---

    def mark(self) -> float:
        return time.time()

    def said(self, event: str, since: float = 0.0) -> list[dict[str, Any]]:
        return [e for e in list(self.events) if e.get("event") == event and e["heard"] >= since]

    def await_event(self, event: str, *, since: float, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not self.said(event, since):
            if time.monotonic() > deadline:
                raise AssertionError(f"no {event} within {seconds:.0f} s: {self.last_words()}")
            time.sleep(0.03)

    def last_words(self, count: int = 15) -> str:
        return "\n".join(json.dumps(e) for e in list(self.events)[-count:])

    def journalled(self) -> frozenset[str]:
        """The ids that stand in the journal now. Another reader does not disturb the daemon."""
        for _ in range(20):
            with contextlib.suppress(sqlite3.Error, OSError):
                return _ids(self.journal, live=self.running)
            time.sleep(0.1)
        return frozenset()

    # --- the supervisor ---

    def _spawn(self) -> None:
        command = ["-m", LAUNCH, *self.options, "--", "run"]
        reading, writing = os.pipe()  # a file would be subject to the limits that faults set
        if self.wrapper:
            self._process = self._keeper.spawn(
                [*self.wrapper, sys.executable, *command],
                env={**self.environment, "PYTHONPATH": str(ROOT)},
                output=f"/dev/fd/{writing}",
            )
        else:
            self._process = python(
                command,
                env=self.environment,
                stdout=writing,
                stderr=writing,
                group=self._keeper.group,
            )
        os.close(writing)
        self.began = time.time()
        threading.Thread(target=self._listen, args=(reading,), daemon=True).start()

    def _listen(self, descriptor: int) -> None:
        with open(descriptor, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._hear(line)

    def _hear(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = {"event": "printed", "text": line.rstrip()}
        if not isinstance(event, dict):
            return
        event["heard"] = time.time()
        if event.get("event") == "task.polled":
            self.polled.add(event["task"])
        self.events.append(event)

    def _supervise(self) -> None:
        while not self._over:
            process = self._process
            if process is not None and (code := process.poll()) is not None:
                with self._lock:
                    self._note(code)
                    if not self._wanted or code in NOT_RESTARTED:
                        continue
                time.sleep(RESTART_AFTER)
                with self._lock:
                    if self._wanted and not self._over and self._process is None:
                        self._spawn()
            time.sleep(0.02)

    def _note(self, code: int) -> None:
        ids: frozenset[str] = frozenset()
        with contextlib.suppress(sqlite3.Error, OSError):
            ids = _ids(self.journal, live=False)
        self._process = None
        self.deaths.append(Death(time.time(), code, self.began, ids))


def _ids(journal: Path, *, live: bool) -> frozenset[str]:
    """Of a process that lives by a reader's lock; of a dead one from a copy, for a look at the
    original would recover it.
    """
    if live:
        return _read(f"file:{journal}?mode=ro")
    copy = journal.with_name("look.db")
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
        if Path(f"{journal}{suffix}").exists():
            copyfile(f"{journal}{suffix}", f"{copy}{suffix}")
    return _read(f"file:{copy}")


def _read(uri: str) -> frozenset[str]:
    db = sqlite3.connect(uri, uri=True, timeout=5)
    try:
        return frozenset(row[0] for row in db.execute("SELECT id FROM task"))
    finally:
        db.close()


Condition = Callable[[], bool]


def until(condition: Condition, seconds: float, what: str, words: Callable[[], str] = str) -> float:
    """Seconds that it took; AssertionError with `words` where it took too long."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what}\n{words()}")
        time.sleep(0.05)
    return time.monotonic() - began
