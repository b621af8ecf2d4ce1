"""How the commands write ages, sizes and tables, and take spans of time."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def printable(text: object) -> str:
    """``text`` without anything that a terminal would obey: names in SWF may hold any character."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def span(seconds: float | None) -> str:
    """A span of time in its largest unit: ``45s``, ``12m``, ``3.5h``, ``9d``."""
    if seconds is None:
        return "-"
    for unit, size, most in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            whole = seconds / size
            return f"{whole:.1f}h" if unit == "h" and whole < 10 else f"{whole:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def since(now: float, then: float | None) -> str:
    """How long ago, or ``-`` where it never was."""
    return "-" if then is None else span(max(0.0, now - then))


def size(count: float) -> str:
    """Bytes in a unit that leaves few digits."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def seconds(text: str) -> float:
    """Take ``90``, ``90s``, ``10m``, ``2h`` or ``1d`` as seconds."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        value = float(number) * _UNITS[unit]
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time such as 90s, 10m, 2h, 1d")
    return value


def count(text: str) -> int:
    """Take a whole number from 1 up."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1e9):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def table(rows: Iterable[Row], columns: tuple[Column, ...], width: int | None = None) -> list[str]:
    """One line a row under a head, aligned; the last column is as long as it is.

    Where they would be wider than ``width``, the first column is cut, but not below its head.
    """
    lines = [[name for name, _ in columns]]
    lines += [[printable(text(row)) for _, text in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if width is not None:
        too_wide = max(0, sum(widths) + 2 * (len(widths) - 1) - width)
        widths[0] = max(len(lines[0][0]), widths[0] - too_wide)
    return [
        "  ".join(_cut(c, w).ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def print_table(rows: Iterable[Row], columns: tuple[Column, ...]) -> None:
    """Print a table in its full width."""
    for line in table(rows, columns):
        print(line)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print one thing a line, and leave out what is not known."""
    known = [(name, value) for name, value in fields if value is not None]
    width = max(len(name) for name, _ in known)
    for name, value in known:
        print(f"{name:<{width}}  {printable(value)}".rstrip())
