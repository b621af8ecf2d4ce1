"""Numbers as a line of blocks, for terminals."""

from collections.abc import Sequence

LEVELS = "▁▂▃▄▅▆▇█"
NONE = "·"


def blocks(values: Sequence[float], width: int) -> str:
    """The last ``width`` values, the newest at the right; the highest is a whole block.

    A dot is 0, so that a little is told from nothing; what there are no values for stays blank.
    """
    shown = list(values)[-width:]
    top = max([0, *shown])
    return "".join(_block(value, top) for value in shown).rjust(width)


def _block(value: float, top: float) -> str:
    if not value:
        return NONE
    return LEVELS[min(len(LEVELS) - 1, int(value / top * len(LEVELS)))]
