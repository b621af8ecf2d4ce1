"""Stores and counts the metrics in memory; ``status`` renders them for Prometheus."""

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from threading import Lock

from bridge.telemetry.metrics import (
    ALL,
    PUBLISH_CONFIRM,
    PUBLISHES,
    SWF_REQUEST_DURATION,
    SWF_REQUESTS,
    TASKS_PUBLISHED,
    Distribution,
    Family,
    Labels,
    Metric,
    Reading,
)

log = logging.getLogger(__name__)


class Metrics:
    """The counts of one daemon. Every method may be called from any thread.

    prometheus_client takes 3 times as long or more: ``labels(…).inc()`` 1,918 ns, ``count`` 637;
    ``labels(…).observe()`` 2,632 ns, ``observe`` 744. Its children, if kept by their labels,
    would count faster (542 ns) but observe slower (1,401 ns). Its import takes 70 ms alone and
    adds about 27 ms (3.6 %) to the daemon's other imports; only ``status.prometheus`` imports it,
    on first use.

    ``count`` and ``observe`` never raise. They log the first failure of each metric and go on.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._uncounted: set[Metric] = set()
        self._numbers: dict[Metric, dict[Labels, float]] = {}
        # By labels: the observations in each bucket, those above the last bound, and their sum.
        self._spreads: dict[Metric, dict[Labels, list[float]]] = {}
        self._readers: dict[Metric, list[Callable[[], Reading]]] = {}
        for metric in ALL:
            self._begin(metric)

    def _begin(self, metric: Metric) -> None:
        if metric.kind == "counter":
            start = ((each,) for each in metric.values) if metric.labels else ((),)
            self._numbers[metric] = dict.fromkeys(start, 0.0)
        elif metric.kind == "gauge":
            self._numbers[metric] = {}
        else:
            self._spreads[metric] = {} if metric.labels else {(): _empty(metric)}

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Add ``by`` to a counter; adding 0 creates a series before its first event."""
        try:
            series = self._numbers[metric]
            with self._lock:
                try:
                    series[labels] += by
                except KeyError:
                    _check(metric, labels)
                    series[labels] = by
        except Exception:  # noqa: BLE001 - a metric must not stop the caller's work
            self._tell_uncounted(metric)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge's value. Raises ValueError for a wrong number of labels."""
        _check(metric, labels)
        with self._lock:
            self._numbers[metric][labels] = value

    def observe_call(self, operation: str, code: str, seconds: float) -> None:
        """Count a call to SWF: operation, ``ok`` or the error's code, and duration in seconds."""
        self.count(SWF_REQUESTS, operation, code)
        self.observe(SWF_REQUEST_DURATION, seconds, operation)

    def observe_publish(self, domain: str, task_list: str, fate: str, seconds: float) -> None:
        """Count a publish of a task by its fate; if confirmed, that took ``seconds``."""
        self.count(PUBLISHES, domain, task_list, fate)
        if fate == "confirmed":
            self.count(TASKS_PUBLISHED, domain, task_list)
            self.observe(PUBLISH_CONFIRM, seconds)

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Add one observation to a histogram."""
        try:
            series = self._spreads[metric]
            bucket = bisect_left(metric.buckets, seconds)
            with self._lock:
                try:
                    spread = series[labels]
                except KeyError:
                    _check(metric, labels)
                    spread = series[labels] = _empty(metric)
                spread[bucket] += 1
                spread[-1] += seconds
        except Exception:  # noqa: BLE001
            self._tell_uncounted(metric)

    def _tell_uncounted(self, metric: Metric) -> None:
        """Log the exception that is being handled, the first time for the metric."""
        if metric not in self._uncounted:
            self._uncounted.add(metric)
            log.exception("metric.not_counted", extra={"metric": metric.name})

    def gauge(self, metric: Metric, read: Callable[[], Reading]) -> None:
        """Call ``read`` for a gauge's value, or its values by labels, at each collection.

        A gauge may have several ``read``, each for other labels. ``read`` is called on the thread
        that collects and must not block. If it raises, its values are left out and an error logged.
        """
        self._readers.setdefault(metric, []).append(read)

    def value(self, metric: Metric, *labels: str) -> float:
        """Return a counter's or gauge's value or a histogram's number of observations, else 0."""
        found = dict(self.samples(metric)).get(labels, 0.0)
        return found.cumulative[-1] if isinstance(found, Distribution) else found

    def collect(self) -> Iterator[Family]:
        """Yield every metric with its current values, in the order of ``ALL``."""
        for metric in ALL:
            yield Family(metric, self.samples(metric))

    def samples(self, metric: Metric) -> tuple[tuple[Labels, float | Distribution], ...]:
        """One metric's current value for every combination of label values."""
        if metric.kind == "histogram":
            with self._lock:
                copies = [(key, tuple(spread)) for key, spread in self._spreads[metric].items()]
            return tuple((key, _distribution(spread)) for key, spread in copies)
        with self._lock:
            numbers = dict(self._numbers[metric])
        for read in self._readers.get(metric, ()):
            numbers.update(_read(metric, read))
        return tuple(numbers.items())


def _check(metric: Metric, labels: Labels) -> None:
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has the labels {metric.labels}, not {len(labels)}")


def _empty(metric: Metric) -> list[float]:
    return [0] * (len(metric.buckets) + 1) + [0.0]


def _distribution(spread: tuple[float, ...]) -> Distribution:
    return Distribution(tuple(int(each) for each in accumulate(spread[:-1])), spread[-1])


def _read(metric: Metric, read: Callable[[], Reading]) -> dict[Labels, float]:
    try:
        found = read()
        by_labels = found if isinstance(found, Mapping) else {(): found}
        readings = {labels: float(number) for labels, number in by_labels.items()}
        for labels in readings:
            _check(metric, labels)
    except Exception:
        log.exception("metric.unreadable", extra={"metric": metric.name})
        return {}
    return readings
