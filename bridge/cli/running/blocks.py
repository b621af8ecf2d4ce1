"""Draw series of numbers, and the last hour of each list, as block characters for a terminal."""

from collections.abc import Iterator, Sequence

from bridge.cli.text import Row, span

LEVELS = "▁▂▃▄▅▆▇█"
NONE = "·"
MINUTES = 60
BESIDE = 18
"""Columns of text at the left of the blocks."""


def blocks(values: Sequence[float], width: int) -> str:
    """The last ``width`` values as blocks, newest at the right; the highest value fills its block.

    A value of 0 is a dot, so that it differs from a small one. Missing values are blank.
    """
    shown = list(values)[-width:]
    top = max([0, *shown])
    return "".join(_block(value, top) for value in shown).rjust(width)


def blocks_of_hours(status: Row, width: int | None) -> Iterator[str]:
    """The last hour of each list as lines of blocks; fewer minutes on a narrow terminal."""
    room = MINUTES if width is None else max(10, min(MINUTES, width - BESIDE))
    rows = [each for each in status["lists"] if each.get("lastHour")]
    if not rows:
        return
    yield ""
    yield f"the last {room} minutes, a block each, the newest at the right; before them the highest"
    for row in rows:
        hour = row["lastHour"]
        yield f"  {row['domain']}/{row['taskList']}"
        for name in ("polled", "settled", "oldest"):
            top = max([0, *hour[name][-room:]])
            told = span(top) if name == "oldest" else f"{top:.0f}"
            yield f"  {name:<8} {told:>6} {blocks(hour[name], room)}"


def _block(value: float, top: float) -> str:
    if not value:
        return NONE
    return LEVELS[min(len(LEVELS) - 1, int(value / top * len(LEVELS)))]
