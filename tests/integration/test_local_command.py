"""`swf-bridge local`, from outside: arguments, output, exit codes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from bridge.local import LocalSwf
from tests.unit.local_wire import Wire


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def server() -> Iterator[LocalSwf]:
    with LocalSwf(hold=0.05) as running:
        yield running


@pytest.fixture
def swf(server: LocalSwf, monkeypatch: pytest.MonkeyPatch) -> LocalSwf:
    server.clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SWF", server.endpoint)
    return server


def local(*args: str, stdin: str = "") -> Ended:
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "local", *args],
        capture_output=True, text=True, timeout=20, input=stdin, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def test_it_serves_in_the_foreground_until_it_is_asked_to_stop() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge", "local", "--listen", "127.0.0.1:0", "--domain", "mine"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        endpoint = first.split(" answers at ")[1].split()[0]
        with Wire(endpoint) as wire:
            assert wire.call("DescribeDomain", name="mine").status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        rest = process.stdout.read()
    finally:
        process.kill()
    assert f"export AWS_ENDPOINT_URL_SWF={endpoint}" in rest
    assert "AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local" in rest


def test_a_submitted_task_is_shown_listed_and_canceled(swf: LocalSwf) -> None:
    submitted = local(
        "submit", "Greeter.say@2.0", "hello", "--task-list", "t", "--heartbeat", "30",
        "--workflow-id", "w", "--priority", "3",
    )  # fmt: skip
    assert (submitted.code, submitted.err) == (0, "")
    task_id = submitted.out.strip()
    task = swf.task(task_id, payload=True)
    assert (task["name"], task["version"], task["input"]) == ("Greeter.say", "2.0", "hello")
    assert (task["workflowId"], task["taskList"], task["priority"]) == ("w", "t", 3)
    assert task["timeouts"]["heartbeatTimeout"] == "30"
    assert "Greeter.say 2.0" in local("show", task_id).out
    head, line = local("list").out.splitlines()
    assert head.split()[:3] == ["ID", "TYPE", "TASK"]
    assert line.split()[:5] == [task_id, "Greeter.say", "2.0", "demo/t", "scheduled"]
    assert local("cancel", task_id).code == 0
    assert json.loads(local("list", "--json", "--state", "canceled").out)["id"] == task_id


def test_contents_are_shown_only_with_payload(swf: LocalSwf) -> None:
    task_id = swf.submit(input="secret-input")
    for form in ((), ("--json",)):
        assert "secret-input" not in local("show", task_id, *form).out
        assert "secret-input" in local("show", task_id, "--payload", *form).out


def test_tasks_are_submitted_from_a_file_of_json_lines(swf: LocalSwf) -> None:
    lines = '{"name": "a", "count": 2}\n\n{"name": "b", "input": "\\u0000", "taskList": "x"}\n'
    done = local("submit", "--file", "-", "--task-list", "t", "--json", stdin=lines)
    ids = [json.loads(line)["id"] for line in done.out.splitlines()]
    assert ids == [task["id"] for task in swf.tasks()]
    assert [t["taskList"] for t in swf.tasks(payload=True)] == ["t", "t", "x"]
    assert swf.task(ids[2], payload=True)["input"] == "\x00"
    bad = local("submit", "--file", "-", stdin='{"name": "a"}\nnonsense\n')
    assert bad.code == os.EX_USAGE
    assert "-:2: " in bad.err


@pytest.mark.parametrize(("operation", "code"), [("Completed", 0), ("Failed", os.EX_SOFTWARE)])
def test_waiting_tells_how_the_task_ended(swf: LocalSwf, operation: str, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge", "local", "submit", "a", "--wait", "--json"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with Wire(swf.endpoint) as wire:
        swf.options(hold=10.0)
        token = wire.token()
        swf.options(hold=0.05)
        wire.call(f"RespondActivityTask{operation}", taskToken=token)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == code
    assert json.loads(out)["state"] == operation.lower()


@pytest.mark.parametrize(
    "args",
    [
        ("submit",),
        ("submit", "a", "--file", "-"),
        ("submit", "a", "--heartbeat", "soon"),
        ("list", "--state", "lost"),
        ("run", "--keep", "-1"),
        ("show",),
        ("--listen", "9090"),
        ("dance",),
        ("list", "--endpoint", "https://swf.us-east-1.amazonaws.com"),
    ],
)
def test_a_wrong_command_line_exits_64(args: tuple[str, ...]) -> None:
    ended = local(*args)
    assert (ended.code, ended.out) == (os.EX_USAGE, "")
    assert ended.err


def test_nobody_there_exits_69_with_one_sentence() -> None:
    ended = local("list", "--endpoint", "http://127.0.0.1:1")
    assert (ended.code, ended.out) == (os.EX_UNAVAILABLE, "")
    assert ended.err == (
        "swf-bridge: no local SWF answers at http://127.0.0.1:1: Connection refused;"
        " start one with `swf-bridge local run`\n"
    )


def test_an_address_that_is_taken_exits_69(swf: LocalSwf) -> None:
    ended = local("run", "--listen", swf.endpoint.removeprefix("http://"))
    assert (ended.code, ended.out) == (os.EX_UNAVAILABLE, "")
    assert "cannot listen on 127.0.0.1:" in ended.err


def test_a_task_that_is_not_there_exits_70(swf: LocalSwf) -> None:
    del swf
    assert local("show", "99") == (os.EX_SOFTWARE, "", "swf-bridge: no task '99'\n")


def test_scripts_come_from_options_and_from_files(
    swf: LocalSwf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SWF", swf.endpoint)
    lines = [{"name": "a", "timeOutAfter": "beats:1"}, {"name": "a"}]
    file = "\n".join(map(json.dumps, lines))
    done = local("submit", "--file", "-", "--terminate-after", "beats:1", stdin=file)
    first, second = done.out.split()
    with Wire(swf.endpoint) as wire:
        for _ in lines:
            polled = wire.call("PollForActivityTask", domain="demo", taskList={"name": "demo"})
            wire.call("RecordActivityTaskHeartbeat", taskToken=polled.json["taskToken"])
    assert swf.task(first)["state"] == "timed-out"
    assert swf.task(second)["state"] == "terminated"
    wrong = local("submit", "a", "--cancel-after", "soon")
    assert wrong.code == 64
    assert "'soon' is neither seconds nor beats:N" in wrong.err
