"""`swf-bridge conformance`: good workers pass, and each broken one fails the check it breaks."""

import ast
import json
import shlex
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path

import pytest

from bridge.conformance.checks import CHECKS
from bridge.conformance.trial import Plan
from bridge.conformance.worker import WorkerProcess
from tests.brokers import Vhost
from tests.conformance.pages import shell_blocks
from tests.conformance.trials import ROOT, Tried, conformance

WORKER = f"{sys.executable} {Path(__file__).with_name('broken.py')}"


def command_of_the_docs() -> tuple[str, ...]:
    """The options of docs/workers.md, but for the report of the trial."""
    (block,) = [b for b in shell_blocks(ROOT / "docs/workers.md") if b.startswith("swf-bridge con")]
    words = shlex.split(block.replace("\\\n", " "))[2:]
    at = words.index("--junit")
    return (*words[:at], *words[at + 2 :])


SHELL_SKIPS = ("--skip", "deadline", "--skip", "confirmed")
EXAMPLES = {
    "shell": ("--worker", "examples/shell/worker.sh", "--queue", "work", *SHELL_SKIPS),
    "node": command_of_the_docs(),
    "python": ("--worker", f"{sys.executable} examples/python/worker.py"),
}
NAMES = [check.name for check in CHECKS]
SLOW = {"prefetch", "durable", "heartbeat", "cancel", "closed", "restart", "killed", "stop"}
"""Checks that take seconds, or that start the worker or the bridge again."""
AROUND_CONFIRMED = {"takes", "confirmed", "durable", "completes"}
"""`confirmed`, which refuses a task, and its neighbours."""
PATIENT = ("--patience", "30")
"""Where nothing is waited for that does not come, however many trials share the machine."""
IMPATIENT = ("--patience", "4")
"""Where a check waits for what cannot come."""
RESTARTED = {"": "passed", "durable stays": "failed"}
"""Ways of workers tried with a broker of the trial's own, and the mark of `durable`."""
Futures = dict[str, "Future[Tried]"]


def skipping(names: Iterable[str]) -> list[str]:
    """The options that leave these checks out."""
    return [option for name in names for option in ("--skip", name)]


@pytest.fixture(scope="module")
def trials(
    begin: Callable[..., "Future[Tried]"], begin_alone: Callable[..., "Future[Tried]"]
) -> Futures:
    """Those of good workers by every check, of broken ones without SLOW, and of RESTARTED."""
    wanted = {name: (*options, *PATIENT, "--json") for name, options in EXAMPLES.items()}
    wanted[""] = ("--worker", f"{WORKER} ", *PATIENT, "--json")
    less = skipping(set(NAMES) - AROUND_CONFIRMED)
    wanted["late"] = ("--worker", f"{WORKER} late", "--json", *less)
    for way in NAMES:
        less = [*skipping(SLOW - {way}), *(IMPATIENT if way == "confirmed" else ())]
        wanted[way] = ("--worker", f"{WORKER} {way}", "--json", *less)
    alone = {}
    others = skipping([*NAMES[NAMES.index("completes") :], "prefetch", "confirmed", "deadline"])
    for way, mark in RESTARTED.items():
        less = [*others, *(IMPATIENT if mark == "failed" else ())]
        alone[f"restarted {way}"] = ("--worker", f"{WORKER} {way}", "--json", *less)
    started = {name: begin_alone(*options) for name, options in alone.items()}
    return started | {name: begin(*options) for name, options in wanted.items()}


@pytest.fixture(scope="module")
def whole_trials(begin: Callable[..., "Future[Tried]"]) -> Futures:
    """Those of broken workers by every check, all under way."""
    return {way: begin("--worker", f"{WORKER} {way}", "--json") for way in NAMES}


def findings(tried: Tried) -> dict[str, dict[str, str]]:
    assert tried.out, tried.err
    found = [json.loads(line) for line in tried.out.splitlines()]
    return {each["check"]: each for each in found}


def test_a_worker_that_acknowledges_late_has_ended_with_the_refused_task_before_the_next_check(
    trials: Futures,
) -> None:
    tried = trials["late"].result()
    marks = {check: found["mark"] for check, found in findings(tried).items()}
    assert {name: marks[name] for name in AROUND_CONFIRMED} == {
        **dict.fromkeys(AROUND_CONFIRMED, "passed"), "durable": "unseen"
    }, tried.out  # fmt: skip


@pytest.mark.parametrize("name", [*EXAMPLES, ""])
def test_a_worker_that_keeps_the_contract_passes_every_check(trials: Futures, name: str) -> None:
    tried = trials[name].result()
    marks = {check: found["mark"] for check, found in findings(tried).items()}
    left_out = dict.fromkeys(SHELL_SKIPS[1::2], "skipped") if name == "shell" else {}
    open_here = {"durable": "unseen"}  # this broker is not restarted
    assert marks == {**dict.fromkeys(NAMES, "passed"), **open_here, **left_out}, tried.out
    assert tried.code == 0


def test_there_is_a_worker_broken_in_the_way_of_each_check() -> None:
    """And in no other: each way that the program asks for by name is a check, or is allowed."""
    program = ast.parse(Path(__file__).with_name("broken.py").read_text())
    compared = [node for node in ast.walk(program) if isinstance(node, ast.Compare)]
    asked = {
        each.comparators[0].value
        for each in compared
        if isinstance(each.left, ast.Name) and each.left.id == "WAY"
        and isinstance(each.comparators[0], ast.Constant)
    }  # fmt: skip
    assert asked == {*NAMES, "late"}


