"""Sends unexpected errors and traces to Sentry; the only module that uses ``sentry_sdk``.

Without a DSN ``sentry_sdk`` is not imported and these functions do almost nothing. An error is
unexpected if one of our loggers logs it at ERROR or above with a traceback, so other modules only
log and need not call this one. Everything is redacted before it is sent.

The SDK parses headers that workers write, and may raise on them. Exceptions of the SDK never end or
change the work: it goes on without Sentry.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from threading import Lock
from time import monotonic
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from bridge.errors import ConfigError
from bridge.telemetry.outage import Outage
from bridge.telemetry.redact import redact_value, register_secret

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

log = logging.getLogger(__name__)

BURST = 5
"""Events of one kind sent in a row; after them one every ``REFILL`` seconds."""
REFILL = 60.0
KINDS = 500
"""Kinds of events with a budget of their own; all further kinds share one budget."""
TRACE_HEADERS = ("sentry-trace", "baggage")
TRACE_HEADER_LIMIT = 8192
"""Characters of a trace header at most (W3C Baggage); a longer header is ignored."""

_TAGS = "_swf_bridge_tags"
_TAG_OF_FIELD = {"domain": "domain", "task_list": "task_list", "activity": "activity_type"}

_sdk: ModuleType | None = None
_tracing = False
_failing = Outage(log, "sentry.failing", "sentry.back")
_NOTHING: AbstractContextManager[None] = nullcontext()
_NO_HEADERS: AbstractContextManager[Mapping[str, str]] = nullcontext({})


def start_sentry(
    dsn: str | None,
    environment: str | None = None,
    traces_sample_rate: float = 0.0,
    release: str | None = None,
) -> None:
    """Send unexpected errors and ``traces_sample_rate`` (0 to 1) of the traces to ``dsn``, if any.

    Raises ConfigError for an invalid DSN. If the SDK fails otherwise, nothing is sent.
    """
    if dsn:
        register_secret(urlsplit(dsn).username or "")
        with _unseen:
            _start(dsn, environment, traces_sample_rate, release)


def _start(
    dsn: str, environment: str | None, traces_sample_rate: float, release: str | None
) -> None:
    global _sdk, _tracing
    import sentry_sdk  # noqa: PLC0415 — only with a DSN
    from sentry_sdk.integrations import logging as heard  # noqa: PLC0415
    from sentry_sdk.integrations.dedupe import DedupeIntegration  # noqa: PLC0415

    budget = _Budget()
    try:
        sentry_sdk.init(
            dsn,
            environment=environment,
            release=release,
            traces_sample_rate=traces_sample_rate or None,
            # No default integrations: they patch threads, HTTP and boto3, and print at exit.
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[DedupeIntegration()],
            before_send=lambda event, hint: _before_send(budget, event, hint),
            before_send_transaction=lambda event, _hint: _redacted(event),
            include_local_variables=False,
            send_default_pii=False,
            trace_propagation_targets=[],
            max_breadcrumbs=30,
            auto_session_tracking=False,
        )
    except sentry_sdk.utils.BadDsn as error:
        raise ConfigError([f"SWF_BRIDGE_SENTRY_DSN: this is no Sentry DSN: {error}"]) from None
    heard.ignore_logger("pika*")
    # The SDK's LoggingIntegration would patch logging itself, outside the guard of _unseen.
    logging.getLogger().addHandler(
        _Listening(heard.EventHandler(logging.ERROR), heard.BreadcrumbHandler(logging.INFO))
    )
    _sdk, _tracing = sentry_sdk, traces_sample_rate > 0


def flush(seconds: float) -> None:
    """Wait up to ``seconds`` until all events are sent: the last step of a drain."""
    if _sdk is not None:
        with _unseen:
            _sdk.flush(timeout=seconds)


def task_scope(domain: str, task_list: str, activity: str = "") -> AbstractContextManager[None]:
    """Tag the errors of one task with its list and type, and isolate its breadcrumbs."""
    if _sdk is None:
        return _NOTHING
    tags = {"domain": domain, "task_list": task_list}
    if activity:
        tags["activity_type"] = activity
    return _Seen(partial(_task_scope, _sdk, tags), None)


def work_scope() -> AbstractContextManager[None]:
    """Keep the breadcrumbs of this work apart from those of other work.

    The scope also holds across ``await``: the runner gives each conversation its own context.
    """
    return _NOTHING if _sdk is None else _Seen(partial(_work_scope, _sdk), None)


def publish_span(
    destination: str, message_id: str, name: str = "publish"
) -> AbstractContextManager[Mapping[str, str]]:
    """Trace a publish. Yields headers with which the worker's Sentry can continue the trace.

    These are ``sentry-trace`` and ``baggage`` if tracing is on, else none. ``name``, the activity
    type, becomes the transaction's name.
    """
    if _sdk is None or not _tracing:
        return _NO_HEADERS
    data = {"messaging.destination.name": destination, "messaging.message.id": message_id}
    return _Seen(partial(_publish_span, _sdk, name, data), {})


def process_span(
    headers: Mapping[str, object], queue: str, message_id: str = "", size: int = 0
) -> AbstractContextManager[None]:
    """Trace the handling of a message; continues the trace named in its ``headers``, if any."""
    if _sdk is None or not _tracing:
        return _NOTHING
    data = {"messaging.destination.name": queue, "messaging.message.body.size": size}
    if message_id:
        data["messaging.message.id"] = message_id
    return _Seen(partial(_process_span, _sdk, headers, queue, data), None)


T = TypeVar("T")


class _Unseen(AbstractContextManager[None]):
    """Suppresses exceptions of the SDK and logs them through an ``Outage``, by type only.

    Their text may quote what a worker wrote. ConfigError passes.
    """

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, ConfigError) or not isinstance(error, Exception):
            return False
        _failing.begin(type(error).__name__)
        return True


_unseen = _Unseen()


class _Listening(logging.Handler):
    """Passes each record to the SDK's handlers; their exceptions never reach the log call."""

    def __init__(self, *handlers: logging.Handler) -> None:
        super().__init__(min(handler.level for handler in handlers))
        self._handlers = handlers

    def emit(self, record: logging.LogRecord) -> None:
        """Implement ``logging.Handler.emit``."""
        with _unseen:
            for handler in self._handlers:
                if record.levelno >= handler.level:
                    handler.handle(record)


