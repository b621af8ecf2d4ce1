"""Escapes text and formats durations for the page. Pure."""

import html
import re

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def escaped(told: object) -> str:
    """Foreign text, fit for an attribute: escaped, with U+FFFD for control characters."""
    return html.escape(_CONTROLS.sub("\ufffd", str(told)))


def text(told: object) -> str:
    """Foreign text, escaped, in a ``bdi`` so that its direction does not affect the page."""
    return f"<bdi>{escaped(told)}</bdi>"


def span(seconds: float) -> str:
    """A duration in its two largest units."""
    whole = max(0, int(seconds))
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {smaller}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
