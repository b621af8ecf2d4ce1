"""What an attack sees, in a process of its own: a worker's login, its tasks, and the daemon's page.

The good worker, SWF, the daemon and who measures are other processes: what an attack takes of its
own interpreter delays none of them.
"""

import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import pika

from bridge.conformance.amqp import BoundedConnection
from bridge.local import LocalClient
from bridge.local.management import HttpApi

from .attacker import Attacker
from .liar import Liar

Body = Callable[["Site"], None]


@dataclass(frozen=True)
class Ground:
    """Where an attack is made, as its process is told before there is a daemon."""

    seed: int
    endpoint: str
    """Of SWF itself."""
    liar_port: int
    """Where the endpoint listens that passes calls on to it; 0 for none."""
    amqp: str
    admin: str
    """RabbitMQ's address for the attacker's login and for an administrator's."""
    api: str
    vhost: str
    page: str
    """Host and port of the daemon's page."""
    environment: Mapping[str, str]
    """The daemon's, for what an operator does meanwhile."""


class Site:
    """What the functions that `attack` registers are given."""

    def __init__(self, ground: Ground, ends: ExitStack) -> None:
        self.chance = random.Random(ground.seed)
        self.swf = LocalClient(ground.endpoint)
        self.node = HttpApi(ground.api)
        self.vhost = ground.vhost
        self.page = ground.page
        self.attacker = Attacker(ground.amqp, "greeter", "Greeter.say.1.0")
        ends.callback(self.attacker.close)
        if ground.liar_port:
            self.liar = ends.enter_context(Liar(ground.endpoint, ground.liar_port))
        self.admin = ground.admin
        self._ground = ground
        self._ends = ends
        self._over_at = 0.0
        self._daemon = 0

    def begin(self, seconds: float, daemon: int) -> None:
        """The attack begins; `daemon` is the process id."""
        self._over_at = time.monotonic() + seconds
        self._daemon = daemon

    def attacking(self, every: float = 0.0) -> bool:
        """Whether to go on; waits a moment first, where the attack is to be made every so often."""
        left = self._over_at - time.monotonic()
        if every and left > 0:
            time.sleep(min(every, left))
        return time.monotonic() < self._over_at

    def tokens(self, count: int = 1) -> list[str]:
        """Of so many open tasks that were given to the attacker as its own."""
        for _ in range(count):
            self.swf.submit("Greeter.say", "1.0", task_list="attacked")
        return [self.attacker.take().json["taskToken"] for _ in range(count)]

    def operator(self, *command: str, seconds: float = 10.0) -> None:
        """An operator's command meanwhile; AssertionError where it fails or is slow."""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "bridge", *command],
                env=dict(self._ground.environment),
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{' '.join(command)} takes over {seconds:.0f} s") from None
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-300:]!r}"

    def channel(self) -> Any:
        """A channel of an administrator's, to set the stage with."""
        connection = BoundedConnection(pika.URLParameters(self.admin))
        self._ends.callback(lambda: connection.is_open and connection.close())
        return connection.channel()

    def kill_daemon(self) -> None:
        """What no attack may reach: for a measure of the measure."""
        os.kill(self._daemon, signal.SIGKILL)

    def page_answers(self, path: str = "/metrics", seconds: float = 2.0, **headers: str) -> str:
        """What the daemon tells over HTTP; AssertionError where that is not in time, or no 200."""
        return page_answers(self.page, path, seconds, **headers)


def page_answers(page: str, path: str = "/metrics", seconds: float = 2.0, **headers: str) -> str:
    """What the page at `HOST:PORT` answers; AssertionError where that is not in time, or no 200."""
    request = urllib.request.Request(f"http://{page}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return str(answer.read().decode())
    except OSError as error:
        raise AssertionError(f"{path} of the daemon's page: {error}") from error


def make(run: Body, ground: Ground, pipe: Connection) -> None:
    """The attack's process: ready, begin, what came of it, and the end with the pipe's.

    It says what promise was broken, None where none was; or the error itself, where the attack
    could not be made.
    """
    with ExitStack() as ends:
        site = Site(ground, ends)
        pipe.send("ready")
        site.begin(*pipe.recv())
        told: str | Exception | None = None
        try:
            run(site)
        except AssertionError as error:
            told = str(error) or "a promise"
        except Exception as error:
            told = RuntimeError(f"{type(error).__name__}: {error}")
        pipe.send(told)
        with suppress(EOFError):  # the liar goes on, and what is open stays so, until then
            pipe.recv()
