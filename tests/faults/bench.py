"""All parts of the bench: RabbitMQ, SWF, the daemon, workers and load, and the measure."""

import json
import os
import random
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pika
import pika.exceptions

from bridge.conformance.amqp import BoundedConnection
from bridge.local import LocalSwf
from bridge.local.keeper import Keeper
from bridge.local.management import NodeError
from bridge.local.rabbitmq import RabbitNode
from tests.forked import run

from .account import Account, settle_accounts
from .daemon import Daemon, until
from .load import Load
from .workers import Worker

POLLERS = 4
MAX_IN_FLIGHT = 150
LEVEL = 90
IN_FLIGHT = 20
"""Tasks that must be in flight when a fault strikes."""
HOLD = 3.0
"""Seconds for which the bench's SWF holds a poll."""
PROGRESS = 30
"""Tasks that must close after a fault was healed, to show that nothing is stuck."""
TYPES = ("steady", "victim")


@dataclass
class Figures:
    """What is told of one kind of fault at the end."""

    strikes: int = 0
    in_flight: list[int] = field(default_factory=list)
    back: list[float] = field(default_factory=list)


class Bench:
    """`with Bench(seed) as bench:`; every process and file of it ends with the block."""

    def __init__(
        self,
        seed: int,
        *,
        node: RabbitNode | None = None,
        options: Iterable[str] = (),
        level: int = LEVEL,
        max_in_flight: int = MAX_IN_FLIGHT,
        **settings: str,
    ) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.figures: dict[str, Figures] = {}
        self.alone = True
        """Whether one fault strikes, and no other beside it."""
        self.lossy = False
        """A queue with messages in it was deleted: what is owed must be published again."""
        self.damaged: frozenset[str] = frozenset()
        self._stack = ExitStack()
        self._given = node
        self._options = tuple(options)
        self._settings = settings
        self._level = level
        self._max_in_flight = max_in_flight

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._set_up(stack)
            self._stack = stack.pop_all()
        return self

    def _set_up(self, stack: ExitStack) -> None:
        self.keeper = stack.enter_context(Keeper("faults-"))
        self.node = self._given or stack.enter_context(RabbitNode())
        self.vhost = f"faults-{self.keeper.folder.name[-6:]}"
        self.node.add_vhost(self.vhost)
        stack.callback(self._leave_vhost)
        self.node.add_user("bridge", "bridge")
        self.allow()
        self.swf = stack.enter_context(LocalSwf(hold=HOLD, any_domain=True))
        self.clock = self.keeper.folder / "clock"
        self.clock.write_bytes(struct.pack("d", 0.0))
        options = ("heartbeat=3", "confirm=6", f"clock={self.clock}", *self._options)
        self.daemon = Daemon(self.keeper, self._environment(), *options)
        stack.callback(self.daemon.close)
        self.workers = [
            Worker(self.node.url(self.vhost), f"work.{name}", f"{name}.1") for name in TYPES
        ]
        for worker in self.workers:
            worker.start()
            stack.callback(worker.stop)
        self.load = Load(self.swf, TYPES, self._level, self.seed)
        self.load.start()
        stack.callback(self.load.stop)
        self.daemon.start()
        # RabbitMQ 3.10, killed as a quorum queue is declared, comes back with one without a leader.
        if self._level:
            self.await_progress(2 * PROGRESS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _leave_vhost(self) -> None:
        if self._given is not None:
            self.node.delete_vhost(self.vhost)

    def _environment(self) -> dict[str, str]:
        lists = [
            {"name": "load", "pollers": POLLERS, "max_in_flight": self._max_in_flight},
            {"name": "calm", "pollers": 1},
        ]
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": os.fspath(self.keeper.folder),
            "AWS_ENDPOINT_URL_SWF": self.swf.endpoint,
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "SWF_BRIDGE_AMQP_URL": self.url,
            "SWF_BRIDGE_DOMAIN": "demo",
            "SWF_BRIDGE_TASK_LISTS": json.dumps(lists),
            "SWF_BRIDGE_CONTROL": os.fspath(self.keeper.folder / "control.sock"),
            "SWF_BRIDGE_JOURNAL": os.fspath(self.keeper.folder / "journal.db"),
            "SWF_BRIDGE_UNROUTABLE_TIMEOUT": "3600",
            "SWF_BRIDGE_HTTP": "off",
            "SWF_BRIDGE_LOG_LEVEL": "DEBUG",
            "SWF_BRIDGE_LOG_FORMAT": "json",
            **self._settings,
        }

    # --- for faults ---

    @property
    def url(self) -> str:
        """As the daemon connects: a user of its own, whose permissions can be taken away."""
        return self.node.url(self.vhost, "bridge", "bridge")

    def allow(self, configure: str = ".*", write: str = ".*", read: str = ".*") -> None:
        self.node.set_permissions("bridge", configure, write, read, vhost=self.vhost)

    def channel(self, stack: ExitStack) -> Any:
        """A channel of guest's with confirms."""
        connection = BoundedConnection(pika.URLParameters(self.node.url(self.vhost)))
        stack.callback(lambda: connection.is_open and connection.close())
        channel = connection.channel()
        channel.confirm_delivery()
        return channel

    def bind(self, worker: Worker) -> None:
        with ExitStack() as stack:
            worker.stand(self.channel(stack))

    def tokens(self, state: str, limit: int) -> list[str]:
        found = self.swf.tasks(state=state, limit=limit, payload=True)
        return [task["taskToken"] for task in found if task["taskToken"]]

    def messages_in(self, queue: str) -> int:
        """-1 where there is no such queue."""
        with ExitStack() as stack:
            channel = self.channel(stack)
            try:
                return int(channel.queue_declare(queue, passive=True).method.message_count)
            except pika.exceptions.ChannelClosedByBroker:
                return -1

    def has_exchange(self, name: str) -> bool:
        with ExitStack() as stack:
            channel = self.channel(stack)
            try:
                channel.exchange_declare(name, passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                return False
            return True

    def await_replies(self, queue: str, count: int, seconds: float) -> None:
        """Until the workers of one queue have answered so many more tasks."""
        worker = next(worker for worker in self.workers if worker.queue == queue)
        goal = worker.replied + count
        until(lambda: worker.replied >= goal, seconds, f"{count} replies of {queue}", self.words)

    def started(self) -> int:
        """Tasks that SWF gave away and that are not closed."""
        return int(self.swf.counts()["started"])

    def closed(self) -> int:
        return sum(self.swf.counts()["closed"].values())

    def polls(self) -> int:
        """Polls of the load's list that are open."""
        lists = self.swf.counts()["taskLists"]
        return int(lists["demo/load"]["polls"]) if "demo/load" in lists else 0

    def assert_answered_within(self, seconds: float, ids: list[str]) -> None:
        """From the worker's reply to SWF's close, for 95 of 100 tasks."""
        replied = {name: at for worker in self.workers for name, at in worker.replied_at.items()}
        took = []
        for each in ids:
            task = self.swf.task(each)
            assert task["closedAt"], task
            took.append(task["closedAt"] - replied[task["messageId"]])
        took.sort()
        assert took[int(len(took) * 0.95)] <= seconds, took[-10:]

    def mend(self) -> None:
        """Heal what a fault left behind that failed half-way."""
        with suppress(NodeError):
            self.node.start()
        with suppress(OSError, NodeError):
            self.node.resume()
        self.swf.faults.clear()
        self.allow()
        for worker in self.workers:
            worker.idle.clear()
        self.daemon.environment["SWF_BRIDGE_AMQP_URL"] = self.url
        self.step_clock(0.0)
        self.daemon.launch()

    def stranded(self) -> int:
        """Tasks that SWF gave to a daemon that is dead now, or into a broken answer."""
        journal = self.daemon.journalled()
        began = self.daemon.began
        return sum(
            bool(task["unheard"]) or task["startedAt"] < began
            for task in self.swf.tasks(state="started")
            if task["messageId"] not in journal
        )

    def await_in_flight(self, count: int = IN_FLIGHT) -> int:
        """How many tasks the journal holds, once they are so many."""
        stranded = self.stranded()
        self.load.level = self._level + stranded
        goal = count + stranded
        seen = 0

        def enough() -> bool:
            nonlocal seen
            seen = self.started()
            return seen >= goal

        until(enough, 60, f"{count} tasks in flight", self.words)
        return seen - stranded

    def await_progress(self, count: int = PROGRESS, seconds: float = 45.0) -> float:
        """Seconds until so many more tasks were closed."""
        goal = self.closed() + count
        return until(lambda: self.closed() >= goal, seconds, f"{count} more closed", self.words)

    def strike(self, *faults: Callable[["Bench"], Any], hold: float = 1.5) -> None:
        """Let faults befall the running bench together, heal them, and see it work again."""
        self.alone = len(faults) == 1
        for fault in faults:
            known = self.figures.setdefault(fault.__name__, Figures())
            known.strikes += 1
            known.in_flight.append(self.await_in_flight())
        with ExitStack() as stack:
            for fault in faults:
                stack.enter_context(fault(self))
            time.sleep(self.chance.uniform(0.3, 1.0) * hold)
        seconds = self.await_progress()
        for fault in faults:
            self.figures[fault.__name__].back.append(seconds)

    # --- the measure ---

    @property
    def received(self) -> Counter[str]:
        # A copy first, in one go: the workers count on.
        each = (Counter(dict(worker.received)) for worker in self.workers)
        return sum(each, Counter())

    def account(self) -> Account:
        """Now. What a look at one side finds missing is looked for again before it is called so."""
        account = self._look()
        deadline = time.monotonic() + 5
        while account.lost and time.monotonic() < deadline:
            time.sleep(0.3)
            missed = {task["id"] for task in account.lost}
            account = self._look()
            account.lost = [task for task in account.lost if task["id"] in missed]
        return account

    def _look(self) -> Account:
        journal = self.daemon.journalled()
        return settle_accounts(
            self.swf.tasks(payload=True),
            journal=journal,
            polled=self.daemon.polled,
            received=self.received,
            deaths=self.daemon.deaths,
            pollers=POLLERS + 1,
            damaged=self.damaged,
        )

    def finish(self, seconds: float = 90.0) -> Account:
        """No more load; every task is settled, or stands in an account that is final."""
        self.load.stop()
        began = time.monotonic()
        while (account := self.account()).waiting or account.owed:
            if time.monotonic() - began > seconds:
                break
            if self.lossy and time.monotonic() - began > 5:
                self.republish()
            time.sleep(0.5)
        return account

    def await_settled(self, seconds: float = 60.0) -> None:
        """Until every task that is in hand now was settled."""
        held = self.daemon.journalled()

        def settled() -> bool:
            return not held & self.daemon.journalled()

        until(settled, seconds, "every task in hand settled", self.words)

    def cure(self) -> None:
        """Publish again until RabbitMQ took it all: a worker may not have bound its queue yet."""
        until(lambda: self.republish() == 0, 30, "all published again", self.words)
        self.await_settled()

    def republish(self) -> int:
        """The cure for messages that went away with their queue: publish again what is in hand."""
        command = ("-m", "bridge", "tasks", "republish", "--all")
        return run(command, env=self.daemon.environment, timeout=60).returncode

    def step_clock(self, seconds: float) -> None:
        """Move the daemon's wall clock off by so many seconds."""
        with self.clock.open("r+b") as file:  # in place: the daemon has it mapped
            file.write(struct.pack("d", seconds))

    def words(self) -> str:
        return f"seed {self.seed}; {self.swf.counts()}\n{self.daemon.last_words()}"

    def dead_letters(self) -> list[tuple[dict[str, Any], bytes]]:
        """Headers and body of every dead letter; takes them away."""
        found = []
        with ExitStack() as stack:
            channel = self.channel(stack)
            while True:
                method, properties, body = channel.basic_get("swf.replies.dead", auto_ack=True)
                if method is None:
                    return found
                found.append((properties.headers, body))

    @property
    def folder(self) -> Path:
        return self.keeper.folder
