"""Builds every part of the daemon in the order of their dependencies, and does nothing else.

    pollers ──► journal ──► forwarder ──► publisher ══► RabbitMQ ══► workers
       ▲ slot      ▲                          ▲                         ║
       └── slots ◄─┴─ responders ◄── consumer ┴◄════════════════════════╝

Not in the picture: the timer, heartbeats and keepalive, the peers, the reconciler, the queue
watch, and the operators' interfaces (health over HTTP, the control socket).
"""

from functools import partial

from bridge.control.dead_letter_queue import DeadLetterConsumer
from bridge.control.dead_letters import DeadLetterCommands
from bridge.control.drain import Drain
from bridge.control.pauses import PauseCommands
from bridge.control.server import ControlServer
from bridge.control.tasks import TaskCommands
from bridge.flow.forwarder import Forwarder
from bridge.flow.heartbeats.heartbeats import Heartbeats
from bridge.flow.heartbeats.keepalive import Keepalive
from bridge.flow.heartbeats.merge import OWED
from bridge.flow.poller import Pollers, Source
from bridge.flow.responder import Responder
from bridge.flow.settling.peers import Peers
from bridge.flow.settling.settlement import Settlement
from bridge.flow.timeouts.deadlines import Deadlines
from bridge.flow.timeouts.reconciler import Reconciler
from bridge.journal.journal import Journal
from bridge.journal.pauses import Pauses
from bridge.journal.slots import Slots
from bridge.message.routing import RoutingKey
from bridge.rabbitmq.amqp import Tls
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.consuming.consumers import Consumers
from bridge.rabbitmq.consuming.delivery import settle_all
from bridge.rabbitmq.demand import Demand
from bridge.rabbitmq.nodes import ConnectionLimit
from bridge.rabbitmq.publisher import Publisher
from bridge.rabbitmq.queue_watch import Depth, QueueWatch
from bridge.rabbitmq.topology import Topology
from bridge.settings.settings import Settings
from bridge.settings.task_list import TaskList
from bridge.status.health import Report
from bridge.status.http import StatusServer
from bridge.swf.client import Swf
from bridge.telemetry import metrics as m
from bridge.telemetry.registry import Metrics
from bridge.threads.part import Part
from bridge.threads.timer import Timer

ANSWERS_WAITING = 2 * OWED
"""Maximum number of answers, cancellations and notices that wait for RabbitMQ, 650 bytes each:
twice OWED, because all owed heartbeat answers may come at once while others wait."""


