"""What befalls the daemon itself: signals, clocks, and its journal."""

import fcntl
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .daemon import until
from .registry import DAEMON, JOURNAL, fault

if TYPE_CHECKING:
    from .bench import Bench

UNLIMITED = resource.RLIM_INFINITY


@fault(DAEMON)
def killed(bench: "Bench") -> Iterator[None]:
    bench.daemon.kill()
    yield


@fault(DAEMON)
def killed_as_it_starts(bench: "Bench") -> Iterator[None]:
    for _ in range(3):
        deaths = len(bench.daemon.deaths)
        bench.daemon.kill()
        until(lambda n=deaths: len(bench.daemon.deaths) > n, 10, "the daemon's end")
        until(lambda: bench.daemon.running, 10, "a new daemon")
        time.sleep(bench.chance.uniform(0.0, 2.0))
    yield


@fault(DAEMON)
def terminated(bench: "Bench") -> Iterator[None]:
    """SIGTERM: it drains, with the tasks that open polls still bring, and ends with 0."""
    code = bench.daemon.stop()
    assert code == 0, f"exit code {code} after SIGTERM"
    yield
    bench.daemon.start()


@fault(DAEMON)
def terminated_twice(bench: "Bench") -> Iterator[None]:
    bench.daemon.send(signal.SIGTERM)
    time.sleep(bench.chance.uniform(0.1, 1.0))
    code = bench.daemon.stop(seconds=10.0)
    assert code == 0, f"exit code {code} after SIGTERM twice"
    yield
    bench.daemon.start()


@fault(DAEMON)
def paused(bench: "Bench") -> Iterator[None]:
    """Beyond the heartbeat: RabbitMQ gives the connections up meanwhile."""
    bench.daemon.send(signal.SIGSTOP)
    try:
        time.sleep(10)
        yield
    finally:
        bench.daemon.send(signal.SIGCONT)


@fault(DAEMON)
def clock_stepped(bench: "Bench") -> Iterator[None]:
    """Two hours forward, then four back, then right again."""
    for hours in (2, -2):
        bench.step_clock(hours * 3600.0)
        bench.await_progress(5, seconds=30)
    yield
    bench.step_clock(0.0)


@fault(DAEMON)
def first_broker_without_address(bench: "Bench") -> Iterator[None]:
    """DNS fails for the first of two brokers."""
    bench.daemon.stop()
    urls = f"amqp://bridge:bridge@no-such-host.invalid:5672/%2F,{bench.url}"
    bench.daemon.environment["SWF_BRIDGE_AMQP_URL"] = urls
    bench.daemon.start()
    bench.await_progress(5, seconds=60)
    yield
    bench.daemon.environment["SWF_BRIDGE_AMQP_URL"] = bench.url


@fault(JOURNAL)
def journal_disk_full(bench: "Bench") -> Iterator[None]:
    """No file may grow: every write of the journal fails, as on a full disk, until it may again."""
    mark = bench.daemon.mark()
    pid = bench.daemon.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, UNLIMITED))
    try:
        bench.daemon.await_event("journal.lost", since=mark)
        yield
    finally:
        if bench.daemon.running and bench.daemon.pid == pid:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))


@fault(JOURNAL)
def journal_read_only(bench: "Bench") -> Iterator[None]:
    """As its file system is after an error: the daemon says so, and is started until it can."""
    bench.daemon.stop(signal.SIGKILL)
    deaths = len(bench.daemon.deaths)
    mark = bench.daemon.mark()
    bench.daemon.wrapper = _read_only(bench.folder)
    bench.daemon.launch()
    until(lambda: len(bench.daemon.deaths) > deaths, 20, "the end of the daemon")
    said = [each["text"] for each in bench.daemon.said("printed", mark)]
    assert any("SWF_BRIDGE_JOURNAL" in line and "Read-only" in line for line in said), said
    assert bench.daemon.deaths[-1].code == 70
    yield
    bench.daemon.wrapper = ()
    bench.daemon.await_event("daemon.started", since=mark)


def _read_only(folder: Path) -> tuple[str, ...]:
    """Runs a command that finds the folder read-only, in a mount namespace of its own."""
    mounts = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    return ("unshare", "--mount", *user, "sh", "-c", mounts, os.fspath(folder))


@fault(JOURNAL)
def journal_truncated(bench: "Bench") -> Iterator[None]:
    _damage(bench, lambda path: os.truncate(path, os.path.getsize(path) // 2))
    yield


@fault(JOURNAL)
def journal_overwritten(bench: "Bench") -> Iterator[None]:
    def overwrite(path: str) -> None:
        with open(path, "r+b") as file:
            file.write(os.urandom(4096))

    _damage(bench, overwrite)
    yield


def _damage(bench: "Bench", how: Callable[[str], None]) -> None:
    """Of a dead daemon, whose write-ahead log is gone too: only so is all of it hurt."""
    bench.daemon.stop(signal.SIGKILL)
    bench.damaged |= bench.daemon.deaths[-1].journalled
    path = os.fspath(bench.daemon.journal)
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    how(path)
    mark = bench.daemon.mark()
    bench.daemon.start()
    assert bench.daemon.said("journal.corrupt", mark), "a damaged journal is not spoken of"


@fault(JOURNAL)
def journal_from_a_newer_version(bench: "Bench") -> Iterator[None]:
    """It is not touched: exit code 78, and the tasks are there for the version that knows it."""
    bench.daemon.stop(signal.SIGKILL)
    version = _version(bench, 99)
    deaths = len(bench.daemon.deaths)
    bench.daemon.launch()
    until(lambda: len(bench.daemon.deaths) > deaths, 20, "the end of the daemon")
    assert bench.daemon.deaths[-1].code == 78
    yield
    _version(bench, version)
    bench.daemon.start()


def _version(bench: "Bench", new: int) -> int:
    db = sqlite3.connect(bench.daemon.journal)
    (old,) = db.execute("PRAGMA user_version").fetchone()
    db.execute(f"PRAGMA user_version = {new}")
    db.close()
    return int(old)


@fault(JOURNAL)
def journal_held_by_another(bench: "Bench") -> Iterator[None]:
    """It waits until the other lets go."""
    bench.daemon.stop(signal.SIGKILL)
    lock = os.open(f"{bench.daemon.journal}.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = bench.daemon.mark()
        bench.daemon.launch()
        bench.daemon.await_event("journal.held", since=mark)
        yield
    finally:
        os.close(lock)
    bench.daemon.await_event("daemon.started", since=mark)
