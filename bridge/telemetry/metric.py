"""What a metric is: its name and meaning, and the values that it takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Labels = tuple[str, ...]
Reading = float | Mapping[Labels, float]
"""A gauge's number, or one for each combination of labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """What one metric is called and means.

    ``values`` lists every value of a single label where they are known: such a counter begins at 0
    for each, so that an alert sees the first increase. ``buckets`` are a histogram's upper bounds.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    values: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Distribution(NamedTuple):
    """A histogram's state: observations at or below each bound (+Inf last), and their sum."""

    cumulative: tuple[int, ...]
    sum: float


class Family(NamedTuple):
    """One metric with the value of every combination of labels seen so far."""

    metric: Metric
    samples: tuple[tuple[Labels, float | Distribution], ...]
