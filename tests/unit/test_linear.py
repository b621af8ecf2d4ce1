"""Every expression, and every walk over foreign text, takes time in proportion to its length."""

import contextlib
import dis
import gc
import importlib
import inspect
import itertools
import math
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from types import CodeType

import pytest

import bridge
from bridge.bounds import OverBound, decode_json, texts_at_ends
from bridge.cli.text import printable
from bridge.control.dead_letter import DeadLetter
from bridge.errors import BadReply
from bridge.flow.settling.peers import decode_notice
from bridge.message.message import DETAIL_HEADER
from bridge.message.replies import decode_reply
from bridge.message.undeliverable import decode_undeliverable
from bridge.rabbitmq.consuming.copies import dead_letter, to_the_tail
from bridge.swf.errors import error_for
from bridge.telemetry.redact import redact, redact_value
from tests import code_objects

PIECES = [
    "a" * 21 + "://",
    "a://",
    "a://u:",
    "://u:",
    "a://b:@",
    "@",
    ":",
    "Value '",
    "value '' at '",
    "' at '",
    "; Value at 'a'",
    "'",
    '"',
    '\\"',
    "\\",
    'input":',
    'input\\":"',
    '"input": "',
    "input",
    "task_token",
    "aws_secret_",
    "password",
    "password=",
    "authorization ",
    "parameter input, value:",
    " ",
    "\n",
    "\t:",
    "A1b2",
    "A1/",
    "=",
    "`",
    "%",
    "x-",
    "x-death",
    "[",
    "{}",
    '{"a":',
    '"a":1,',
    ",",
    "</",
    "\x1b",
    "\ud800",
    "é",
    "𝒜",
]
HEADS = [
    "",
    "1 validation error detected: Value at 'a'",
    '"taskToken": "',
    "Value '",
    "a://u:",
    "password =",
    '{"status": "',
]
TAILS = ["", "' at '", "@", '"}']
FIRST, TIMES = 500, 8
QUICK = 0.0025
"""Seconds for the longest: what is quicker is not looked at. A square takes ten times as long."""
STEEP = 1.6
"""The slope of a square is 2, of what is linear 1, in logarithms."""

OF_SETTINGS = {"bridge.telemetry.redact._URL"}
"""Expressions that see an operator's text alone."""
ANCHORED = {"bridge.bounds._FIELD", "bridge.telemetry.redact._KEY"}
"""Those that are matched where they are applied, and never searched for."""


def foreign() -> Iterator[tuple[str, str, str]]:
    """What a text begins with, repeats, and ends with."""
    for piece in PIECES:
        yield from {(head, piece, "") for head in HEADS} | {("", piece, tail) for tail in TAILS}


