"""The definitions of all metrics of the bridge, and the types of a metric and its values.

Names follow Prometheus' conventions: one prefix, base units, ``_total`` on counters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Labels = tuple[str, ...]
Reading = float | Mapping[Labels, float]
"""A gauge's value, or its values by combination of label values."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """The definition of one metric.

    ``values`` lists all values of a counter's only label, if they are known: the counter starts at
    0 for each, so that an alert sees the first increase. ``buckets`` are upper bounds.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    values: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Distribution(NamedTuple):
    """A histogram's value: the observations up to each bound (+Inf last) and their sum."""

    cumulative: tuple[int, ...]
    sum: float


class Family(NamedTuple):
    """One metric with its value for every combination of label values seen so far."""

    metric: Metric
    samples: tuple[tuple[Labels, float | Distribution], ...]


LIST: Labels = ("domain", "task_list")
SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
REQUEST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 75.0)
WORK = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)

POLLS = Metric(
    "swf_bridge_polls_total",
    "counter",
    "Polls of SWF that have ended, by outcome: task, empty or error.",
    (*LIST, "outcome"),
)
LAST_POLL = Metric(
    "swf_bridge_last_poll_timestamp_seconds",
    "gauge",
    "Unix time at which SWF last answered a poll of the task list.",
    LIST,
)
POLLERS = Metric(
    "swf_bridge_pollers",
    "gauge",
    "Pollers of the task list, by what they are at.",
    (*LIST, "state"),
)
PAUSED = Metric(
    "swf_bridge_paused_seconds",
    "gauge",
    "Time for which an operator has paused the task list; 0 where it is not paused.",
    LIST,
)
TASKS_POLLED = Metric(
    "swf_bridge_tasks_polled_total", "counter", "Tasks that SWF gave to this instance.", LIST
)
TASKS_PUBLISHED = Metric(
    "swf_bridge_tasks_published_total",
    "counter",
    "Tasks that RabbitMQ confirmed, counted once each.",
    LIST,
)
TASKS_FAILED_BACK = Metric(
    "swf_bridge_tasks_failed_back_total",
    "counter",
    "Tasks failed in SWF as no queue was there for them in time, or by an operator.",
    LIST,
)
TASKS_EXPIRED = Metric(
    "swf_bridge_tasks_expired_total",
    "counter",
    "Tasks past their deadline that SWF had given up before a worker answered.",
    LIST,
)
SECONDS_LEFT = Metric(
    "swf_bridge_publish_time_left_seconds",
    "histogram",
    "Time that tasks with a deadline had left when they were published.",
    buckets=WORK,
)
NEXT_DEADLINE = Metric(
    "swf_bridge_next_deadline_seconds",
    "gauge",
    "Time until SWF gives up the next of the tasks in hand; negative where it should have.",
    LIST,
)
TASKS_IN_FLIGHT = Metric(
    "swf_bridge_tasks_in_flight", "gauge", "Tasks held by this instance and not yet settled.", LIST
)
TASKS_UNCONFIRMED = Metric(
    "swf_bridge_tasks_unconfirmed",
    "gauge",
    "Tasks in the journal that RabbitMQ has not confirmed yet.",
    LIST,
)
OLDEST_TASK = Metric(
    "swf_bridge_oldest_task_age_seconds",
    "gauge",
    "Age since its poll of the oldest task in flight; 0 where there is none.",
    LIST,
)
SLOTS = Metric(
    "swf_bridge_slots", "gauge", "Most tasks of the task list that may be in flight at once.", LIST
)
SLOTS_RELEASED = Metric(
    "swf_bridge_slots_released_total",
    "counter",
    "Slots given back without a reply seen by this instance, by reason.",
    (*LIST, "reason"),
)
TASK_DURATION = Metric(
    "swf_bridge_task_duration_seconds",
    "histogram",
    "Time from the poll that brought a task until it was settled, by outcome.",
    (*LIST, "outcome"),
    buckets=WORK,
)
PUBLISHES = Metric(
    "swf_bridge_publishes_total",
    "counter",
    "Publishes of tasks, by outcome: confirmed, unroutable, refused, nacked or expired.",
    (*LIST, "outcome"),
)
ROUTING_KEYS_WAITING = Metric(
    "swf_bridge_routing_keys_waiting",
    "gauge",
    "Routing keys whose tasks no queue takes now: none is bound, it is full, or refused.",
)
UNROUTABLE_FAILS = Metric(
    "swf_bridge_unroutable_fails_timestamp_seconds",
    "gauge",
    "Unix time at which the first task without a queue is failed in SWF; absent where none waits.",
)
PUBLISH_CONFIRM = Metric(
    "swf_bridge_publish_confirm_duration_seconds",
    "histogram",
    "Time from a publish to RabbitMQ's confirm.",
    buckets=SHORT,
)
REPLIES = Metric(
    "swf_bridge_replies_total",
    "counter",
    "Replies of workers, by outcome.",
    ("outcome",),
    values=(
        "completed",
        "failed",
        "canceled",
        "heartbeat",
        "duplicate",
        "expired",
        "late",
        "dead_lettered",
        "later",
    ),
)
REPLIES_HELD = Metric(
    "swf_bridge_replies_held", "gauge", "Replies kept until SWF can be asked again."
)
DEAD_LETTERS = Metric(
    "swf_bridge_dead_letters_total",
    "counter",
    "Replies moved to the dead-letter queue, by error code.",
    ("code",),
)
DEAD_LETTERS_STANDING = Metric(
    "swf_bridge_dead_letter_queue_depth",
    "gauge",
    "Messages that stand in the dead-letter queue, for all instances that share it.",
    ("queue",),
)
DEAD_LETTERS_WAITING = Metric(
    "swf_bridge_dead_letters_waiting",
    "gauge",
    "Replies that can never be accepted and wait for the dead-letter queue to take them.",
)
CANCEL_NOTICES = Metric(
    "swf_bridge_cancel_notices_total", "counter", "Cancel requests of SWF handed to workers.", LIST
)
SWF_REQUESTS = Metric(
    "swf_bridge_swf_requests_total",
    "counter",
    "Requests to SWF, by operation and by error code, or ok.",
    ("operation", "code"),
)
SWF_REQUEST_DURATION = Metric(
    "swf_bridge_swf_request_duration_seconds",
    "histogram",
    "Time that requests to SWF took; a poll without a task takes about 60 s.",
    ("operation",),
    buckets=REQUEST,
)
BROKER_CONNECTED = Metric(
    "swf_bridge_broker_connected",
    "gauge",
    "1 while the connection to RabbitMQ is ready for use: publisher or consumer.",
    ("connection",),
)
BROKER_BLOCKED = Metric(
    "swf_bridge_broker_blocked",
    "gauge",
    "1 while RabbitMQ blocks the connection for want of memory or disk.",
    ("connection",),
)
BROKER_RECONNECTS = Metric(
    "swf_bridge_broker_reconnects_total",
    "counter",
    "Times that the connection to RabbitMQ was ready again after a loss.",
    ("connection",),
    values=("publisher", "consumer"),
)
JOURNAL_WRITABLE = Metric(
    "swf_bridge_journal_writable",
    "gauge",
    "1 while the journal takes writes; no task list is polled while it is 0.",
)
JOURNAL_SIZE = Metric(
    "swf_bridge_journal_size_bytes",
    "gauge",
    "Size on disk of the journal with its write-ahead log.",
)
JOURNAL_COMMIT = Metric(
    "swf_bridge_journal_commit_duration_seconds",
    "histogram",
    "Time that a commit of the journal took.",
    buckets=SHORT,
)
THREAD_PROGRESS = Metric(
    "swf_bridge_thread_last_progress_timestamp_seconds",
    "gauge",
    "Unix time at which the thread last said that it moves.",
    ("thread",),
)
LOG_LINES_DROPPED = Metric(
    "swf_bridge_log_lines_dropped_total",
    "counter",
    "Log lines dropped because standard error did not take them: its reader stands still.",
)
BUILD_INFO = Metric(
    "swf_bridge_build_info",
    "gauge",
    "Always 1; the labels tell what runs.",
    ("version", "revision", "python"),
)

ALL: tuple[Metric, ...] = tuple(each for each in globals().values() if isinstance(each, Metric))
