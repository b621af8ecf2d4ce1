"""Small parts for the tests of a part: tasks, deliveries, a topology, a publisher that records."""

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.flow.heartbeats.keepalive import Keepalive
from bridge.flow.settling.peers import NOTICE_TYPE, Peers, decode_notice
from bridge.flow.settling.settlement import Settlement
from bridge.flow.timeouts.deadlines import Deadlines
from bridge.journal.journal import Journal
from bridge.journal.pauses import Pauses
from bridge.journal.slots import Slots
from bridge.message.message import ATTEMPT_HEADER, Message, encode_task
from bridge.message.routing import RoutingKey
from bridge.rabbitmq import pika_tables
from bridge.rabbitmq.amqp import to_pika
from bridge.rabbitmq.consuming.delivery import Delivery, Outcome
from bridge.rabbitmq.publisher import Done, Fate, Receipt
from bridge.rabbitmq.topology import Topology
from bridge.swf.clock import SwfClock
from bridge.swf.history import Look
from bridge.swf.runner import Call, complete
from bridge.task import ActivityTask, TaskListId, Timeouts
from bridge.telemetry.registry import Metrics
from bridge.threads.timer import Timer

TASK_LIST_ID = ("demo", "list")
TOPOLOGY = Topology(
    exchange="swf.activities",
    cancel_exchange="swf.cancellations",
    reply_queue="swf.replies",
    dead_letter_queue="swf.replies.dead",
    undeliverable="swf.undeliverable",
    instance="0123456789ab",
)
_tags = itertools.count(1)


def a_task(token: str = "token-1", **fields: Any) -> ActivityTask:
    """A task, polled now unless told otherwise."""
    given = {
        "activity_id": "activity-1",
        "started_event_id": 6,
        "workflow_id": "workflow-1",
        "run_id": "run-1",
        "name": "Greeter.say",
        "version": "1.0",
        "input": "hello",
        "domain": TASK_LIST_ID[0],
        "task_list": TASK_LIST_ID[1],
        "polled_at": time.time(),
    }
    return ActivityTask(token=token, **{**given, **fields})


def a_delivery(
    body: bytes, *, queue: str = TOPOLOGY.reply_queue, consumer: Any = None, **properties: Any
) -> Delivery:
    """A message as the consumer hands it on."""
    given = {"headers": {}, **properties}
    carry_out = (consumer or Settled()).settle
    return Delivery(carry_out, queue, body, given, False, 1, next(_tags), time.monotonic())


class Settled:
    """A consumer that only notes the outcomes of its deliveries, in order."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[Delivery, Outcome]] = []

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        self.outcomes.append((delivery, outcome))


pika_tables.install()


@dataclass
class Sent:
    """A message handed to the recorder that awaits its receipt."""

    message: Message
    done: Done
    alone: bool


class Recorder:
    """A publisher without a broker: the test says what becomes of each message.

    What pika cannot encode is refused as the Publisher refuses it.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.messages: list[Message] = []

    def publish(self, message: Message, done: Done, *, alone: bool = False) -> None:
        try:
            b"".join(to_pika(message, "attempt-1", ATTEMPT_HEADER).encode())
            assert len(message.routing_key.encode()) <= 255
        except Exception as error:
            done(Receipt(Fate.REFUSED, f"cannot be encoded: {type(error).__name__}"))
            return
        self.messages.append(message)
        self.sent.append(Sent(message, done, alone))

    def receipt(self, fate: Fate = Fate.CONFIRMED, detail: str = "", seconds: float = 0.0) -> Sent:
        """Tell what became of the oldest message without a receipt."""
        sent = self.sent.pop(0)
        sent.done(Receipt(fate, detail, seconds))
        return sent

    def of(self, kind: str) -> list[Message]:
        """The messages of a type, in order."""
        return [each for each in self.messages if each.properties["type"] == kind]


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until the condition holds; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.002)


def waits(thread: threading.Thread) -> bool:
    """Whether the thread waits for a condition or an event: what comes next has to wake it."""
    assert thread.ident is not None
    code = sys._current_frames()[thread.ident].f_code
    return code.co_name == "wait" and code.co_filename == threading.__file__


