"""The table of log events in docs/operations.md against the code: the same events and levels."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text().partition("### Log events\n")[2]
TABLE = dict(re.findall(r"^\| `(\w+\.\w+)` \| (\w+)", PAGE.partition("\n## ")[0], re.M))
ALONE = {"local", "conformance"}
"""What the daemon never imports."""
LEVELS = {"exception": "error"} | {
    level: level for level in ("debug", "info", "warning", "error", "critical")
}


def nodes() -> Iterator[ast.AST]:
    for file in (ROOT / "bridge").rglob("*.py"):
        if file.relative_to(ROOT / "bridge").parts[0] not in ALONE:
            yield from ast.walk(ast.parse(file.read_text()))


def logged() -> Iterator[tuple[str, str]]:
    """Each event with its level; no level where the call does not name it."""
    for call in nodes():
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", "")).lower()
        if name not in {*LEVELS, "log", "outage", "_outage", "repeated"}:
            continue
        for each in ast.walk(ast.Module([ast.Expr(arg) for arg in call.args], [])):
            if isinstance(each, ast.Constant) and re.fullmatch(
                r"[a-z_]+\.[a-z_]+", str(each.value)
            ):
                yield str(each.value), LEVELS.get(name, "")


def test_every_event_that_is_logged_is_in_the_table() -> None:
    assert {event for event, _ in logged()} - set(TABLE) == set()


def test_every_event_of_the_table_is_one_of_the_code() -> None:
    texts = {node.value for node in nodes() if isinstance(node, ast.Constant)}
    assert set(TABLE) - texts == set()


def test_an_event_is_logged_at_the_level_of_the_table() -> None:
    wrong = {(event, level) for event, level in logged() if level not in ("", TABLE[event])}
    assert not wrong
