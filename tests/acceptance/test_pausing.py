"""`swf-bridge pause` and `resume`, asked of a real daemon; polls are counted at the SWF."""

import json
import os
from typing import Any

import pytest

from bridge.local import LocalSwf
from bridge.status.diagnosis.diagnosis import findings
from tests.acceptance.harness import Bridge, Operator, Start
from tests.processes import until
from tests.worker import Worker

POLL = "PollForActivityTask"


@pytest.fixture
def bridge(start: Start) -> Bridge:
    """One with which all is well: `status` exits with 70 until it is connected."""
    bridge = start(task_lists="demo,other")
    assert until(lambda: not findings(bridge.status))
    return bridge


def open_polls(swf: LocalSwf, task_list: str = "demo") -> int:
    return int(swf.counts()["taskLists"].get(f"demo/{task_list}", {}).get("polls", 0))


def polls(swf: LocalSwf) -> int:
    """Polls that SWF has had."""
    return int(sum(swf.counts()["calls"].get(POLL, {}).values()))


def row(operator: Operator, task_list: str = "demo") -> Any:
    rows = operator.json("status")["lists"]
    return next(each for each in rows if each["taskList"] == task_list)


def test_a_pause_holds_over_a_kill_and_not_one_poll_of_the_list_reaches_swf(
    start: Start, swf: LocalSwf, worker: Worker, operator: Operator
) -> None:
    worker.queue()
    bridge = start()
    assert until(lambda: open_polls(swf) == 2)
    assert operator.run("pause", "demo", "--reason", "moving") == (
        0,
        "demo/demo is paused until it is resumed; 2 open polls end within a minute\n",
        "",
    )
    assert until(lambda: open_polls(swf) == 0)
    had, task_id = polls(swf), swf.submit()
    for _ in range(3):
        bridge.kill()
        bridge.start()
        bridge.wait("list.found_paused", task_list="demo", reason="moving", uid=os.getuid())
        bridge.wait_connected()
        told = {f"paused by uid {os.getuid()}: moving": 2}
        assert until(lambda told=told: row(operator)["pollerStates"] == told)
    assert (polls(swf), swf.task(task_id)["state"]) == (had, "scheduled")
    assert operator.run("resume", "demo/demo") == (0, "demo/demo is resumed\n", "")
    worker.complete(worker.take())
    assert swf.wait_closed(task_id, 10)
    assert polls(swf) > had


def test_what_is_in_hand_goes_on_and_so_do_other_lists(
    bridge: Bridge, swf: LocalSwf, worker: Worker, operator: Operator
) -> None:
    worker.queue()
    before = swf.submit()
    task = worker.take()
    waits = swf.submit(name="nobody")
    assert operator.run("pause", "demo", "--for", "2h")[0] == 0
    worker.complete(task)
    assert swf.wait_closed(before, 10)
    other = swf.submit(task_list="other")
    for _ in range(2):
        worker.complete(worker.take())
    assert swf.wait_closed([waits, other], 10)
    demo = row(operator)
    assert (demo["paused"]["uid"], demo["paused"]["reason"]) == (os.getuid(), "")
    assert 7100 < demo["paused"]["left"] <= 7200
    assert row(operator, "other")["paused"] is None
    code, shown, _ = operator.run("status")
    assert code == 0
    assert f"demo/demo is not polled: paused by uid {os.getuid()} until 2" in shown
    assert "! demo/demo is paused: paused by uid" in shown


def test_a_pause_ends_by_itself_also_where_its_time_is_over_while_the_daemon_is_down(
    bridge: Bridge, swf: LocalSwf, operator: Operator
) -> None:
    assert operator.run("pause", "demo", "--for", "1s")[0] == 0
    assert operator.run("pause", "other", "--for", "2s")[0] == 0
    bridge.wait("list.resumed", task_list="demo")
    assert until(lambda: open_polls(swf) == 2)
    bridge.kill()
    assert until(lambda: open_polls(swf, "other") == 0)
    bridge.start()
    bridge.wait("list.resumed", task_list="other")
    assert until(lambda: open_polls(swf, "other") == 2)


def test_a_foreign_reason_is_one_line_wherever_it_is_shown(
    bridge: Bridge, operator: Operator
) -> None:
    evil = "\x1b[2Jmoved\nall is well " + "x" * 5000
    assert operator.run("pause", "demo", "--reason", evil)[0] == 0
    shown = operator.run("status")[1]
    assert "\x1b" not in shown
    assert "\\x1b[2Jmoved\\nall is well xxx" in shown
    assert len(row(operator)["paused"]["reason"]) == 256
    (told,) = [line for line in bridge.log.splitlines() if "list.paused" in line]
    assert json.loads(told)["reason"].startswith("\x1b[2Jmoved\nall is well")


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["pause"], 64, "name task lists, or say --all"),
        (["resume"], 64, "name task lists, or say --all"),
        (["pause", "demo", "--all"], 64, "name task lists, or say --all"),
        (["pause", "demo", "--for", "5x"], 64, "'5x' is no span of time"),
        (["pause", "demo", "--for", "0"], 64, "'0' is under 0.2 s"),
        (["pause", "nope\x1b[2J"], 70, r"no task list nope\x1b[2J is polled here"),
        (["resume", "demo"], 70, "demo/demo is not paused"),
        (["resume", "--all"], 70, "no task list is paused"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    bridge: Bridge, operator: Operator, args: list[str], code: int, told: str
) -> None:
    ended, out, err = operator.run(*args)
    assert (ended, out) == (code, "")
    lines = [line for line in err.splitlines() if not line.startswith(("usage: ", "  "))]
    assert len(lines) == 1
    assert told in lines[0]
    assert not bridge.events("list.paused")


def test_a_pause_of_what_is_paused_is_one_line(bridge: Bridge, operator: Operator) -> None:
    assert operator.run("pause", "demo", "--reason", "first")[0] == 0
    assert operator.run("pause", "demo", "--reason", "second") == (
        70,
        "",
        "swf-bridge: demo/demo is paused already\n",
    )
    assert row(operator)["paused"]["reason"] == "first"
