"""No command gives a terminal what SWF, a worker or an endpoint wrote as they wrote it."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from bridge.__main__ import main
from bridge.cli.local.conformance import say_finding
from bridge.cli.local.view import SUMMARY, print_task
from bridge.cli.text import print_rows, say_results
from bridge.conformance import report
from bridge.control.server import ControlServer
from bridge.errors import Declined
from bridge.preflight.result import Mark, Result
from tests.snapshots import check, dead_letters, row, snapshot

HOSTILE = "\x1b[2J\u202egnp\x9b31m\x00\x7f\nFORGED line\r\u2028\ud800\u200f"
LISTS = {"SWF_BRIDGE_DOMAIN": "demo", "SWF_BRIDGE_TASK_LISTS": "images", "AWS_REGION": "eu-west-1"}
KEPT = {"kind", "level", "state", "now", "at", "startedAt", "pollerStates"}
"""Members whose value or keys are words of ours that a command reads."""


def hostile(value, name=""):
    """The value with every text in it, keys of foreign names too, followed by the hostile one."""
    if isinstance(value, str):
        return value if name in KEPT else value + HOSTILE
    if isinstance(value, Mapping):
        foreign = name in {"fields", "codes", "outcomes", "headers", "reasons", "checks"}
        return {k + HOSTILE if foreign else k: hostile(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [hostile(each, name) for each in value]
    return value


TASK = {
    "id": "ab", "age": 1.0, "state": "waiting", "domain": "d", "taskList": "l", "name": "n",
    "version": "v", "workflowId": "w", "activityId": "a", "runId": "r", "startedEventId": 3,
    "routingKey": "k", "inputLength": 3, "firstWord": True, "cancelNoticed": True,
    "taskToken": "t", "input": "i",
}  # fmt: skip
DEAD = {
    "position": 1, "id": "ab", "code": "c", "detail": "d", "task": "t", "sentAt": 1.0, "age": 2.0,
    "messageId": "m", "correlationId": "c", "size": 3, "deliveries": 0, "body": "b",
    "headers": {"h": "v"}, "notBack": 1,
}  # fmt: skip
NAMES = DEAD | {"headerNames": ["h", "i"]}
NAMES.pop("headers")
COUNTS = dict.fromkeys(
    ("confirmed", "unroutable", "refused", "nacked", "expired", "waiting", "answered"), 1
)
FAILED = dict.fromkeys(("failed", "closed", "answered", "refused", "unavailable", "left"), 0)
REASONS = {"matched": 1, **COUNTS, "reasons": {"because": 1}}
CHANGED = {"letters": 1, "matched": 1, "confirmed": 0, "reasons": {"because": 1},
           "missing": ["abcdef"], "dryRun": False, "notBack": 1}  # fmt: skip
STATUS = snapshot(
    lists=[row(notPolled="queue x"), row(notPolled="refused")],
    checks=check("broker publisher") | check("polls d/l", "refused"),
    unroutable=[{"key": "k", "seconds": 3.0, "reason": "no queue", "tasks": 1, "failsIn": 2.0}],
    lastErrors=[{"at": 1.0, "level": "error", "event": "e", "fields": {"error": "text"}}],
    deadLetters=dead_letters(1, not_json=1),
    replies={"held": 1, "outcomes": {"completed": 1}},
)

COMMANDS = [
    (["status"], [{"result": STATUS}]),
    (["tasks", "list"], [{"row": TASK}, {"result": {"matched": 1, "shown": 1}}]),
    (["tasks", "show", "ab", "--payload"], [{"result": TASK}]),
    (["tasks", "republish", "--all"], [{"result": REASONS}]),
    (["tasks", "fail", "ab"],
     [{"row": {"id": "ab", "outcome": "refused", "detail": "d"}},
      {"result": {"matched": 1, **FAILED}}]),
    (["dead", "list"], [{"row": DEAD}, {"result": {"letters": 2, "seen": 1, "shown": 1}}]),
    (["dead", "show", "abcdef", "--payload"], [{"result": DEAD}]),
    (["dead", "show", "abcdef"], [{"result": NAMES}]),
    (["dead", "replay", "--all"], [{"result": CHANGED}]),
    (["dead", "drop", "--all"], [{"result": CHANGED}]),
]  # fmt: skip


@contextmanager
def daemon(path: Path, answers: list) -> Iterator[None]:
    """A control socket that answers every command so."""

    def command(request):
        for each in answers:
            if isinstance(each, Exception):
                raise each
            yield each

    server = ControlServer(
        path, {" ".join(argv[:n]): command for argv, _ in COMMANDS for n in (1, 2)}
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join(5)


def assert_harmless(out: str, *, shows: bool = True) -> None:
    assert [c for c in out if not (c.isprintable() or c == "\n")] == []
    assert not any(line.lstrip().startswith("FORGED") for line in out.splitlines())
    assert ("FORGED" in out) == shows


@pytest.mark.parametrize(
    ("argv", "answers"), COMMANDS, ids=lambda each: " ".join(map(str, each))[:24]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_no_field_of_an_answer_reaches_a_terminal_as_it_is(
    tmp_path, capsys, argv, answers, as_json
):
    path = tmp_path / "control.sock"
    with daemon(path, hostile(answers)):
        main([*argv, "--control", str(path), *(["--json"] if as_json else [])])
    out, err = capsys.readouterr()
    assert_harmless(out + err)
    if as_json:
        for line in [out] if argv[1:2] in ([], ["show"]) else out.splitlines():
            json.loads(line)


@pytest.mark.parametrize(
    "argv",
    [["list"], ["show", "abcdef"], ["replay", "--all"], ["drop", "--all", "--yes"]],
    ids=lambda argv: argv[0],
)
def test_dead_letters_that_are_not_back_in_the_queue_are_told_beside_the_answer(
    tmp_path, capsys, argv
):
    shown = {"letters": 3, "seen": 3, "shown": 3}
    answer = NAMES | CHANGED | shown | {"reasons": {}, "missing": [], "notBack": 2}
    path = tmp_path / "control.sock"
    with daemon(path, [{"result": answer}]):
        main(["dead", *argv, "--control", str(path)])
    assert capsys.readouterr().err.splitlines() == [
        "2 are not back in the queue yet; RabbitMQ is putting them there"
    ]


def test_an_error_of_the_daemon_is_told_on_one_line(tmp_path, capsys):
    path = tmp_path / "control.sock"
    with daemon(path, [Declined("usage", HOSTILE)]):
        assert main(["tasks", "list", "--control", str(path)]) == 64
    err = capsys.readouterr().err
    assert_harmless(err)
    assert len(err.splitlines()) == 1


def test_what_a_peer_says_to_a_check_reaches_no_terminal_as_it_is(capsys):
    assert say_results(Result(mark, f"domain: {HOSTILE}") for mark in Mark) == 78
    assert_harmless(capsys.readouterr().out)


@pytest.mark.parametrize("argv", [["config"], ["config", "--json"], ["topology"], ["check"]])
def test_settings_reach_no_terminal_as_they_are(monkeypatch, capsys, argv):
    for name, value in LISTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SWF_BRIDGE_IDENTITY", "me\u202e\x9b31m")
    monkeypatch.setenv("SWF_BRIDGE_EXCHANGE", "swf\u202e\x9bFORGED")
    main(argv)
    out, err = capsys.readouterr()
    assert_harmless(out + err, shows="FORGED" in out + err)


@pytest.mark.parametrize(
    "argv",
    [["tasks", "list", "--state", HOSTILE.replace("\x00", "")], [HOSTILE], ["--x" + HOSTILE]],
)
def test_a_wrong_command_line_is_quoted_harmlessly(capsys, argv):
    with pytest.raises(SystemExit):
        main(argv)
    assert_harmless(capsys.readouterr().err)


LOCAL = {
    "id": "1", "name": "n", "version": "v", "domain": "d", "taskList": "l", "state": "closed",
    "timeoutType": "T", "scheduledAt": 1.0, "startedAt": 2.0, "closedAt": 3.0, "reason": "r",
    "cancelRequestedAt": None, "cancelToldAt": None, "timeouts": {"heartbeatTimeout": "3"},
    "activityId": "a", "workflowId": "w", "runId": "r", "messageId": "m", "identity": "i",
    "unheard": "u", "heartbeats": [1.0], "input": "i", "inputLength": 1, "result": "r",
    "resultLength": 1, "details": "d", "detailsLength": 1,
    "refused": [{"at": 1.0, "operation": "o", "fault": "f"}],
}  # fmt: skip


def test_a_task_of_the_local_swf_is_shown_harmlessly(capsys):
    print_task(hostile(LOCAL))
    print_rows([hostile(LOCAL)], SUMMARY, as_json=False)
    assert_harmless(capsys.readouterr().out)


@pytest.mark.parametrize("as_json", [False, True])
def test_what_a_worker_did_in_a_trial_is_shown_harmlessly(capsys, as_json):
    check = SimpleNamespace(name="c", expected="e", contract="§2")
    finding = report.Finding(check, report.FAILED, HOSTILE, 1.0)
    say_finding(finding, as_json=as_json)
    out = capsys.readouterr().out
    assert "FORGED" in out
    assert [c for c in out if not (c.isprintable() or c == "\n")] == []
