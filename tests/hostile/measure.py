"""What a good worker saw of an attack, and what the attack cost the daemon."""

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bridge.local.rabbitmq import RabbitNode

from .registry import PROMISE, Attack
from .stand import Stand

SECONDS = 10.0
"""For which an attack goes on, and good work is measured beside it, at least."""
LIMIT = 45.0
"""For an attack that takes longer to be made."""
PATIENCE = 10.0
"""Seconds in which tasks may still close that were submitted during the attack."""


@dataclass(frozen=True)
class Figures:
    """One row of the table."""

    attack: Attack
    times: tuple[float, ...]
    """Seconds from each good task's submission to its close, in order; to the end of the patience
    for those that were not closed."""
    peak: int
    """Bytes of memory, over all lives of the daemon during the attack."""
    cpu: float
    """Seconds of CPU that the daemon took of it, in its last life."""
    ends: tuple[int, ...]
    """The exit codes of a daemon that ended."""
    broken: str = ""
    """What else was promised and did not hold."""

    @property
    def in_time(self) -> float:
        """The share of good tasks that were settled within PROMISE."""
        return sum(each <= PROMISE for each in self.times) / len(self.times)

    def within(self, share: float) -> float:
        """The seconds in which such a share of the good tasks was settled."""
        return self.times[min(len(self.times) - 1, int(len(self.times) * share))]

    @property
    def holds(self) -> bool:
        return self.within(0.99) <= PROMISE and not self.ends and not self.broken

    def row(self) -> str:
        verdict = "held" if self.holds else f"BROKEN {self.broken}".rstrip()
        if self.attack.control:
            verdict = "(not the bridge's)"
        return (
            f"{self.attack.name:52} {len(self.times):5} {self.in_time:7.1%}"
            f" {self.within(0.5):7.3f} {self.within(0.99):7.3f} {self.peak / 2**20:7.0f}"
            f" {self.cpu:6.1f} {len(self.ends):8}  {verdict:18}  {self.attack.before}"
        )


HEAD = (
    f"{'attack':52} {'tasks':>5} {'in 2 s':>7} {'p50 s':>7} {'p99 s':>7} {'peak MB':>7}"
    f" {'cpu s':>6} {'restarts':>8}  {'':18}  before"
)


def measure(
    node: RabbitNode,
    attack: Attack,
    seed: int,
    seconds: float = SECONDS,
    *,
    patience: float = PATIENCE,
) -> Figures:
    """Make one attack on a stand of its own. Raises RuntimeError where it cannot be made."""
    with Stand(node, attack, seed) as stand, _Memory(stand) as memory:
        deaths, spent = len(stand.daemon.deaths), _cpu(stand.daemon.pid)
        began, over_at = time.time(), time.monotonic() + seconds
        stand.begin(seconds)
        broken = _await(stand, max(seconds, LIMIT))
        time.sleep(max(0.0, over_at - time.monotonic()))
        ended = time.time()
        stand.submit_no_more()
        times = _all_closed(stand, began, ended, patience)
        took = 0.0 if stand.daemon.deaths[deaths:] else _cpu(stand.daemon.pid) - spent
        if not broken and stand.daemon.said("status.failed", began):
            broken = "the page shows a fault"
        return Figures(
            attack,
            tuple(sorted(seconds for seconds, _ in times)),
            memory.peak,
            took,
            tuple(death.code for death in stand.daemon.deaths[deaths:]),
            broken,
        )


def _await(stand: Stand, seconds: float) -> str:
    """What came of the attack: the promise that it saw broken, or nothing."""
    try:
        told = stand.attack.told(seconds)
    except TimeoutError:
        return "it did not end"
    if isinstance(told, Exception):
        raise told
    return str(told or "")


def _all_closed(
    stand: Stand, began: float, ended: float, patience: float
) -> list[tuple[float, bool]]:
    """Of the good tasks of that time, once all are closed or the patience is over."""
    deadline = time.monotonic() + patience
    while True:
        times = stand.times(began, ended)
        if all(closed for _, closed in times) or time.monotonic() > deadline:
            return times
        time.sleep(0.1)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class _Memory(threading.Thread):
    """Watches the daemon's peak of resident memory, from now on and over its lives."""

    def __init__(self, stand: Stand) -> None:
        super().__init__(name="memory", daemon=True)
        self.peak = 0
        self._stand = stand
        self._over = threading.Event()

    def __enter__(self) -> "_Memory":
        with contextlib.suppress(OSError):  # forget the peak of its start
            Path(f"/proc/{self._stand.daemon.pid}/clear_refs").write_text("5")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.05):
            with contextlib.suppress(OSError, AssertionError, ValueError, StopIteration):
                lines = Path(f"/proc/{self._stand.daemon.pid}/status").read_text().splitlines()
                line = next(each for each in lines if each.startswith("VmHWM"))
                self.peak = max(self.peak, int(line.split()[1]) * 1024)