class Parts:
    """Every part of one daemon. Raises ConfigError and PartFailed, as the parts do."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.timer = Timer()
        self.swf = Swf(
            identity=settings.identity,
            pollers=sum(each.pollers for each in settings.task_lists),
            responders=settings.responders + _heartbeats(settings) + _deadlines(settings),
            read_timeout=settings.read_timeout,
            observe=self.metrics.observe_call,
            way=settings.swf_client,
        )
        self.slots = Slots({each.id: each.max_in_flight for each in settings.task_lists})
        self.journal = Journal(
            settings.journal,
            slots=self.slots,
            observe=partial(self.metrics.observe, m.JOURNAL_COMMIT),
        )
        self.pauses = Pauses(self.journal)
        self._tls = Tls(settings.amqp_ca_file, settings.amqp_cert_file, settings.amqp_key_file)
        self._routing_key = RoutingKey(settings.routing_key)
        self.topology = Topology.of(settings, self.journal.instance)
        self._limit = ConnectionLimit()
        self._build_publishers()
        self.peers = Peers(
            self.journal,
            self.answers,
            self.metrics,
            topology=self.topology,
            routing_key=self._routing_key,
            timer=self.timer,
        )
        self.deadlines = Deadlines(
            self.swf.calls,
            self.journal,
            self.peers,
            clock=self.swf.clock,
            timer=self.timer,
            metrics=self.metrics,
            modes={each.id: each.deadlines for each in settings.task_lists},
            kept_alive={each.id for each in settings.task_lists if each.keepalive},
            calls=settings.deadline_calls,
        )
        self._build_way_back()
        self._build_way_forward()
        self.reconciler = Reconciler(
            self.swf,
            self.journal,
            self.slots,
            self.peers,
            [source.task_list_id for source in self.sources],
            deadlines=self.deadlines,
            in_flight_timeout=settings.in_flight_timeout,
        )
        self._build_control()

    def _build_publishers(self) -> None:
        settings, topology = self.settings, self.topology
        publisher = partial(Publisher, settings.amqp_order, self._tls, declare=settings.declare)
        self.publisher = publisher(
            topology.for_tasks(),
            optional=(*topology.for_undeliverable(), *topology.for_notices()),
            limit=self._limit,
        )
        self.answers = publisher(
            (),
            optional=topology.for_answers(),
            name="answers",
            most_waiting=ANSWERS_WAITING,
            after=self._limit,
        )
        self.copies = publisher((), name="copies", after=self._limit)

    # --- RabbitMQ → SWF ---

    def _build_way_back(self) -> None:
        settings = self.settings
        self.settlement = Settlement(self.swf.calls, self.peers, self.metrics)
        self.keepalive = Keepalive(
            self.swf.calls,
            self.journal,
            self.peers,
            intervals={each.id: each.keepalive for each in settings.task_lists},
            limit=settings.keepalive_limit,
            mark=self.deadlines.wanted,
        )
        self.heartbeats = Heartbeats(
            self.swf.calls,
            self.metrics,
            peers=self.peers,
            settlement=self.settlement,
            keepalive=self.keepalive,
            publisher=self.answers,
            timer=self.timer,
            topology=self.topology,
        )
        self.responder = Responder(
            self.swf.calls,
            self.metrics,
            peers=self.peers,
            settlement=self.settlement,
            heartbeats=self.heartbeats,
            keepalive=self.keepalive,
            deadlines=self.deadlines,
            topology=self.topology,
            room=settings.responders,
        )
        work = partial(self.swf.executors, done=settle_all, together=self.journal.together)
        responder, heartbeats, deadlines = self.responder, self.heartbeats, self.deadlines
        # Heartbeats and deadlines beside the responders, so that a slow one delays no result.
        self.responders: list[Part] = [
            *work("responder", settings.responders, responder.work, responder.handle),
            *work("heartbeat", _heartbeats(settings), heartbeats.work, heartbeats.carry_out),
            *work("deadline", _deadlines(settings), deadlines.work, deadlines.carry_out),
        ]
        self.dead_letters = Depth(self.topology.dead_letter_queue)
        self.consumers = Consumers.of(
            settings,
            self._tls,
            self.topology,
            take_new_id=self.journal.take_new_id,
            deliver=self.responder.work.put,
            publish=self.copies.publish,
            parked=self._count_dead_letter,
            depth=self.dead_letters,
            limit=self._limit,
        )

    # --- SWF → RabbitMQ ---

    def _build_way_forward(self) -> None:
        settings = self.settings
        self.forwarder = Forwarder(
            self.journal,
            self.publisher,
            self.responder,
            self.timer,
            self.metrics,
            deadlines=self.deadlines,
            exchange=settings.exchange,
            routing_key=self._routing_key,
            reply_to=settings.reply_queue,
            unroutable_timeout=settings.unroutable_timeout,
        )
        demands = {
            each.id: Demand(each.queue, each.max_in_flight)
            for each in settings.task_lists
            if each.queue
        }
        self.queue_watch = QueueWatch(
            settings.amqp_order,
            self._tls,
            demands.values(),
            declare=settings.declare,
            limit=self._limit,
        )
        self.sources = [
            Source(
                each.id,
                publisher=self.publisher,
                journal=self.journal,
                pauses=self.pauses,
                demand=demands.get(each.id),
            )
            for each in settings.task_lists
        ]
        self.polling = [
            part
            for source, each in zip(self.sources, settings.task_lists, strict=True)
            for part in self._poller_threads(source, each)
        ]
        self.pollers = [poller for part in self.polling for poller in part.pollers]

    def _poller_threads(self, source: Source, of: TaskList) -> list[Pollers]:
        room = self.swf.room(of.pollers)
        return [
            Pollers(
                f"poller-{of.shown}-{number}",
                source,
                room,
                swf=self.swf,
                slots=self.slots,
                journal=self.journal,
                keepalive=self.keepalive,
                forwarder=self.forwarder,
                metrics=self.metrics,
                read_timeout=self.settings.read_timeout,
            )
            for number in range(1, of.pollers // room + 1)
        ]

    # --- what operators ask ---

    def _build_control(self) -> None:
        settings = self.settings
        self.drain = Drain(settings.drain_timeout, self.slots, self.publisher, self.consumers)
        halted = self.drain.begun.is_set
        self.report = Report(
            self.metrics,
            drain=self.drain,
            parts=self.all,
            sources=self.sources,
            pollers=self.pollers,
            slots=self.slots,
            journal=self.journal,
            consumer=self.consumers.replies,
            dead_letters=self.dead_letters,
            consumers=self.consumers,
            connections=self.needed,
            beside=self.beside,
            answers=self.settlement.outage,
            forwarder=self.forwarder,
            clock=self.swf.clock,
        )
        self.status = (
            StatusServer(settings.http, self.report, allowed=settings.http_names)
            if settings.http
            else None
        )
        tasks = TaskCommands(
            self.journal,
            self.swf,
            self.peers,
            self.metrics,
            self.forwarder.republish,
            broker_ready=self.publisher.ready.is_set,
            routing_key=self._routing_key.of,
            halted=halted,
        )
        dead_letters = DeadLetterCommands(
            partial(
                DeadLetterConsumer,
                settings.amqp_order,
                self._tls,
                settings.dead_letter_queue,
                declare=settings.declare,
            ),
            self.publisher,
            reply_queue=settings.reply_queue,
            halted=halted,
        )
        pauses = PauseCommands(self.pauses, self.slots, self.journal, halted=halted)
        commands = {
            "drain": self.drain.ask,
            "status": self.report.tell_status,
            **pauses.commands,
            **tasks.commands,
            **dead_letters.commands,
        }
        self.control = ControlServer(settings.control, commands)

    # --- groups of them ---

    def _count_dead_letter(self, code: str) -> None:
        """Count a confirmed dead letter: one that was set aside was decided on more than once."""
        self.metrics.count(m.DEAD_LETTERS, code)
        self.metrics.count(m.REPLIES, "dead_lettered")

    @property
    def needed(self) -> list[Connection]:
        """The connections that forwarding and answering need."""
        watching = [self.queue_watch] if self.queue_watch.demands else []
        return [self.publisher, self.consumers.replies, *watching]

    @property
    def beside(self) -> list[Connection]:
        """The connections that forwarding and answering do not need."""
        return [self.answers, self.copies, *self.consumers.beside]

    @property
    def all(self) -> list[Part]:
        """Every part but the servers, the sink first."""
        watch: list[Part] = [self.queue_watch] if self.queue_watch.demands else []
        back: list[Part] = [self.publisher, self.answers, self.copies, self.timer]
        back += self.responders
        return [*back, *self.consumers, self.reconciler, *watch, *self.polling]


def _heartbeats(settings: Settings) -> int:
    """Maximum number of concurrent heartbeat calls to SWF."""
    return max(2, settings.responders // 2)


def _deadlines(settings: Settings) -> int:
    """Maximum number of concurrent calls to SWF for deadlines."""
    return 8 if any(each.deadlines != "off" for each in settings.task_lists) else 1
