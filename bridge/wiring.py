"""What the daemon is made of: every part, built in flow order, and how they are tied.

    pollers ──► journal ──► forwarder ──► publisher ══► RabbitMQ ══► workers
       ▲ slot      ▲                          ▲                         ║
       └─ window ◄─┴─ responders ◄── consumer ┴◄════════════════════════╝

Beside the flow stand the timer, heartbeats and keepalive, the reconciler, demand, and the report.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from bridge.control.dead_letter_queue import DeadLetterConsumer
from bridge.control.dead_letters import DeadLetterCommands
from bridge.control.request import Output, Request
from bridge.control.server import Command, ControlServer
from bridge.control.tasks import TaskCommands
from bridge.errors import BadReply
from bridge.flow import keepalive
from bridge.flow.forwarder import Forwarder
from bridge.flow.heartbeats import Heartbeats
from bridge.flow.keepalive import Keepalive
from bridge.flow.peers import Instances
from bridge.flow.poller import Poller, Pollers, Source
from bridge.flow.reconciler import Reconciler
from bridge.flow.responder import Responder, Settled, Work
from bridge.flow.timer import Timer
from bridge.journal.journal import Journal
from bridge.journal.slots import Window
from bridge.message import Message, RoutingKey
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.consumer import Consumer, Delivery
from bridge.rabbitmq.publisher import Publisher
from bridge.rabbitmq.queue_watch import Demand, Wanted
from bridge.rabbitmq.topology import Topology
from bridge.settings.settings import Settings, TaskList
from bridge.status.health import Report
from bridge.status.http import StatusServer
from bridge.swf.client import Swf
from bridge.swf.executor import Hand
from bridge.swf.runner import Conversation
from bridge.task import ActivityTask, TaskListId
from bridge.telemetry import metrics as m
from bridge.telemetry import sentry
from bridge.telemetry.metrics import Metrics


class Part(Protocol):
    """What the daemon runs, each on a thread of its own."""

    name: str
    moved: float
    """Monotonic seconds when it last said that it moves."""
    patience: float
    """Seconds without a move after which it counts as stuck."""

    def run(self) -> None:
        """Block until asked to stop."""

    def stop(self) -> None:
        """Ask it to stop; never blocks, and may be called twice."""


class Parts:
    """Every part of one daemon. Raises ConfigError and PartFailed, as the parts do."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.timer = Timer()
        self.swf = Swf(
            identity=settings.identity,
            pollers=sum(each.pollers for each in settings.task_lists),
            responders=settings.responders + _heartbeats(settings),
            read_timeout=settings.read_timeout,
            observe=_observe_into(self.metrics),
            way=settings.swf_client,
        )
        self.window = Window({_label(each): each.max_in_flight for each in settings.task_lists})
        self.journal = Journal(
            settings.journal,
            settled=self._let_go,
            observe=partial(self.metrics.observe, m.JOURNAL_COMMIT),
        )
        for task_id, domain, task_list in self.journal.labels():
            self.window.hold((domain, task_list), task_id)
        self._routing_key = RoutingKey(settings.routing_key)
        self._tls = Tls(settings.amqp_ca_file, settings.amqp_cert_file, settings.amqp_key_file)
        self.topology = Topology.of(settings, self.journal.instance)
        self.publisher = Publisher(
            settings.amqp_order,
            self._tls,
            self.topology.for_tasks(),
            declare=settings.declare,
            optional=(*self.topology.for_undeliverable(), *self.topology.for_notices()),
        )
        self.answers = Publisher(
            settings.amqp_order,
            self._tls,
            (),
            declare=settings.declare,
            optional=self.topology.for_answers(),
            name="answers",
        )
        self._build_way_back()
        self._build_way_forward()
        self.reconciler = Reconciler(
            self.swf,
            self.journal,
            self.window,
            self.instances,
            [source.label for source in self.sources],
            in_flight_timeout=settings.in_flight_timeout,
        )
        self.report = Report(
            self.metrics,
            parts=self.all,
            sources=self.sources,
            pollers=self.pollers,
            window=self.window,
            journal=self.journal,
            consumer=self.consumer,
            connections=[each for each in self.connections if each not in self.beside],
            beside=self.beside,
            answers=self.responder.outage,
            unroutable=lambda: self.forwarder.unroutable,
        )
        self.status = StatusServer(settings.http, self.report) if settings.http else None
        self.control = ControlServer(settings.control, self._commands())

    @property
    def connections(self) -> list[Connection]:
        """Those to RabbitMQ."""
        watching = [self.demand] if self.demand.gates else []
        return [self.publisher, self.consumer, *watching, *self.beside]

    @property
    def beside(self) -> list[Connection]:
        """Those without which tasks and replies go on."""
        return [self.answers, self.undeliverable, self.notices]

    @property
    def consumers(self) -> list[Consumer]:
        """Those from which something is handed to the responders."""
        return [self.consumer, self.undeliverable, self.notices]

    @property
    def all(self) -> list[Part]:
        """Every part but the servers, the sink first."""
        sending: list[Part] = [self.publisher, self.answers]
        back = [*sending, self.timer, *self.responders, *self.consumers]
        demand: list[Part] = [self.demand] if self.demand.gates else []
        return [*back, self.reconciler, *demand, *self.polling]

    def resume(self) -> None:
        """Take up what an earlier life left; on the timer's thread."""
        self.forwarder.resume()
        self.instances.resume()
        self.keepalive.resume()
        if any(each.keepalive for each in self.settings.task_lists):
            self.timer.every(keepalive.LOOK, self.keepalive.look)

    def _let_go(self, task_id: str) -> None:
        self.window.release(task_id)
        self.keepalive.forget(task_id)

    # --- RabbitMQ → SWF ---

    def _build_way_back(self) -> None:
        settings = self.settings
        self.instances = Instances(
            self.journal,
            self.answers,
            self.metrics,
            topology=self.topology,
            routing_key=self._routing_key,
            later=self.timer.later,
        )
        self.heartbeats = Heartbeats(
            self.swf.calls,
            self.instances,
            self.answers,
            self.metrics,
            topology=self.topology,
            later=self.timer.later,
            refuse=self._refuse,
        )
        self.keepalive = Keepalive(
            self.swf.calls,
            self.journal,
            self.instances,
            work=self.heartbeats.work.put,
            own=self.heartbeats.own,
            intervals={_label(each): each.keepalive for each in settings.task_lists},
            limit=settings.keepalive_limit,
        )
        self.instances.worker_spoke = self.keepalive.heard
        self.responder = Responder(
            self.swf.calls,
            self.instances,
            self.metrics,
            topology=self.topology,
            heartbeats=self.heartbeats,
            heard=self.keepalive.heard,
        )
        self.responders = self._responders()
        topology = self.topology
        consumer = partial(
            Consumer,
            settings.amqp_order,
            self._tls,
            declare=settings.declare,
            dead_letter_queue=settings.dead_letter_queue,
            deliver=self.responder.deliver,
            publish=self.publisher.publish,
            parked=partial(self.metrics.count, m.DEAD_LETTERS),
        )
        self.consumer = consumer(topology.for_replies(), queue=topology.reply_queue)
        self.undeliverable = consumer(
            topology.for_undeliverable(), queue=topology.undeliverable, name="undeliverable"
        )
        self.notices = consumer(
            topology.for_notices(),
            queue=topology.notice_queue,
            name="notices",
            exclusive=True,
            former=topology.old_notice_queue,
        )

    def _responders(self) -> list[Part]:
        room = self._room(self.settings.responders)
        hands = [
            Hand(
                f"responder-{number}",
                self.responder.work,
                self._handle,
                self.swf.line(room, self._settle_all, self._together),
                room,
            )
            for number in range(1, self.settings.responders // room + 1)
        ]
        return [*hands, *self._heartbeat_hands()]

    def _heartbeat_hands(self) -> list[Part]:
        """Beside the responders, so that a slow heartbeat delays no result."""
        wanted = _heartbeats(self.settings)
        room = self._room(wanted)
        return [
            Hand(
                f"heartbeat-{number}",
                self.heartbeats.work,
                _beat,
                self.swf.line(room, _nothing, self._together),
                room,
            )
            for number in range(1, wanted // room + 1)
        ]

    @contextmanager
    def _together(self) -> Iterator[None]:
        """What several answers lead to: one commit, then one word to the other instances."""
        with self.instances.together(), self.journal.together():
            yield

    def _room(self, wanted: int) -> int:
        """For how many conversations with SWF a thread has room, where so many are wanted."""
        return wanted if self.swf.side_by_side else 1

    def _refuse(self, delivery: Delivery, error: BadReply) -> None:
        self.responder.refuse(delivery, error)

    def _settle_all(self, settled: Settled) -> None:
        for delivery, outcome in settled:
            delivery.settle(outcome)

    async def _handle(self, work: Work) -> Settled:
        with sentry.work_scope():
            if not isinstance(work, Delivery):
                return await self.responder.handle(work)
            message_id = str(work.properties.get("message_id", ""))
            headers = work.properties["headers"]
            with sentry.process_span(headers, work.queue, message_id, len(work.body)):
                return await self.responder.handle(work)

    # --- SWF → RabbitMQ ---

    def _build_way_forward(self) -> None:
        settings = self.settings
        self.forwarder = Forwarder(
            self.journal,
            self.publisher,
            self.responder.fail_back,
            self.timer.later,
            self.metrics,
            exchange=settings.exchange,
            routing_key=self._routing_key,
            reply_to=settings.reply_queue,
            unroutable_timeout=settings.unroutable_timeout,
            trace=_traced,
        )
        wanted = {
            _label(each): Wanted(each.queue, each.max_in_flight)
            for each in settings.task_lists
            if each.queue
        }
        self.demand = Demand(settings.amqp_order, self._tls, wanted, declare=settings.declare)
        self.sources = [
            Source(
                _label(each),
                broker_ready=self.publisher.ready,
                journal=self.journal,
                demand=self.demand.gates.get(_label(each)),
            )
            for each in settings.task_lists
        ]
        self.polling = [
            part
            for source, each in zip(self.sources, settings.task_lists, strict=True)
            for part in self._pollers(source, each)
        ]
        self.pollers = [poller for part in self.polling for poller in part.pollers]

    def _pollers(self, source: Source, of: TaskList) -> list[Pollers]:
        room = self._room(of.pollers)
        return [
            Pollers(
                f"poller-{of.label}-{number}",
                source,
                [Poller(source, self.swf.calls, self.metrics) for _ in range(room)],
                line=partial(self.swf.line, room, together=self.journal.together, held=True),
                window=self.window,
                journal=self.journal,
                hand_over=self._hand_over,
                metrics=self.metrics,
                read_timeout=self.settings.read_timeout,
                scope=lambda task: sentry.task_scope(task.domain, task.task_list, task.name),
            )
            for number in range(1, of.pollers // room + 1)
        ]

    def _hand_over(self, task: ActivityTask, body: bytes) -> None:
        self.keepalive.watch(task)
        self.forwarder.forward(task, body)

    # --- what operators ask ---

    def _commands(self) -> Mapping[str, Command]:
        settings = self.settings
        tasks = TaskCommands(
            self.journal,
            self.swf,
            self.instances,
            self.metrics,
            self.forwarder.republish,
            broker_ready=self.publisher.ready.is_set,
            routing_key=self._routing_key.of,
            halted=lambda: self.report.stopping,
        )
        dead_letters = DeadLetterCommands(
            partial(
                DeadLetterConsumer,
                settings.amqp_urls,
                self._tls,
                settings.dead_letter_queue,
                declare=settings.declare,
            ),
            self.publisher,
            reply_queue=settings.reply_queue,
            halted=lambda: self.report.stopping,
        )
        return {
            "status": self._tell_status,
            "tasks list": tasks.list_tasks,
            "tasks show": tasks.show_task,
            "tasks republish": tasks.republish,
            "tasks fail": tasks.fail,
            "dead list": dead_letters.list_dead_letters,
            "dead show": dead_letters.show_dead_letter,
            "dead replay": dead_letters.replay,
            "dead drop": dead_letters.drop,
        }

    def _tell_status(self, _request: Request) -> Output:
        yield {"result": self.report.snapshot()}


def _heartbeats(settings: Settings) -> int:
    """Heartbeats that are on their way to SWF side by side."""
    return max(2, settings.responders // 2)


async def _beat(beat: Callable[[], Conversation[None]]) -> None:
    with sentry.work_scope():
        await beat()


def _nothing(_result: None) -> None:
    pass


def _label(task_list: TaskList) -> TaskListId:
    return task_list.domain, task_list.name


def _observe_into(metrics: Metrics) -> Callable[[str, str, float], None]:
    def observe(operation: str, code: str, seconds: float) -> None:
        metrics.count(m.SWF_REQUESTS, operation, code)
        metrics.observe(m.SWF_REQUEST_DURATION, seconds, operation)

    return observe


def _traced(task: ActivityTask, message: Message) -> Message:
    """The message with the headers that let the worker's own Sentry continue the trace."""
    with (
        sentry.task_scope(task.domain, task.task_list, task.name),
        sentry.publish_span(message.exchange, task.id, task.name) as headers,
    ):
        return message.with_headers(headers) if headers else message
