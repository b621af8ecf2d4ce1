"""The types of the metrics: a metric's definition and its values."""

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
