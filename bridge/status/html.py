"""Text and spans of time as the page shows them. Pure."""

import html
import re

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def escaped(told: object) -> str:
    """Text from elsewhere, fit for an attribute: escaped and without control characters."""
    return html.escape(_CONTROLS.sub("\ufffd", str(told)))


def text(told: object) -> str:
    """Text from elsewhere: escaped, and with a direction of its own."""
    return f"<bdi>{escaped(told)}</bdi>"


def span(seconds: float) -> str:
    """A span of time in its two largest units."""
    whole = max(0, int(seconds))
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {smaller}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