@contextmanager
def aws(endpoint: str, **variables: str) -> Iterator[None]:
    """An environment in which boto3 finds `endpoint` and nothing of this machine's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        given = {
            "AWS_ENDPOINT_URL_SWF": endpoint,
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            **variables,
        }
        for name, value in given.items():
            patch.setenv(name, value)
        yield


class ScriptedSwf:
    """An SWF that answers each call with what the test wrote down for it: a value or an error."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._script: dict[str, list[Any]] = {}

    def will(self, call: str, *answers: Any) -> None:
        """The next answers to `call`; without any it answers None."""
        self._script.setdefault(call, []).extend(answers)

    def _answer(self, call: str, given: Any) -> Any:
        self.calls.append((call, given))
        answers = self._script.get(call)
        answer = answers.pop(0) if answers else None
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def poll(self, domain: str, task_list: str) -> Any:
        return self._answer("poll", (domain, task_list))

    def respond(self, reply: Any) -> None:
        self._answer("respond", reply)

    def heartbeat(self, token: str, details: str | None) -> bool:
        return bool(self._answer("heartbeat", (token, details)))

    def look(self, task: ActivityTask) -> Look:
        """Answers are looks, or say how the task was closed."""
        answer = self._answer("look", task)
        return answer if isinstance(answer, Look) else Look(answer)

    def make(self, call: Call) -> Any:
        """Answer a call of `Awaited`."""
        return self._answer(call.operation, call.fields)


class Awaited:
    """The same SWF as conversations await it, each with one call."""

    async def poll(self, domain: str, task_list: str) -> Any:
        return await Call("poll", (domain, task_list))

    async def respond(self, reply: Any) -> None:
        await Call("respond", reply)

    async def heartbeat(self, token: str, details: str | None) -> bool:
        return bool(await Call("heartbeat", (token, details)))

    async def look(self, task: ActivityTask, pages: int = 10) -> Look:
        answer: Any = await Call("look", (task, pages))
        return answer if isinstance(answer, Look) else Look(answer)

    async def registered(self, domain: str, name: str, version: str) -> Timeouts:
        answer: Any = await Call("registered", (domain, name, version))
        return answer or Timeouts()


class TestTimer(Timer):
    """A timer whose clock is the test: what is due at once is done at once, the rest waits."""

    __test__ = False

    def __init__(self, waiting: list[Callable[[], object]]) -> None:
        super().__init__()
        self.waiting = waiting
        self.waits: list[float] = []

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        self.waits.append(seconds)
        if seconds:
            self.waiting.append(action)
        else:
            action()

    def happen(self) -> None:
        """Let the time pass for all that waits now."""
        due, self.waiting[:] = list(self.waiting), []
        for action in due:
            action()


LONG = 3600
"""By how much longer than in the daemon SWF's answers are reused: a slow machine ends no reuse."""


class Bench:
    """A journal, a window, metrics and instances as the daemon joins them, over a recorder."""

    def __init__(
        self, path: Path, *, limit: int = 4, kind: Callable[..., Journal] = Journal
    ) -> None:
        self.ahead = 0.0
        """Seconds that have passed for the parts and not for the test."""
        self.window = Slots({TASK_LIST_ID: limit})
        self.journal = kind(path, slots=self.window, lock_timeout=0)
        self.pauses = Pauses(self.journal)
        self.publisher = Recorder()
        self.metrics = Metrics()
        self.swf = ScriptedSwf()
        self.later: list[Callable[[], object]] = []
        """What is to be done in some seconds."""
        self.timer = TestTimer(self.later)
        self.peers = Peers(
            self.journal,
            self.publisher,
            self.metrics,
            topology=TOPOLOGY,
            routing_key=RoutingKey("{name}.{version}"),
            timer=self.timer,
        )
        self.settlement = Settlement(Awaited(), self.peers, self.metrics)
        self.settlement.holds *= LONG
        self.keepalive = Keepalive(
            Awaited(), self.journal, self.peers, intervals={TASK_LIST_ID: 0.0}, limit=3600.0
        )
        self.clock = SwfClock()
        self.modes = {TASK_LIST_ID: "off"}
        self.kept_alive: set[TaskListId] = set()
        self.deadlines = Deadlines(
            Awaited(),
            self.journal,
            self.peers,
            clock=self.clock,
            timer=self.timer,
            metrics=self.metrics,
            modes=self.modes,
            kept_alive=self.kept_alive,
            calls=20,
            monotonic=self.monotonic,
        )

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def hold(self, token: str = "token-1", *, published: bool = True, **fields: Any) -> Any:
        """A task in hand, as if a poll had brought it."""
        task = a_task(token, **fields)
        self.window.hold(TASK_LIST_ID, task.id)
        self.journal.record(task, encode_task(task))
        if published:
            self.journal.published(task.id)
            self.journal.flush()
        return task

    def ask_swf(self) -> None:
        """Carry out what is left for the threads that ask for deadlines."""
        while not self.deadlines.work.empty():
            complete(self.deadlines.carry_out(self.deadlines.work.get()), self.swf.make)

    @property
    def in_flight(self) -> int:
        return self.window.in_flight(TASK_LIST_ID)

    def notices(self) -> list[tuple[str, str]]:
        """What was told to the other instances."""
        found = [decode_notice(each.body) for each in self.publisher.of(NOTICE_TYPE)]
        return [(what, task) for what, tasks, _ in found for task in tasks]
