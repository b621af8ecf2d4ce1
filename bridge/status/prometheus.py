"""Metrics in Prometheus format, by ``prometheus_client``, which is imported at the first scrape."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bridge.telemetry.metrics import Distribution, Family, Labels
from bridge.telemetry.registry import Metrics

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


def render(metrics: Metrics, accept: str) -> tuple[str, str]:
    """The content type and the text of all metrics, in a format that ``accept`` allows."""
    # Imported here because it takes 0.1 s, and not every daemon is scraped.
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(metrics))
    ProcessCollector(registry=registry)
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a malformed version in ``accept``
        encode, content_type = choose_encoder("")
    return content_type, encode(registry).decode()


class _Collector:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> "Iterator[Metric]":
        return map(_family, self._metrics.collect())


def _family(family: Family) -> "Metric":
    """Convert our family to prometheus_client's; bucket bounds are formatted as Prometheus does."""
    from prometheus_client import metrics_core  # noqa: PLC0415
    from prometheus_client.utils import floatToGoString  # noqa: PLC0415

    metric, labels = family.metric, family.metric.labels
    if metric.kind == "histogram":
        spread = metrics_core.HistogramMetricFamily(metric.name, metric.help, labels=labels)
        bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
        for values, found in _told(family):
            assert isinstance(found, Distribution)
            buckets = list(zip(bounds, found.cumulative, strict=True))
            spread.add_metric(values, buckets, found.sum)
        return spread
    kinds = {"counter": metrics_core.CounterMetricFamily, "gauge": metrics_core.GaugeMetricFamily}
    told: Metric = kinds[metric.kind](metric.name, metric.help, labels=labels)
    for values, found in _told(family):
        told.add_metric(values, found)  # type: ignore[attr-defined]
    return told


def _told(family: Family) -> Iterator[tuple[Labels, float | Distribution]]:
    """The samples with lone surrogates in label values escaped: SWF's names may contain them."""
    for values, found in family.samples:
        yield tuple(each.encode(errors="backslashreplace").decode() for each in values), found
