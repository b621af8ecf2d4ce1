"""Output of all commands (lines, JSON, tables, ages, sizes), and parsers of their arguments.

Every line that a command prints goes through ``printable`` or is ASCII JSON: names, reasons and
errors come from SWF, workers and endpoints, and may hold control characters for a terminal.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby, takewhile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.preflight.result import Result

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]

SHORTEST_INTERVAL = 0.2
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def printable(text: object) -> str:
    """``text`` on one line, safe for a terminal.

    Control characters, line ends, direction marks and lone surrogates become Python's escapes.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def say(text: object = "", *, end: str = "\n") -> None:
    """Print one line."""
    print(printable(text), end=end, flush=True)


def say_results(results: "Iterable[Result]") -> int:
    """Print each result of a preflight check as it comes; return the worst exit code."""
    worst = 0
    for mark, text in results:
        say(f"{mark.sign} {text}")
        worst = max(worst, mark.exit_code)
    return worst


def complain(text: object) -> None:
    """Print an error as one line to standard error."""
    print(f"swf-bridge: {printable(text)}", file=sys.stderr, flush=True)


def note(text: object, *, end: str = "\n") -> None:
    """Print a remark as one line to standard error."""
    print(printable(text), end=end, file=sys.stderr, flush=True)


def rewrite(text: object = "") -> None:
    """Replace the last line of standard error, which must be a terminal. Empty text clears it."""
    print(f"\r\x1b[K{printable(text)}", end="", file=sys.stderr, flush=True)


def say_json(value: object, *, indent: int | None = None) -> None:
    """Print a value as ASCII JSON. DEL is escaped too, which ``json.dumps`` does not do."""
    print(json.dumps(value, indent=indent).replace("\x7f", "\\u007f"), flush=True)


def confirmed(question: str) -> bool:
    """Ask a yes-or-no question on the terminal; True if there is no terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    note(f"{question} [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def span(seconds: float | None) -> str:
    """A time span in its largest unit: ``45s``, ``12m``, ``3.5h``, ``9d``; ``-`` for None."""
    if seconds is None:
        return "-"
    for unit, size, most in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            whole = seconds / size
            return f"{whole:.1f}h" if unit == "h" and whole < 10 else f"{whole:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def since(now: float, then: float | None) -> str:
    """The span from ``then`` to ``now`` (Unix seconds), or ``-`` if ``then`` is None."""
    return "-" if then is None else span(max(0.0, now - then))


def moment(at: float | None) -> str | None:
    """A Unix time in seconds as local date and time with its zone."""
    return None if at is None else time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(at))


def size(count: float) -> str:
    """A number of bytes in B, kB, MB or GB (powers of 1000)."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def seconds(text: str) -> float:
    """Parse ``90``, ``90s``, ``10m``, ``2h`` or ``1d`` to seconds, as argparse's ``type``."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        value = float(number) * _UNITS[unit]
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time such as 90s, 10m, 2h, 1d")
    return value


def interval(text: str) -> float:
    """Parse a span as ``seconds`` does; at least SHORTEST_INTERVAL, to avoid a busy loop."""
    value = seconds(text)
    if value < SHORTEST_INTERVAL:
        raise argparse.ArgumentTypeError(f"{text!r} is under {SHORTEST_INTERVAL} s")
    return value


def count(text: str) -> int:
    """Parse a whole number of at least 1, as argparse's ``type``."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1e9):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def table(rows: Iterable[Row], columns: tuple[Column, ...], width: int | None = None) -> list[str]:
    """A head line and one line for each row, with aligned columns.

    If lines would be wider than ``width``, the texts in the first column are shortened, but never
    so far that two different ones look alike, nor below the width of the head.
    """
    lines = [[name for name, _ in columns]]
    lines += [[printable(text(row)) for _, text in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if width is not None:
        too_wide = max(0, sum(widths) + 2 * (len(widths) - 1) - width)
        room = max(len(lines[0][0]), widths[0] - too_wide)
        shown = shortened((line[0] for line in lines), room)
        lines = [[shown[first], *others] for first, *others in lines]
        widths[0] = max(map(len, shown.values()))
    return [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    ]


def print_rows(rows: Iterable[Row], columns: tuple[Column, ...], *, as_json: bool) -> None:
    """Print a line of JSON for each row, or a table without shortening anything."""
    if as_json:
        for row in rows:
            say_json(row)
    else:
        for line in table(rows, columns):
            say(line)


def shortened(names: Iterable[str], width: int) -> dict[str, str]:
    """Each name shortened to ``width`` characters, with an ellipsis for each omitted part.

    Different names stay different; if ``width`` is too small for that, a larger width is used.
    """
    different = sorted(set(names))
    while True:
        shown = _told_apart(different, width)
        if len(set(shown.values())) == len(different):
            return shown
        width += 1


def _told_apart(names: list[str], width: int) -> dict[str, str]:
    """Cut names in the middle. Names that then look alike are cut around their differences."""
    shown = {name: _cut(name, width) for name in names}
    groups = [(group, [_parting(group)]) for group in _alike(shown)]
    while groups:
        group, places = groups.pop()
        again = {name: _cut_around(name, width, places) for name in group}
        smaller = [each for each in _alike(again) if len(each) < len(group)]
        groups += [(each, [*places, _parting(each)]) for each in smaller]
        shown.update(again)
    return shown


def _parting(names: list[str]) -> int:
    """The length of the common prefix of the names."""
    pairs = zip(min(names), max(names), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _alike(shown: Mapping[str, str]) -> list[list[str]]:
    """The groups of names that have the same shortened form."""
    groups: dict[str, list[str]] = {}
    for name, cut in shown.items():
        groups.setdefault(cut, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _cut(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    after = (width - 1) // 2
    return f"{text[: width - 1 - after]}…{text[len(text) - after :]}"


def _cut_around(text: str, width: int, places: list[int]) -> str:
    """Keep the beginning, the end and the text around each place; omit the rest."""
    gaps = len(places) + 1
    side = max(1, (width - gaps) // (2 * gaps))
    middle = max(1, (width - gaps - 2 * side) // len(places))
    kept = {*range(side), *range(len(text) - side, len(text))}
    for place in places:
        begin = place - middle // 4
        kept.update(range(begin, begin + middle))
    parts = groupby(range(len(text)), kept.__contains__)
    return "".join("".join(text[at] for at in part) if keep else "…" for keep, part in parts)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print a name and its value on each line; skip values that are None."""
    known = [(name, value) for name, value in fields if value is not None]
    width = max(len(printable(name)) for name, _ in known)
    for name, value in known:
        say(f"{printable(name):<{width}}  {printable(value)}".rstrip())
