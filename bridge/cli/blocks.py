"""Draw a series of numbers as one line of block characters for a terminal."""

from collections.abc import Sequence

LEVELS = "▁▂▃▄▅▆▇█"
NONE = "·"


def blocks(values: Sequence[float], width: int) -> str:
    """The last ``width`` values as blocks, newest at the right; the highest value fills its block.

    A value of 0 is a dot, so that it differs from a small one. Missing values are blank.
    """
    shown = list(values)[-width:]
    top = max([0, *shown])
    return "".join(_block(value, top) for value in shown).rjust(width)


def _block(value: float, top: float) -> str:
    if not value:
        return NONE
    return LEVELS[min(len(LEVELS) - 1, int(value / top * len(LEVELS)))]
