"""The last hour of a task list as small plots: inline SVG, styled by the page. Pure.

The text beside a plot gives the same numbers, so nobody depends on the plot or its colours.
Polled tasks are an area, settled tasks a line.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.status.html import span, text

MINUTES = 60
HEIGHT = 24

Json = Mapping[str, Any]


def hours(lists: Sequence[Json]) -> str:
    """Both plots of each list among the settings, sorted by domain and name."""
    rows = [each for each in lists if each.get("lastHour")]
    rows.sort(key=lambda each: (str(each["domain"]), str(each["taskList"])))
    items = "".join(f"<li>{_of_list(each)}</li>" for each in rows)
    keys = _key("polled", "polled") + _key("settled", "settled") + _key("oldest", "oldest in hand")
    return (
        f'<p class="legend">A minute a step, the newest at the right.{keys}</p>'
        f'<ul class="plots">{items}</ul>'
    )


def _key(kind: str, word: str) -> str:
    return f' <span class="word"><span class="key {kind}"></span> {word}</span>'


def _of_list(row: Json) -> str:
    hour = row["lastHour"]
    polled, settled, oldest = hour["polled"], hour["settled"], hour["oldest"]
    name = text(f"{row['domain']}/{row['taskList']}")
    return (
        f"<h3>{name}</h3>{flow(hour)}"
        f"<p>{sum(polled):.0f} polled, at most {max([0, *polled]):.0f} a minute;"
        f" {sum(settled):.0f} settled, at most {max([0, *settled]):.0f}</p>{waiting(hour)}"
        f"<p>oldest in hand: {_oldest(oldest)}</p>"
    )


def _oldest(oldest: Sequence[float]) -> str:
    if not any(oldest):
        return "none"
    return f"{span(oldest[-1])} now, {span(max(oldest))} at most"


def flow(hour: Json) -> str:
    """A plot of tasks polled and settled per minute, on one scale."""
    polled, settled = hour["polled"], hour["settled"]
    top = max([1, *polled, *settled])
    shapes = (
        f'<path class="polled" d="{_area(polled, top)}"/>'
        f'<path class="settled" d="{_line(settled, top)}"/>'
    )
    return _svg(f"Tasks a minute, {top:.0f} at most", shapes)


def waiting(hour: Json) -> str:
    """A plot of the age of the oldest task in hand in each minute."""
    oldest = hour["oldest"]
    top = max([1.0, *oldest])
    path = f'<path class="oldest" d="{_area(oldest, top)}"/>'
    return _svg(f"The oldest task in hand, {top:.0f} seconds at most", path)


def _svg(words: str, shapes: str) -> str:
    return (
        f'<svg class="plot" role="img" aria-label="{words}" viewBox="0 0 {MINUTES} {HEIGHT}"'
        f' preserveAspectRatio="none">{shapes}</svg>'
    )


def _area(values: Sequence[float], top: float) -> str:
    """A closed SVG path of steps one minute wide; the newest minute ends at the right edge."""
    if not values:
        return ""
    return f"M{MINUTES - len(values)} {HEIGHT}{_steps(values, top)}V{HEIGHT}Z"


def _line(values: Sequence[float], top: float) -> str:
    if not values:
        return ""
    return f"M{MINUTES - len(values)} {_y(values[0], top)}{_steps(values, top)}"


def _steps(values: Sequence[float], top: float) -> str:
    begin = MINUTES - len(values)
    steps = ""
    for index, value in enumerate(values, 1):
        if index == len(values) or values[index] != value:  # a run of equal values ends
            steps += f"V{_y(value, top)}H{begin + index}"
    return steps


def _y(value: float, top: float) -> str:
    """The SVG y coordinate, at least 1 so that the top edge does not cut the line in half."""
    return f"{HEIGHT - (HEIGHT - 1) * value / top:.1f}".removesuffix(".0")
