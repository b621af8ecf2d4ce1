"""The state that the checks of a trial share: SWF, broker, bridge, worker, and waits for them."""

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
"""Seconds for a worker to start, bind its queue and send its first reply."""


class Unmet(Exception):
    """The worker failed a check; the message says what it did."""


class Unseen(Exception):
    """The check could not decide; the message says why."""


@dataclass(frozen=True)
class Role:
    """An activity type of the worker, and an input for it."""

    name: str
    version: str
    input: str | None = None

    @property
    def key(self) -> str:
        """The routing key, by the default of `SWF_BRIDGE_ROUTING_KEY`."""
        return f"{self.name}.{self.version}"


@dataclass(frozen=True)
class Plan:
    """The activities that the worker is tested with. None: it has no such activity."""

    echo: Role = Role("Text.echo", "1.0")
    """Returns its input, unless `own_results` is set."""
    fail: Role | None = Role("Order.check", "1.0", '{"order": 7, "amount": -5}')
    """Fails with a reason."""
    slow: Role | None = Role("Video.encode", "2.0", '{"steps": 20}')
    """Takes 4 to 6 s, sends a heartbeat about once a second, and obeys the answers."""
    own_results: bool = False
    """Accept any result of a completed task, also where the input is expected."""
    heartbeat: float = 3.0
    """The slow activity's heartbeat time-out, in seconds: shorter than its work, and long enough
    for heartbeats that a slow machine delays."""
    patience: float = 10.0
    """Seconds, by default, that a check waits for one event."""

    @property
    def returning(self) -> float:
        """Seconds for a worker to start again and do a task; RabbitMQ may have just restarted."""
        return 4 * self.patience

    def roles(self) -> list[Role]:
        """The activities that the worker has."""
        return [role for role in (self.echo, self.fail, self.slow) if role is not None]


@dataclass
class Trial:
    """One worker under test. `worker` is None where it was started by someone else."""

    plan: Plan
    swf: LocalSwf
    broker: Broker
    bridge: Daemon
    worker: WorkerProcess | None
    restart_broker: Callable[[], object] | None = None
    """Restarts RabbitMQ; None where that is not allowed."""
    beaten: set[object] = field(default_factory=set)
    """Tokens of tasks published without the bridge that have had a heartbeat."""
    first_reply: Taken | None = field(default=None, repr=False)
    reply_queue: str = ""
    """The queue that received the first reply."""
    dead_letters: list[str] = field(default_factory=list)

    def submit(self, role: Role, task_input: str | None = None, **task: Any) -> str:
        """Schedule a task in the local SWF; return its id there."""
        given = role.input if task_input is None else task_input
        return self.swf.submit(role.name, role.version, given, **task)

    def closed(self, task_id: str, seconds: float | None = None) -> dict[str, Any]:
        """Wait until the task is closed, and return it. Raises Unmet after the time-out."""
        patience = seconds or self.plan.patience
        if not self.swf.wait_closed(task_id, patience):
            raise Unmet(f"nothing in {patience:.0f} s{self._hints()}")
        return self.swf.task(task_id, payload=True)

    def completed(self, task_id: str, seconds: float | None = None) -> dict[str, Any]:
        """Wait until the task completes, and return it. Raises Unmet where it ends otherwise."""
        task = self.closed(task_id, seconds)
        if task["state"] != "completed":
            reason = f": {task['reason']}" if task["reason"] else ""
            raise Unmet(f"{task['state']} {task['timeoutType'] or ''}".strip() + reason)
        return task

    def at_work(self) -> str:
        """Submit a slow task; return its id after its first heartbeat. Raises Unmet."""
        assert self.plan.slow is not None
        task_id = self.submit(self.plan.slow)
        self.until(lambda: bool(self.swf.task(task_id)["heartbeats"]), "no heartbeat")
        return task_id

    def until(
        self, condition: Callable[[], bool], otherwise: str, seconds: float | None = None
    ) -> None:
        """Wait until `condition` holds. Raises Unmet with `otherwise` after the time-out."""
        patience = seconds or self.plan.patience
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise Unmet(f"{otherwise} in {patience:.0f} s{self._hints()}")
            self.broker.sleep(0.05)

    def reply_without_bridge(self) -> tuple[str, Taken]:
        """Publish a task without the bridge; return queue and reply. Raises Unmet."""
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
        """Whether a heartbeat has come for this task, published without the bridge."""
        self.take_reply(self.reply_queue)
        return token in self.beaten

    def replies_up_to(self, token: str, otherwise: str = "no reply") -> list[Taken]:
        """The replies up to and including the reply with this token. Raises Unmet."""
        found: list[Taken] = []

        def came() -> bool:
            if taken := self.take_reply(self.reply_queue):
                found.append(taken)
            return taken is not None and token_of(taken) == token

        self.until(came, otherwise)
        return found

    def reply_of_one_that_starts(
        self, token: str | None, queue: str, otherwise: str, *, beside: str = ""
    ) -> Taken:
        """The task's reply in `queue`; the worker is started again if it exits. Raises Unmet.

        Other replies there and in `beside` are taken meanwhile, and heartbeats answered.
        """
        assert self.worker is not None
        worker, found = self.worker, []

        def came() -> bool:
            if worker.exit_code is not None:
                worker.start()
            if beside:
                self.take_reply(beside)
            taken = self.take_reply(queue)
            if taken is not None and token_of(taken) == token:
                found.append(taken)
            return bool(found)

        self.until(came, otherwise, self.plan.returning)
        return found[0]

    def take_reply(self, queue: str) -> Taken | None:
        """The next message of `queue`. A heartbeat is answered as open, and None is returned."""
        taken = self.broker.take(queue)
        if taken is None or status(taken) != "heartbeat":
            return taken
        self.beaten.add(token_of(taken))
        if taken.properties.reply_to:
            self.broker.answer(taken)
        return None

    def read_dead_letters(self) -> None:
        """Note the reasons of replies that were dead-lettered since the last call."""
        while letter := self.broker.take(DEAD_LETTERS):
            code, detail = (
                letter.headers.get(f"swf-bridge-error{part}") for part in ("", "-detail")
            )
            self.dead_letters.append(f"{code}: {detail}")

    def clear_up(self) -> None:
        """After a failed check: terminate its open tasks, and start a worker that has exited."""
        for task in self.swf.tasks(state="open"):
            self.swf.terminate(task["id"])
        if self.worker is not None and self.worker.exit_code is not None:
            self.worker.start()

    def _hints(self) -> str:
        """The end of a message: the worker's last output, and its exit code if it has exited."""
        if self.worker is None:
            return ""
        ended = self.worker.exit_code
        state = "" if ended is None else f"; the worker ended ({ended})"
        words = self.worker.last_words()
        return f"{state}; it printed:\n{words}" if words else state