class _Seen(AbstractContextManager[T]):
    """Surrounds work with the SDK's context managers. Only the work's own exceptions pass.

    ``look`` enters those context managers on a stack. The ``with`` statement gets the value that
    ``look`` returns, or ``blind`` if ``look`` raises.
    """

    __slots__ = ("_blind", "_left", "_look")

    def __init__(self, look: Callable[[ExitStack], T], blind: T) -> None:
        self._look = look
        self._blind = blind
        self._left: ExitStack | None = None
        """The context managers to exit after the work."""

    def __enter__(self) -> T:
        with _unseen, ExitStack() as stack:
            seen = self._look(stack)
            self._left = stack.pop_all()
            return seen
        return self._blind

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._left is not None:
            with _unseen:
                self._left.__exit__(kind, error, trace)
                _failing.end()


def _work_scope(sdk: ModuleType, stack: ExitStack) -> None:
    stack.enter_context(sdk.isolation_scope()).clear_breadcrumbs()


def _task_scope(sdk: ModuleType, tags: Mapping[str, str], stack: ExitStack) -> None:
    scope = stack.enter_context(sdk.isolation_scope())
    scope.clear_breadcrumbs()
    scope.set_tags(tags)

    def tag(_kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):
            setattr(error, _TAGS, tags)  # it is logged outside the scope, perhaps on another thread

    stack.push(tag)


def _publish_span(
    sdk: ModuleType, name: str, data: Mapping[str, object], stack: ExitStack
) -> Mapping[str, str]:
    stack.enter_context(sdk.start_transaction(op="swf.activity_task", name=name, source="task"))
    _describe(stack.enter_context(sdk.start_span(op="queue.publish", name=name)), data)
    return {"sentry-trace": sdk.get_traceparent(), "baggage": sdk.get_baggage()}


def _process_span(
    sdk: ModuleType,
    headers: Mapping[str, object],
    queue: str,
    data: Mapping[str, object],
    stack: ExitStack,
) -> None:
    known = {
        name: value
        for name in TRACE_HEADERS
        if isinstance(value := headers.get(name), str) and len(value) <= TRACE_HEADER_LIMIT
    }
    stack.enter_context(sdk.isolation_scope())
    transaction = sdk.continue_trace(known, op="swf.reply", name=queue, source="task")
    stack.enter_context(sdk.start_transaction(transaction))
    _describe(stack.enter_context(sdk.start_span(op="queue.process", name=queue)), data)


def _describe(span: Any, data: Mapping[str, object]) -> None:
    """Set the span's data as Sentry's conventions for queues name them."""
    span.set_data("messaging.system", "rabbitmq")
    for key, value in data.items():
        span.set_data(key, value)


def _before_send(budget: "_Budget", event: "Event", hint: "Hint") -> "Event | None":
    """Return the event, redacted, if it is unexpected and within budget; None drops it."""
    record: logging.LogRecord | None = hint.get("log_record")
    if record is not None and not (record.name.startswith("bridge") and record.exc_info):
        return None
    kind, error, _ = hint.get("exc_info") or (None, None, None)
    dropped = budget.take((getattr(kind, "__name__", ""), record.msg if record else ""))
    if dropped is None:
        return None
    if dropped:
        event["extra"] = {**event.get("extra", {}), "dropped_before": dropped}
    event["tags"] = {**event.get("tags", {}), **_tags(record), **getattr(error, _TAGS, {})}
    return _redacted(event)


def _tags(record: logging.LogRecord | None) -> dict[str, str]:
    """The Sentry tags made from a log record's domain, task list and activity type."""
    fields = vars(record) if record else {}
    return {tag: str(fields[name]) for name, tag in _TAG_OF_FIELD.items() if name in fields}


def _redacted(event: "Event") -> "Event":
    # This holds the DSN's public key, registered as a secret; without it Sentry drops the trace.
    trace = event.get("contexts", {}).get("trace", {})
    sampling = trace.pop("dynamic_sampling_context", None)
    told = cast("Event", redact_value(event))
    if sampling is not None:
        told["contexts"]["trace"]["dynamic_sampling_context"] = sampling
    return told


class _Budget:
    """A token bucket for each kind of event, so that a fault in a loop sends few events."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kinds: dict[tuple[str, str], tuple[float, float, int]] = {}

    def take(self, kind: tuple[str, str]) -> int | None:
        """Return the number of its kind dropped since the last one sent; None: drop this one."""
        now = monotonic()
        with self._lock:
            if kind not in self._kinds and len(self._kinds) >= KINDS:
                kind = ("", "")
            tokens, at, dropped = self._kinds.get(kind, (float(BURST), now, 0))
            tokens = min(float(BURST), tokens + (now - at) / REFILL)
            if tokens < 1:
                self._kinds[kind] = (tokens, now, dropped + 1)
                return None
            self._kinds[kind] = (tokens - 1, now, 0)
            return dropped
