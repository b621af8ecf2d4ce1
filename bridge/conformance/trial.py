"""What the checks of one trial share: SWF, broker, bridge and worker, and how to wait for them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bridge.conformance.amqp import (
    DEAD_LETTERS,
    DEFAULT_REPLIES,
    REPLIES,
    Broker,
    Taken,
    status,
    token_of,
)
from bridge.conformance.worker import WorkerProcess
from bridge.local import LocalSwf
from bridge.local.daemon import Daemon

STARTING = 20.0
"""Seconds for a worker to start and bind its queue."""
RETURNING = 40.0
"""Seconds for a worker to come back and do a task, with RabbitMQ started just before."""


class Unmet(Exception):
    """The worker did otherwise; the message says what came."""


class Unseen(Exception):
    """What the worker did cannot be told; the message says why."""


@dataclass(frozen=True)
class Role:
    """A type of activity that the worker does, and an input for it."""

    name: str
    version: str
    input: str | None = None

    @property
    def key(self) -> str:
        """Its routing key, by the default of `SWF_BRIDGE_ROUTING_KEY`."""
        return f"{self.name}.{self.version}"


@dataclass(frozen=True)
class Plan:
    """Which activities the worker is asked for. None: it has no such activity."""

    echo: Role = Role("Text.echo", "1.0")
    """Gives back its input, unless it has results of its own."""
    fail: Role | None = Role("Order.check", "1.0", '{"order": 7, "amount": -5}')
    """Fails with a reason."""
    slow: Role | None = Role("Video.encode", "2.0", '{"steps": 15}')
    """Takes 3 to 6 s, beats about once a second, and looks at the answers."""
    own_results: bool = False
    """Whatever result the worker completes with will do, where the input would be expected."""
    heartbeat: float = 2.0
    """The slow activity's heartbeat time-out, in seconds."""
    patience: float = 10.0
    """Seconds in which anything that is not slow has to happen."""

    def roles(self) -> list[Role]:
        """Those that the worker has."""
        return [role for role in (self.echo, self.fail, self.slow) if role is not None]


@dataclass
class Trial:
    """One worker under trial. `worker` is None where it was started by someone else."""

    plan: Plan
    swf: LocalSwf
    broker: Broker
    bridge: Daemon
    worker: WorkerProcess | None
    restart_broker: Callable[[], object] | None = None
    """Restarts RabbitMQ; None where it is not ours to restart."""
    beaten: set[object] = field(default_factory=set)
    """The tokens of tasks of ours for which a heartbeat came."""
    first_reply: Taken | None = field(default=None, repr=False)
    reply_queue: str = ""
    """Where the first reply came."""
    dead_letters: list[str] = field(default_factory=list)

    def submit(self, role: Role, task_input: str | None = None, **task: Any) -> str:
        """Schedule a task in SWF; its id there."""
        given = role.input if task_input is None else task_input
        return self.swf.submit(role.name, role.version, given, **task)

    def closed(self, task_id: str, seconds: float | None = None) -> dict[str, Any]:
        """The task once it is closed. Raises Unmet."""
        patience = seconds or self.plan.patience
        if not self.swf.wait_closed(task_id, patience):
            raise Unmet(f"nothing in {patience:.0f} s{self._hints()}")
        return self.swf.task(task_id, payload=True)

    def completed(self, task_id: str, seconds: float | None = None) -> dict[str, Any]:
        """The task once it is completed. Raises Unmet where it ends otherwise."""
        task = self.closed(task_id, seconds)
        if task["state"] != "completed":
            reason = f": {task['reason']}" if task["reason"] else ""
            raise Unmet(f"{task['state']} {task['timeoutType'] or ''}".strip() + reason)
        return task

    def at_work(self) -> str:
        """A slow task on which the worker has begun: it has beaten. Raises Unmet."""
        assert self.plan.slow is not None
        task_id = self.submit(self.plan.slow)
        self.until(lambda: bool(self.swf.task(task_id)["heartbeats"]), "no heartbeat")
        return task_id

    def until(
        self, condition: Callable[[], bool], otherwise: str, seconds: float | None = None
    ) -> None:
        """Wait for it. Raises Unmet with `otherwise`."""
        patience = seconds or self.plan.patience
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise Unmet(f"{otherwise} in {patience:.0f} s{self._hints()}")
            self.broker.sleep(0.05)

    def reply_without_bridge(self) -> tuple[str, Taken]:
        """The worker's reply to a task of ours, and the queue to which it came. Raises Unmet."""
        echo, deadline = self.plan.echo, time.monotonic() + STARTING
        handed_out = None
        while time.monotonic() < deadline:
            if handed_out is None:
                handed_out = self.broker.hand_out(echo.name, echo.version, "hello")
            for queue in (REPLIES, DEFAULT_REPLIES) if handed_out else ():
                if taken := self.take_reply(queue):
                    return queue, taken
            if self.worker is not None and self.worker.exit_code is not None:
                break
            self.broker.sleep(0.05)
        cause = "no reply came" if handed_out else f"no queue is bound for {echo.key}"
        raise Unmet(f"{cause} in {STARTING:.0f} s{self._hints()}")

    def begun(self, token: str) -> bool:
        """Whether the worker has beaten for this task of ours."""
        self.take_reply(self.reply_queue)
        return token in self.beaten

    def replies_up_to(self, token: str, otherwise: str = "no reply") -> list[Taken]:
        """The replies that come, up to that to this task of ours. Raises Unmet."""
        found: list[Taken] = []

        def came() -> bool:
            if taken := self.take_reply(self.reply_queue):
                found.append(taken)
            return taken is not None and token_of(taken) == token

        self.until(came, otherwise)
        return found

    def reply_of_one_that_starts(self, queue: str, otherwise: str) -> Taken:
        """The next reply there, of a worker that is started anew where it ends. Raises Unmet."""
        assert self.worker is not None
        worker, found = self.worker, []

        def came() -> bool:
            if worker.exit_code is not None:
                worker.start()
            if taken := self.take_reply(queue):
                found.append(taken)
            return bool(found)

        self.until(came, otherwise, RETURNING)
        return found[0]

    def take_reply(self, queue: str) -> Taken | None:
        """The next reply there that is no heartbeat; a heartbeat is answered: go on."""
        taken = self.broker.take(queue)
        if taken is None or status(taken) != "heartbeat":
            return taken
        self.beaten.add(token_of(taken))
        if taken.properties.reply_to:
            self.broker.answer(taken)
        return None

    def read_dead_letters(self) -> None:
        """Note why replies of the worker were dead-lettered since the last time."""
        while letter := self.broker.take(DEAD_LETTERS):
            code, detail = (
                letter.headers.get(f"swf-bridge-error{part}") for part in ("", "-detail")
            )
            self.dead_letters.append(f"{code}: {detail}")

    def clear_up(self) -> None:
        """After a check that failed: no task of it stays open, and a worker that ended is back."""
        for task in self.swf.tasks(state="open"):
            self.swf.terminate(task["id"])
        if self.worker is not None and self.worker.exit_code is not None:
            self.worker.start()

    def _hints(self) -> str:
        """What the worker printed last, and whether it runs at all."""
        if self.worker is None:
            return ""
        ended = self.worker.exit_code
        state = "" if ended is None else f"; the worker ended ({ended})"
        words = self.worker.last_words()
        return f"{state}; it printed:\n{words}" if words else state
