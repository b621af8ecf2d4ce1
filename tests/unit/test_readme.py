"""README and docs/ against the code: what they list is what there is, all of it."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from bridge.cli.parsing.parser import COMMANDS
from bridge.message.message import TASK_TYPE, decode_task, encode_task
from bridge.message.replies import DEAD_LETTER_CODES
from bridge.settings.settings import Settings
from bridge.telemetry import metrics
from tests.environment import settings_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {
    path: path.read_text()
    for path in (ROOT / "README.md", ROOT / "SECURITY.md", *sorted(ROOT.glob("docs/*.md")))
}
MESSAGES = PAGES[ROOT / "docs" / "messages.md"]
OPERATIONS = PAGES[ROOT / "docs" / "operations.md"]

REQUIRED = {"SWF_BRIDGE_DOMAIN": "demo", "SWF_BRIDGE_TASK_LISTS": "demo"}
UNSET = {"domain": "–", "task_lists": "required", "identity": "swf-bridge@HOST"}
EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
NO_EVENT = re.compile(r"swf\.(?!client_|socket_)|queue\.|messaging\.|.*\.(conf|db|sock)$")
"""Names in RabbitMQ and Sentry, and of files."""
OUTAGES = {"Outage", "_outage"}
"""What is called with two events, for a peer's loss and its return."""


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next of its rank or above."""
    marks, _ = heading.split(" ", 1)
    rest = page.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"^#{{1,{len(marks)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every line of a table, without its head and rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not set("".join(row)) <= set("-| ")]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def anchors(page: str) -> set[str]:
    """As GitHub makes them of headings."""
    outside = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


# --- settings ---

SETTINGS = {code(row[0])[0]: row for row in rows(section(README, "## Settings"))[1:]}


def test_every_setting_stands_in_the_table_once_and_nothing_else():
    names = [code(row[0])[0] for row in rows(section(README, "## Settings"))[1:]]
    assert sorted(names) == sorted(name.upper() for name in Settings.model_fields)


def test_the_table_of_settings_shows_the_true_defaults():
    settings = settings_of(REQUIRED)
    defaults = {name: shown or "–" for name, shown in settings.shown().items()} | UNSET
    defaults["amqp_url"] = settings.amqp_url.get_secret_value()
    told = {name.lower(): row[1].strip("`") for name, row in SETTINGS.items()}
    assert told == defaults


# --- messages ---


def test_every_code_of_a_dead_letter_is_explained_and_no_other():
    table = section(MESSAGES, "## Dead letters").split("| code |")[1]
    assert [code(row[0])[0] for row in rows("|" + table)[1:]] == list(DEAD_LETTER_CODES)


@pytest.mark.parametrize("page", [README, MESSAGES], ids=["README", "messages"])
def test_the_task_that_is_shown_is_one_as_the_bridge_writes_it(page):
    shown = next(each for each in blocks(page, "json") if "activityType" in each)
    written = json.loads(encode_task(decode_task(shown.encode(), polled_at=0)))
    assert written == json.loads(shown)
    assert TASK_TYPE in MESSAGES


# --- log events ---


class Logged(NamedTuple):
    """An event as a call logs it; no level where the call itself does not tell."""

    event: str
    level: str
    fields: set[str]


def _strings(node: ast.AST) -> list[str]:
    """What looks like an event's name."""
    constants = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    shaped = (each for each in constants if isinstance(each, str) and EVENT.fullmatch(each))
    return [each for each in shaped if not NO_EVENT.match(each)]


def _called(node: ast.Call) -> tuple[str, str]:
    """The name that a call begins with and the one that it ends with: ("log", "warning")."""
    match node.func:
        case ast.Attribute(ast.Name(owner), method):
            return owner, method
        case ast.Name(name):
            return name, name
    return "", ""


def _calls(tree: ast.AST) -> Iterator[Logged]:
    """Every event that a module logs: named in the call, in a variable, or handed to a function."""
    nodes = list(ast.walk(tree))
    calls = [node for node in nodes if isinstance(node, ast.Call) and node.args]
    named = {
        node.targets[0].id: _strings(node.value)
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }

    @cache
    def handed_over() -> list[str]:
        return [event for call in calls for arg in call.args for event in _strings(arg)]

    for call in calls:
        owner, method = _called(call)
        if method == "Repeated":
            level = "info" if len(call.args) > 2 else "warning"
            yield from (Logged(each, level, set()) for each in _strings(call.args[1]))
        elif method in OUTAGES:
            events = [event for arg in call.args for event in _strings(arg)]
            yield from map(Logged, events, ("warning", "info"), (set(), set()))
        elif owner == "log":
            level = {"exception": "error", "log": "", "makeRecord": ""}.get(method, method)
            event = call.args[{"log": 1, "makeRecord": 4}.get(method, 0)]
            if not isinstance(event, ast.Name):
                found = _strings(event)
            elif event.id in named:
                found = named[event.id]
            else:
                found = handed_over()
            for each in found:
                yield Logged(each, level, _fields(call))


def _fields(call: ast.Call) -> set[str]:
    """The keys of `extra` where it is written out in the call."""
    for keyword in call.keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            return {str(key.value) for key in keyword.value.keys if isinstance(key, ast.Constant)}
    return set()


TREES = [ast.parse(file.read_text()) for file in (ROOT / "bridge").rglob("*.py")]
CALLS = [logged for tree in TREES for logged in _calls(tree)]
LOGGED = {each.event for each in CALLS}
EVENTS = {code(row[0])[0]: row for row in rows(section(OPERATIONS, "### Log events"))[1:]}


def test_the_code_logs_the_events_that_the_operations_page_lists_and_no_other():
    assert sorted(EVENTS) == sorted(LOGGED)


def test_every_event_is_listed_with_its_level():
    told = {(event, row[1]) for event, row in EVENTS.items()}
    assert {(each.event, each.level) for each in CALLS if each.level} <= told


def test_every_field_that_stands_in_a_call_is_listed():
    told = {event: set(code(row[2])) | set(code(row[3])) for event, row in EVENTS.items()}
    missing = {each.event: each.fields - told[each.event] for each in CALLS}
    assert not any(missing.values()), missing


def test_every_event_that_the_readme_names_is_logged():
    table = section(README, "## Failure at each stage")
    named = {each for each in code(table) if EVENT.fullmatch(each) and not NO_EVENT.match(each)}
    assert named
    assert named <= LOGGED


# --- names of what there is ---


def test_every_command_stands_in_the_table_and_nothing_else():
    told = [code(row[0])[0] for row in rows(section(README, "## Commands").split("| exit")[0])[1:]]
    commands = [module.__name__.rpartition(".")[2] for module in COMMANDS]
    assert told == [f"swf-bridge {name}" for name in commands]


def test_every_metric_that_is_named_exists():
    names = {each.name for each in metrics.ALL}
    told = {n for page in PAGES.values() for n in re.findall(r"swf_bridge_[a-z_]+[a-z]", page)}
    assert {name for name in told if name not in names} <= {"swf_bridge_amqp_url"}


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b(?= ARGS|`)", README)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text()), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_of_the_project_that_is_named_exists(page):
    folders = "bridge|config|demo|docs|systemd|tests|tools"
    named = re.findall(rf"(?<![\w/.-])((?:{folders})/[\w@./-]*\w)", PAGES[page])
    assert [name for name in named if not (ROOT / name).exists()] == []


# --- snippets ---


def test_the_worker_has_ten_lines_and_is_python():
    (worker,) = blocks(README, "python")
    _, _, body = worker.partition("\n\n")
    ast.parse(worker)
    assert len(body.splitlines()) == 10
