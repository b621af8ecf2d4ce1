"""What a good worker saw of an attack, and what the attack cost the daemon."""

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bridge.local.rabbitmq import RabbitNode

from .registry import PROMISE, Attack
from .site import Site

SECONDS = 10.0
"""For which an attack goes on, and good work is measured beside it, at least."""
LIMIT = 45.0
"""For an attack that takes longer to be made."""
PATIENCE = 10.0
"""Seconds in which tasks may still close that were submitted during the attack."""


@dataclass(frozen=True)
class Figures:
    """One row of the table."""

    name: str
    tasks: int
    in_time: float
    """The share of good tasks that were settled within PROMISE."""
    p99: float
    peak: int
    """Bytes of memory, over all lives of the daemon during the attack."""
    ends: tuple[int, ...]
    """The exit codes of a daemon that ended."""
    broken: str = ""
    """What else was promised and did not hold."""

    @property
    def holds(self) -> bool:
        return self.p99 <= PROMISE and not self.ends and not self.broken

    def row(self) -> str:
        peak = f"{self.peak / 2**20:.0f} MB"
        verdict = "held" if self.holds else f"BROKEN {self.broken}"
        return (
            f"{self.name:50} {self.tasks:5} {self.in_time:9.1%} {self.p99:8.3f} s"
            f" {peak:>12} {len(self.ends):8}  {verdict}"
        )


HEAD = f"{'attack':50} {'tasks':>5} {'in 2 s':>9} {'p99':>10} {'peak memory':>12} {'restarts':>8}"


def measure(node: RabbitNode, attack: Attack, seed: int, seconds: float = SECONDS) -> Figures:
    """Make one attack on a site of its own. Raises what the attack raises, but AssertionError."""
    with Site(node, attack, seed) as site, _Memory(site) as memory:
        deaths = len(site.daemon.deaths)
        began = time.time()
        site.begin(seconds)
        made = _Made(attack, site)
        made.join(seconds if seconds > LIMIT else LIMIT)
        while site.attacking(every=0.1):
            pass
        ended = time.time()
        site.good.pause()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            times = site.good.times(began, ended)
            if all(closed for _, closed in times):
                break
            time.sleep(0.1)
        if made.error is not None and not isinstance(made.error, AssertionError):
            raise made.error
        took = sorted(seconds for seconds, _ in times)
        return Figures(
            attack.name,
            len(took),
            sum(each <= PROMISE for each in took) / len(took),
            took[int(len(took) * 0.99)],
            memory.peak,
            tuple(death.code for death in site.daemon.deaths[deaths:]),
            f"{made.error or ''}" or ("it did not end" if made.is_alive() else ""),
        )


class _Made(threading.Thread):
    """The attack, on a thread of its own."""

    def __init__(self, attack: Attack, site: Site) -> None:
        super().__init__(name=attack.name, daemon=True)
        self.error: BaseException | None = None
        self._attack = attack
        self._site = site
        self.start()

    def run(self) -> None:
        try:
            self._attack.run(self._site)
        except BaseException as error:
            self.error = error


class _Memory(threading.Thread):
    """Watches the daemon's peak of resident memory, from now on and over its lives."""

    def __init__(self, site: Site) -> None:
        super().__init__(name="memory", daemon=True)
        self.peak = 0
        self._site = site
        self._over = threading.Event()

    def __enter__(self) -> "_Memory":
        with contextlib.suppress(OSError):  # forget the peak of its start
            Path(f"/proc/{self._site.daemon.pid}/clear_refs").write_text("5")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.05):
            with contextlib.suppress(OSError, AssertionError, ValueError, StopIteration):
                lines = Path(f"/proc/{self._site.daemon.pid}/status").read_text().splitlines()
                line = next(each for each in lines if each.startswith("VmHWM"))
                self.peak = max(self.peak, int(line.split()[1]) * 1024)