@pytest.mark.parametrize("way", NAMES)
def test_a_worker_broken_in_one_way_fails_that_check_and_none_of_the_quick_ones(
    trials: Futures, way: str
) -> None:
    assert_failed(trials[way].result(), way, [way])


@pytest.mark.long
@pytest.mark.parametrize("way", NAMES)
def test_a_worker_broken_in_one_way_fails_that_check_and_no_other(
    whole_trials: Futures, way: str
) -> None:
    # A queue that goes with its worker loses the task of one that is killed, too.
    also = ["killed"] if way == "durable" else []
    assert_failed(whole_trials[way].result(), way, [way, *also])


def assert_failed(tried: Tried, way: str, checks: list[str]) -> None:
    """These failed, and the report says of the first what came instead."""
    found = findings(tried)
    failed = [check for check, each in found.items() if each["mark"] == "failed"]
    assert failed == checks, tried.out
    assert tried.code == 70
    assert found[way]["expected"]
    assert found[way]["came"]
    assert found[way]["contract"]


@pytest.mark.parametrize(("way", "mark"), RESTARTED.items())
def test_whether_tasks_outlive_rabbitmq_is_seen_with_a_broker_that_may_be_restarted(
    trials: Futures, way: str, mark: str
) -> None:
    tried = trials[f"restarted {way}"].result()
    found = findings(tried)["durable"]
    assert found["mark"] == mark, tried.out
    if mark == "failed":
        assert found["came"].startswith("the task that waited in its queue is gone: no reply in")


def test_the_report_is_for_people_and_for_ci_servers(vhost: Vhost, tmp_path: Path) -> None:
    """What needs an activity that the worker has not is not tried."""
    junit = tmp_path / "junit.xml"
    options = ("--slow", "none", "--skip", "large", "--junit", str(junit))
    worker = WorkerProcess(f"{WORKER} fails", {"AMQP_URL": vhost.url})
    worker.start()
    try:
        tried = conformance("--broker", vhost.url, *options)
    finally:
        worker.kill()
    assert tried.code == 70, tried.err
    assert "\n✓ completes " in tried.out
    assert "\n✗ fails " in tried.out
    assert " came: failed without a reason\n     contract: docs/messages.md, Reply: " in tried.out
    assert "\n– large " in tried.out
    assert tried.out.count("not tried: there is no --slow activity") == 7
    assert tried.out.count("not tried: needs --worker, to end and start it") == 2
    assert tried.out.endswith("conformance: 10 passed, 1 failed, 10 not tried\n")
    suite = ET.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("21", "1", "10")
    failures = {case.get("name"): case.find("failure") for case in suite.findall("testcase")}
    assert [name for name, failure in failures.items() if failure is not None] == ["fails"]


def test_what_a_check_cites_is_a_heading_of_a_document_that_is_there() -> None:
    for check in CHECKS:
        file, _, heading = check.contract.partition(", ")
        assert f"\n## {heading}\n" in (ROOT / file).read_text(), check


def test_a_worker_with_results_of_its_own_passes_where_that_is_said(vhost: Vhost) -> None:
    worker = WorkerProcess(f"{WORKER} unicode", {"AMQP_URL": vhost.url})
    worker.start()
    options = ("--slow", "none", "--fail", "none", "--skip", "deadline", "--skip", "no-input")
    try:
        tried = conformance("--broker", vhost.url, "--own-results", *options)
    finally:
        worker.kill()
    assert tried.code == 0, tried.out
    assert "completed, with a result of its own\n" in tried.out
    assert "with its input as the result" not in tried.out
    assert "no letter is changed" not in tried.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "want --worker COMMAND, or --broker URL"),
        (("--worker", "x", "--skip", "all"), "no check all"),
        (("--worker", "x", "--echo", "Text.echo"), "'Text.echo' is not NAME@VERSION[=INPUT]"),
    ],
)
def test_a_wrong_command_line_is_64(options: tuple[str, ...], words: str) -> None:
    tried = conformance(*options)
    assert tried.code == 64
    assert words in tried.err


def test_the_defaults_that_its_help_names_are_those_of_a_trial() -> None:
    told = " ".join(conformance("--help").out.split())
    plan = Plan()
    assert f"of --slow (default {plan.heartbeat:g})" in told
    assert f"not slow (default {plan.patience:g})" in told
    for role in (plan.fail, plan.slow):
        assert role is not None
        assert f"(default {role.name}@{role.version}={role.input})" in told


def test_a_broker_that_is_away_is_69() -> None:
    tried = conformance("--worker", "true", "--broker", "amqp://127.0.0.1:1/")
    assert tried.code == 69
    assert tried.err.startswith("swf-bridge: ")
    assert "Traceback" not in tried.err


@pytest.mark.parametrize(
    "file",
    [f for f in sorted((ROOT / "examples").glob("*/*")) if f.suffix not in (".json", "")],
    ids=lambda file: file.name,
)
def test_an_example_is_read_in_a_minute(file: Path) -> None:
    """Blank lines and comments count."""
    lines = file.read_text().splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120