def assert_linear(walk: Callable[[str], object]) -> None:
    for head, piece, tail in foreign():
        short, long = (head + piece * (FIRST * times // len(piece)) + tail for times in (1, TIMES))
        taken = _seconds(walk, long)
        if taken > QUICK and _slope(shortest := _least(walk, short), taken) > STEEP:
            # The machine may have been slow for a moment: only the least of several counts.
            taken = min(taken, _least(walk, long))
            steep = taken > QUICK and _slope(shortest, taken) > STEEP
            assert not steep, f"{head!r} {piece!r} {tail!r}: {shortest}, {taken}"


def _slope(shortest: float, longest: float) -> float:
    return math.log(longest / shortest, TIMES)


def _least(walk: Callable[[str], object], text: str) -> float:
    return min(_seconds(walk, text) for _ in range(5))


def _seconds(walk: Callable[[str], object], text: str) -> float:
    gc.disable()
    try:
        started = time.process_time()
        walk(text)
        return time.process_time() - started
    finally:
        gc.enable()


# --- every expression of the package ---


def _expressions() -> dict[str, re.Pattern]:
    found = {}
    for info in pkgutil.walk_packages(bridge.__path__, "bridge."):
        if info.name.startswith(("bridge.local", "bridge.__main__")):
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            for number, pattern in enumerate(_patterns(value)):
                found[f"{info.name}.{name}" + (f".{number}" if number else "")] = pattern
    return found


def _patterns(value: object) -> Iterator[re.Pattern]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _patterns(each)


EXPRESSIONS = _expressions()

MADE_WHERE_USED = {
    ("bridge.swf.errors", "sub"),  # of a text of a few characters: a walk below takes it
    ("bridge.telemetry.redact", "compile"),  # of the secrets of the settings: so does one
    ("bridge.settings.validators", "fullmatch"),  # over an operator's text
    ("bridge.cli.service.unit", "search"),  # over what systemd says
}


def _made_where_used() -> set[tuple[str, str]]:
    """The calls of `re` inside of functions, whose expressions are in no module's names."""
    return {
        (name, method)
        for name, module in code_objects.modules(bridge)
        for code in code_objects.within(module)
        if code.co_flags & inspect.CO_OPTIMIZED and "re" in code.co_names
        if code.co_name != "__annotate__"  # Python 3.14 keeps annotations in functions
        for method in _calls_of_re(code)
    }


def _calls_of_re(function: CodeType) -> Iterator[str]:
    for loaded, then in itertools.pairwise(dis.get_instructions(function)):
        if loaded.argval == "re" and then.argval != "escape":
            yield then.argval


def test_expressions_that_are_made_where_they_are_used_are_known():
    assert _made_where_used() == MADE_WHERE_USED


def test_the_expressions_are_found_and_those_of_settings_are_still_there():
    assert "bridge.telemetry.redact._PATTERNS" in EXPRESSIONS
    assert EXPRESSIONS.keys() >= OF_SETTINGS | ANCHORED


@pytest.mark.parametrize("name", sorted(EXPRESSIONS.keys() - OF_SETTINGS - ANCHORED))
def test_an_expression_takes_time_in_proportion_to_what_it_is_given(name):
    pattern = EXPRESSIONS[name]

    def walk(text):
        given = (
            text.encode("utf-8", "surrogatepass") if isinstance(pattern.pattern, bytes) else text
        )
        for _ in pattern.finditer(given):
            pass
        pattern.fullmatch(given)

    assert_linear(walk)


# --- every walk over foreign text ---


def _decoded(decode: Callable[..., object], *more: object) -> Callable[[str], object]:
    def walk(text):
        with contextlib.suppress(BadReply, OverBound, ValueError):
            decode(text.encode("utf-8", "surrogatepass"), *more)

    return walk


def _headers(text: str) -> dict[str, object]:
    return {text[:255]: text, DETAIL_HEADER: text, "x-death": [{"reason": text, "queue": text}]}


def _properties(text: str) -> dict[str, object]:
    return {"headers": _headers(text), "message_id": text, "type": "swf.activity-task.v1"}


def _error(text: str) -> object:
    """An error of SWF's that quotes fields of a worker's."""
    fields = {"taskToken": text[:1024], "reason": text[:5], "details": text}
    return error_for("ValidationException", 400, text, fields)


WALKS: dict[str, Callable[[str], object]] = {
    "error_for": _error,
    "redact": redact,
    "redact_value": lambda text: redact_value({text: [{"error": ValueError(text)}]}),
    "decode_json": _decoded(decode_json),
    "texts_at_ends": _decoded(texts_at_ends, ("taskToken", "status")),
    "decode_reply": _decoded(decode_reply, {}),
    "decode_undeliverable": _decoded(decode_undeliverable, {}),
    "decode_notice": _decoded(decode_notice),
    "dead_letter": lambda text: dead_letter("q", b"", _properties(text), "not-json", text),
    "to_the_tail": lambda text: to_the_tail("q", b"", _properties(text)),
    "dead list": lambda text: DeadLetter(
        1, 1, text.encode("utf-8", "replace"), _properties(text)
    ).summary(),
    "printable": printable,
}


@pytest.mark.parametrize("name", WALKS)
def test_a_walk_over_foreign_text_takes_time_in_proportion_to_its_length(name):
    assert_linear(WALKS[name])


def test_a_forged_dead_letter_costs_a_list_no_more_than_its_detail_may_be_long():
    """Also where the headers are as large as a frame lets them be."""
    for piece in PIECES:
        text = piece * (100_000 // len(piece))
        letter = DeadLetter(1, 1, b"", {"headers": {DETAIL_HEADER: text}})
        assert _seconds(lambda _, of=letter: of.summary(), "") < 0.1
