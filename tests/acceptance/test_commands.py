"""`status`, `tasks` and `dead`, asked of a real daemon with a real RabbitMQ."""

import json
import os
import pty
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bridge.local import LocalSwf
from tests import forked
from tests.acceptance.harness import MARK, Bridge, Start
from tests.brokers import Vhost
from tests.processes import until
from tests.worker import DEAD, Worker

TIMEOUT = 30


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ended]


@pytest.fixture
def bridge(start: Start) -> Bridge:
    return start()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command in an operator's shell, which knows nothing of the daemon's settings."""

    def run(*args: str, here: bool = True, env: Mapping[str, str] | None = None) -> Ended:
        control = ["--control", str(tmp_path / "journal.sock")] if here else []
        shell = {**forked.SHELL, **(env or {})}
        ended = forked.run(["-m", "bridge", *args, *control], env=shell, timeout=TIMEOUT)
        assert "Traceback" not in ended.stderr
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


def submit(swf: LocalSwf, count: int = 1, name: str = "Greeter.say", **more: Any) -> list[str]:
    return [
        swf.submit(name, domain="demo", task_list="demo", input=f"{MARK} {n}", **more)
        for n in range(count)
    ]


def published(run: Run, count: int) -> bool:
    """Whether so many tasks are in hand and confirmed."""
    return until(lambda: len(run("tasks", "list", "--state", "published", "--json").rows) == count)


@pytest.mark.usefixtures("by_exec")
def test_each_command_loads_what_it_needs_by_itself(bridge: Bridge, run: Run) -> None:
    """The other tests fork commands from a process that has loaded all that a daemon loads."""
    bridge.wait_connected()
    for command in (
        ("status",),
        ("tasks", "list"),
        ("dead", "list"),
        ("pause", "--all"),
        ("resume", "--all"),
        ("drain",),
    ):
        ended = run(*command)
        assert (ended.code, ended.err) == (0, ""), command
    for command in (("config",), ("topology",), ("check",)):
        ended = run(*command, here=False, env=bridge.settings)
        assert (ended.code, ended.err) == (0, ""), command


# --- status ---


def test_status_tells_of_lists_tasks_and_connections(
    bridge: Bridge, swf: LocalSwf, worker: Worker, run: Run
) -> None:
    worker.queue()
    submit(swf, 3)
    worker.take_many(2)
    worker.complete(worker.take())
    assert until(lambda: run("status", "--json").json["lists"][0]["tasks"] == 2)
    connections = {"publisher", "consumer", "answers", "copies", "undeliverable", "notices"}
    for connection in connections:
        bridge.wait("broker.connected", connection=connection)
    told = run("status", "--json").json
    assert {each["name"]: each["connected"] for each in told["broker"]} == dict.fromkeys(
        connections, True
    )
    (demo,) = told["lists"]
    assert (demo["domain"], demo["taskList"], demo["pollers"]) == ("demo", "demo", 2)
    assert (demo["inFlight"], demo["slots"], demo["polled"]) == (2, 100, 3)
    assert demo["notPolled"] == ""
    assert told["pid"] == bridge.pid
    assert told["replies"]["outcomes"]["completed"] == 1
    shown = run("status")
    assert shown.code == 0
    assert "✓ all is well" in shown.out
    assert "demo/demo" in shown.out


def test_status_says_why_a_list_is_not_polled(start: Start, swf: LocalSwf, run: Run) -> None:
    start(task_lists='["demo",{"name":"lost","domain":"nowhere"}]')
    told = until(lambda: "UnknownResourceFault" in run("status").out)
    assert told, run("status").out

    def lost(status: Any) -> Any:
        return next(each for each in status["lists"] if each["domain"] == "nowhere")

    def told_of_the_list() -> Any:  # not while the next poll is under way
        status = run("status", "--json").json
        return lost(status)["notPolled"] and status

    status = until(told_of_the_list)
    assert "UnknownResourceFault" in lost(status)["notPolled"]
    assert status["checks"]["polls nowhere/lost"]["ok"] is False
    assert [each["event"] for each in status["lastErrors"]] == ["poll.refused"]


def test_dead_letters_are_counted_by_code(bridge: Bridge, worker: Worker, run: Run) -> None:
    assert until(lambda: "all is well" in run("status").out)
    worker.send(b"no json")
    worker.send(b"[]")
    assert until(lambda: run("status", "--json").json["deadLetters"]["sinceStart"] == 2)
    assert run("status", "--json").json["deadLetters"]["codes"] == {
        "not-json": 1,
        "not-an-object": 1,
    }


def test_dead_letters_are_told_by_what_stands_in_the_queue_over_a_restart_until_they_are_dropped(
    bridge: Bridge, worker: Worker, run: Run
) -> None:
    def standing() -> object:
        return bridge.status["deadLetters"]["standing"]

    assert until(lambda: standing() == 0, 10)
    for _ in range(4):
        worker.send(b"no json")
    assert until(lambda: standing() == 4, 10)
    told = run("status")
    assert "4 answers stand in the dead-letter queue" in told.out
    letters = run("dead", "list", "--json").rows
    assert all(0 <= time.time() - each["putAt"] < 60 for each in letters)
    assert all(each["age"] is not None for each in letters)
    bridge.stop()
    bridge.start()
    assert until(lambda: standing() == 4, 10)
    status = run("status", "--json").json["deadLetters"]
    assert (status["sinceStart"], status["queue"]) == (0, "swf.replies.dead")
    assert run("dead", "drop", "--all", "--yes").code == 0
    assert until(lambda: standing() == 0, 10)
    assert "dead-letter queue" not in run("status").out


# --- tasks ---


def test_tasks_are_listed_by_filters_without_their_payload(
    bridge: Bridge, swf: LocalSwf, worker: Worker, run: Run
) -> None:
    worker.queue(bind="Greeter.#")
    submit(swf, 2)
    submit(swf, 1, "Sender.send", version="2.0")
    assert published(run, 2)
    rows = run("tasks", "list", "--json").rows
    assert [row["name"] for row in rows].count("Greeter.say") == 2
    assert {row["state"] for row in rows if row["name"] == "Sender.send"} == {"waiting"}
    for filters, count in (
        (["--type", "Greeter.say"], 2),
        (["--type", "Sender.send@2.0"], 1),
        (["--type", "Sender.send@1.0"], 0),
        (["--state", "waiting"], 1),
        (["--list", "demo"], 3),
        (["--list", "demo/demo"], 3),
        (["--list", "other"], 0),
        (["--domain", "other"], 0),
        (["--older-than", "1h"], 0),
        (["--older-than", "0"], 3),
        (["--limit", "1"], 1),
    ):
        listed = run("tasks", "list", "--json", *filters)
        assert len(listed.rows) == count, (filters, listed)
    table = run("tasks", "list")
    assert table.out.splitlines()[0].split()[:3] == ["ID", "AGE", "STATE"]
    assert "Sender.send@2.0" in table.out
    assert MARK not in table.out


def test_a_task_is_shown_by_the_beginning_of_its_id_and_its_input_only_on_demand(
    bridge: Bridge, swf: LocalSwf, worker: Worker, run: Run
) -> None:
    worker.queue()
    submit(swf)
    task = worker.take()
    name = task.properties.message_id[:8]
    shown = run("tasks", "show", name)
    assert shown.code == 0
    assert task.properties.message_id in shown.out
    assert MARK not in shown.out
    assert task.json["taskToken"] not in shown.out
    assert "taskToken" not in run("tasks", "show", name, "--json").json
    payload = run("tasks", "show", name, "--payload", "--json").json
    assert payload["input"] == task.json["input"]
    assert payload["taskToken"] == task.json["taskToken"]
    missing = run("tasks", "show", "ffffffffffff")
    assert (missing.code, missing.out) == (70, "")
    assert "no task ffffffffffff is in hand" in missing.err


def test_what_a_purged_queue_lost_is_published_again_under_the_same_message_id(
    bridge: Bridge, swf: LocalSwf, worker: Worker, run: Run
) -> None:
    worker.queue()
    ids = submit(swf, 200)
    assert worker.until(lambda: worker.ready("work") == 100)
    lost = {each.properties.message_id: each.headers["swf-bridge-attempt"]
            for each in worker.take_all()}  # fmt: skip
    assert len(lost) == 100
    dry = run("tasks", "republish", "--all", "--dry-run")
    assert dry.out.endswith("100 would be published again\n")
    assert worker.ready("work") == 0
    done = run("tasks", "republish", "--all")
    assert (done.code, done.out) == (0, "100 of 100 published again\n")
    assert "\r" not in done.err
    again = worker.take_many(100)
    assert {each.properties.message_id for each in again} == set(lost)
    assert all(each.headers["swf-bridge-attempt"] != lost[each.properties.message_id]
               for each in again)  # fmt: skip
    for each in again:
        worker.complete(each)
    for each in worker.take_many(100):
        worker.complete(each)
    assert swf.wait_closed(ids, timeout=20)


def test_republishing_is_limited_by_filters_ids_and_limit(
    bridge: Bridge, swf: LocalSwf, worker: Worker, run: Run
) -> None:
    worker.queue()
    submit(swf, 4)
    submit(swf, 1, "Sender.send")
    taken = worker.take_many(5)
    assert published(run, 5)
    assert run("tasks", "republish", "--type", "Sender.send", "--json").json["confirmed"] == 1
    assert worker.take().json["activityType"]["name"] == "Sender.send"
    two = [each.properties.message_id for each in taken[:2]]
    assert run("tasks", "republish", *two, "--json").json["confirmed"] == 2
    assert [each.properties.message_id for each in worker.take_many(2)] == two
    assert run("tasks", "republish", "--all", "--limit", "3", "--json").json["confirmed"] == 3
    worker.take_many(3)
    assert worker.ready("work") == 0


def test_what_cannot_be_published_again_is_counted_with_the_reason_and_stays_in_hand(
    bridge: Bridge, swf: LocalSwf, worker: Worker, vhost: Vhost, run: Run
) -> None:
    worker.queue()
    submit(swf, 3)
    assert published(run, 3)
    vhost.api.delete_queue("work", vhost=vhost.name)
    done = run("tasks", "republish", "--all")
    assert done.code == 70
    assert "3 have no queue" in done.out
    assert "no queue is bound to exchange swf.activities for routing key Greeter.say" in done.out
    worker.queue()
    assert run("tasks", "republish", "--all").out == "3 of 3 published again\n"
    assert len(worker.take_many(3)) == 3


def test_tasks_without_a_first_confirm_are_left_to_the_daemon(
    bridge: Bridge, swf: LocalSwf, worker: Worker, run: Run
) -> None:
    submit(swf, 2)
    bridge.wait("task.unroutable")
    told = run("tasks", "republish", "--all", "--json")
    assert until(lambda: run("tasks", "republish", "--all", "--json").json["waiting"] == 2), told
    worker.queue()
    assert len({each.properties.message_id for each in worker.take_many(2)}) == 2
    assert published(run, 2)
    assert worker.take_now() is None


def test_a_task_is_failed_in_swf_with_the_reason_and_its_slot_is_free(
    start: Start, swf: LocalSwf, worker: Worker, run: Run
) -> None:
    start(max_in_flight=2)
    worker.queue()
    ids = submit(swf, 3)
    first, second = worker.take_many(2)
    name = first.properties.message_id
    dry = run("tasks", "fail", name, "--dry-run")
    assert "1 would be failed" in dry.out
    done = run("tasks", "fail", name, "--reason", "the printer is gone")
    assert done.code == 0, done
    assert f"{name}  failed" in done.out
    assert "1 of 1 failed, 0 closed before, 0 left" in done.out
    failed = next(task for task in swf.tasks() if task["state"] == "failed")
    assert failed["reason"] == "the printer is gone"
    third = worker.take()  # its slot came free
    worker.complete(second)
    worker.complete(third)
    assert swf.wait_closed(ids, timeout=10)
    gone = run("tasks", "fail", name)
    assert gone.code == 70
    assert "is in hand" in gone.err


def test_a_task_that_swf_has_closed_is_let_go_by_failing_it(
    bridge: Bridge, swf: LocalSwf, worker: Worker, run: Run
) -> None:
    worker.queue()
    ids = submit(swf, 2)
    worker.take_many(2)
    assert published(run, 2)
    swf.terminate(ids[0])
    told = run("tasks", "fail", "--all", "--json").rows
    assert sorted(each["outcome"] for each in told[:-1]) == ["closed", "failed"]
    assert told[-1]["left"] == 0
    assert run("tasks", "list", "--json").rows == []
    assert run("status", "--json").json["lists"][0]["inFlight"] == 0


def test_a_task_that_swf_would_not_fail_is_told_as_refused_and_the_command_as_not_done(
    bridge: Bridge, swf: LocalSwf, worker: Worker, run: Run
) -> None:
    worker.queue()
    submit(swf)
    token = worker.take().json["taskToken"]
    assert published(run, 1)
    swf.faults.add("invalid-token", operation="RespondActivityTaskFailed", token=token)
    done = run("tasks", "fail", "--all")
    assert done.code == 70
    assert "0 of 1 failed, 0 closed before, 0 left, 1 refused by SWF\n" in done.out


@pytest.mark.parametrize("command", ["republish", "fail"])
def test_no_task_is_changed_that_was_not_named(
    bridge: Bridge, swf: LocalSwf, worker: Worker, run: Run, command: str
) -> None:
    worker.queue()
    submit(swf)
    worker.take()
    refused = run("tasks", command)
    assert refused.code == 64
    assert "--all" in refused.err
    assert run("tasks", command, "--limit", "1").code == 64
    assert run("tasks", command, "abcdef").code == 70
    assert worker.take_now() is None
    assert swf.tasks(state="closed") == []


# --- dead letters ---


@pytest.fixture
def letters(bridge: Bridge, worker: Worker, run: Run) -> list[str]:
    """Dead letters of two codes, by their message ids."""
    assert until(lambda: "all is well" in run("status").out)
    for n in range(40):
        body = b'{"status": "completed"}' if n % 4 == 0 else f"{MARK} {n}".encode()
        worker.send(body, message_id=f"letter-{n}", timestamp=1_700_000_000 + n,
                    headers={"secret": MARK})  # fmt: skip
    assert worker.until(lambda: worker.ready(DEAD) == 40)
    return [f"letter-{n}" for n in range(40)]


def test_listing_dead_letters_shows_all_but_their_bodies_and_uses_none_up(
    letters: list[str], worker: Worker, run: Run
) -> None:
    first = run("dead", "list", "--json")
    assert sorted(row["messageId"] for row in first.rows) == sorted(letters)
    order = [row["id"] for row in first.rows]
    for _ in range(3):
        again = run("dead", "list", "--json").rows
        assert [row["id"] for row in again] == order
    assert [row["deliveries"] for row in again] == [3] * 40
    assert worker.ready(DEAD) == 40
    table = run("dead", "list")
    assert MARK not in table.out + first.out
    assert "token-missing" in table.out
    row = first.rows[0]
    assert row["size"] > 0
    assert row["age"] > 3600 * 24 * 365
    assert row["detail"]


def test_dead_letters_are_filtered_by_code_age_and_limit(letters: list[str], run: Run) -> None:
    missing = run("dead", "list", "--code", "token-missing", "--json").rows
    assert {row["messageId"] for row in missing} == set(letters[::4])
    assert len(run("dead", "list", "--older-than", "1d", "--json").rows) == 40
    assert len(run("dead", "list", "--older-than", "36500d", "--json").rows) == 0
    limited = run("dead", "list", "--limit", "5", "--json")
    assert [row["position"] for row in limited.rows] == [1, 2, 3, 4, 5]
    assert "35 of 40 not read" in limited.err


def test_a_dead_letter_is_shown_by_place_or_id_and_its_body_only_on_demand(
    letters: list[str], run: Run
) -> None:
    row = next(row for row in run("dead", "list", "--json").rows if row["code"] == "not-json")
    by_place = run("dead", "show", str(row["position"]), "--json")
    assert by_place.json["id"] == row["id"]
    shown = run("dead", "show", row["id"][:6])
    assert row["id"] in shown.out
    assert MARK not in shown.out + by_place.out
    whole = run("dead", "show", row["id"], "--payload", "--json").json
    assert whole["body"].startswith(MARK)
    assert whole["headers"]["secret"] == MARK
    assert run("dead", "show", "41").code == 70
    assert run("dead", "show", "abcdefabcdef").code == 70


def test_a_replayed_letter_settles_its_task_once_what_was_wrong_is_mended(
    bridge: Bridge, swf: LocalSwf, worker: Worker, run: Run
) -> None:
    """A token that SWF did not take: the letter of another SWF, say."""
    worker.queue()
    ids = submit(swf)
    task = worker.take()
    bridge.wait_connected()  # what declares the dead-letter queue, too
    # A good reply, put where dead letters are: what is to be proven is the way back.
    body = {"taskToken": task.json["taskToken"], "status": "completed", "result": "done"}
    worker.send(body, to=DEAD, correlation_id="c-1",
                headers={"swf-bridge-error": "token-invalid", "mine": "kept"})  # fmt: skip
    (row,) = run("dead", "list", "--json").rows
    assert row["task"] == task.properties.message_id
    done = run("dead", "replay", row["id"])
    assert (done.code, done.out) == (0, "1 of 1 replayed\n")
    assert swf.wait_closed(ids, timeout=10)
    assert worker.ready(DEAD) == 0


def test_replaying_brings_back_what_is_still_wrong_and_ends(
    letters: list[str], worker: Worker, run: Run
) -> None:
    dry = run("dead", "replay", "--code", "token-missing", "--dry-run")
    assert dry.out == "10 of 40 would be replayed\n"
    done = run("dead", "replay", "--all")
    assert done.out == "40 of 40 replayed\n"
    assert worker.until(lambda: worker.ready(DEAD) == 40)
    rows = run("dead", "list", "--json").rows
    assert sorted(row["messageId"] for row in rows) == sorted(letters)
    assert all(row["deliveries"] <= 1 for row in rows), "they are new letters"
    assert len(run("dead", "replay", "--all", "--limit", "7", "--json").out) > 0
    assert worker.until(lambda: worker.ready(DEAD) == 40)


def test_letters_are_dropped_by_id_and_by_filter_and_the_others_keep_their_order(
    letters: list[str], worker: Worker, run: Run
) -> None:
    rows = run("dead", "list", "--json").rows
    kept = [row["id"] for row in rows if row["code"] != "token-missing"]
    done = run("dead", "drop", "--code", "token-missing")
    assert (done.code, done.out) == (0, "10 of 40 dropped\n")
    assert [row["id"] for row in run("dead", "list", "--json").rows] == kept
    one = run("dead", "drop", kept[3], "abcdefabcdef")
    assert one.code == 70
    assert "no dead letter abcdefabcdef" in one.err
    del kept[3]
    assert [row["id"] for row in run("dead", "list", "--json").rows] == kept
    assert run("dead", "drop", "--all", "--dry-run").out == "29 of 29 would be dropped\n"
    assert run("dead", "drop", "--all").out == "29 of 29 dropped\n"
    assert worker.ready(DEAD) == 0


@pytest.mark.parametrize("command", ["replay", "drop"])
def test_no_letter_is_changed_that_was_not_named(
    letters: list[str], worker: Worker, run: Run, command: str
) -> None:
    assert run("dead", command).code == 64
    assert run("dead", command, "--limit", "1").code == 64
    assert run("dead", command, "abc").code == 64
    assert worker.ready(DEAD) == 40


class OnTerminal:
    """A command whose standard input and error are a terminal."""

    def __init__(self, tmp_path: Path, *args: str) -> None:
        self._terminal, end = pty.openpty()
        self._out = os.memfd_create("out")
        control = str(tmp_path / "journal.sock")
        self._command = forked.python(
            ["-m", "bridge", *args, "--control", control],
            env=forked.SHELL, stdin=end, stderr=end, stdout=self._out, taken_apart=False,
        )  # fmt: skip
        os.close(end)

    def answers(self, text: str) -> str:
        """What it asked, and is answered so."""
        said = b""
        while b"[y/N] " not in said:
            said += os.read(self._terminal, 1024)
        self.type(text)
        return said.decode()

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def ends(self) -> tuple[int, str]:
        code = self._command.wait(TIMEOUT)
        os.close(self._terminal)
        with open(self._out, "rb") as out:
            out.seek(0)
            return code, out.read().decode()


def test_failing_tasks_asks_on_a_terminal_and_fails_none_that_came_after_the_question(
    bridge: Bridge, swf: LocalSwf, worker: Worker, run: Run, tmp_path: Path
) -> None:
    worker.queue()
    submit(swf, 2)
    assert published(run, 2)
    refused = OnTerminal(tmp_path, "tasks", "fail", "--all")
    assert "Fail 2 tasks in SWF? [y/N] " in refused.answers("n\n")
    assert refused.ends() == (70, "")
    assert published(run, 2)
    agreed = OnTerminal(tmp_path, "tasks", "fail", "--list", "demo")
    asked = agreed.answers("")
    assert "Fail 2 tasks in SWF? [y/N] " in asked
    submit(swf, 1)
    assert published(run, 3)
    agreed.type("y\n")
    code, out = agreed.ends()
    assert (code, out.splitlines()[-1]) == (0, "2 of 2 failed, 0 closed before, 0 left")
    assert published(run, 1)
    (left,) = run("tasks", "list", "--json").rows
    assert OnTerminal(tmp_path, "tasks", "fail", left["id"]).ends()[0] == 0


def test_of_no_dead_letters_and_no_tasks_nothing_is_asked(
    bridge: Bridge, run: Run, tmp_path: Path
) -> None:
    assert until(lambda: "all is well" in run("status").out)
    assert OnTerminal(tmp_path, "dead", "drop", "--all").ends() == (0, "0 of 0 dropped\n")
    assert OnTerminal(tmp_path, "tasks", "fail", "--all").ends()[0] == 0


@pytest.mark.parametrize(("answer", "left"), [("n\n", 40), ("y\n", 0)])
def test_dropping_asks_on_a_terminal(
    letters: list[str], worker: Worker, tmp_path: Path, answer: str, left: int
) -> None:
    drop = OnTerminal(tmp_path, "dead", "drop", "--all")
    assert "Delete 40 of 40 dead letters for good? [y/N] " in drop.answers(answer)
    assert drop.ends()[0] == (0 if left == 0 else 70)
    assert worker.ready(DEAD) == left


# --- the socket ---


def test_without_a_daemon_a_command_says_so_and_exits_69(run: Run, tmp_path: Path) -> None:
    for args in (["status"], ["tasks", "list"], ["dead", "list"]):
        ended = run(*args)
        assert (ended.code, ended.out) == (69, "")
        assert ended.err.startswith("swf-bridge: no daemon answers at ")
        assert len(ended.err.splitlines()) == 1
    assert "/run/swf-bridge/nobody/control.sock" in run("status", "--instance", "nobody",
                                                        here=False).err  # fmt: skip


def test_the_socket_is_its_owners_and_goes_with_the_daemon_that_ends(
    bridge: Bridge, tmp_path: Path
) -> None:
    socket = tmp_path / "journal.sock"
    assert socket.stat().st_mode & 0o777 == 0o600
    assert bridge.stop() == 0
    assert not socket.exists()


def test_the_socket_of_a_killed_daemon_is_replaced(bridge: Bridge, run: Run) -> None:
    bridge.kill()
    bridge.start()
    assert run("status", "--json").json["pid"] == bridge.pid


def test_a_second_daemon_does_not_take_the_socket_of_the_first(
    bridge: Bridge, start: Start, run: Run, tmp_path: Path
) -> None:
    second = start(
        await_start=False,
        journal=tmp_path / "second.db",
        control=tmp_path / "journal.sock",
    )
    assert second.leave() == 78
    assert "SWF_BRIDGE_CONTROL: another daemon answers" in second.log
    assert run("status", "--json").json["pid"] == bridge.pid


def test_without_rabbitmq_tasks_are_listed_and_letters_are_unavailable(
    start: Start, run: Run
) -> None:
    start(amqp_url="amqp://guest:guest@127.0.0.1:1/")
    assert run("tasks", "list").code == 0
    dead = run("dead", "list")
    assert dead.code == 69
    assert "RabbitMQ" in dead.err
    assert run("dead", "replay", "--all").code == 69
    assert run("tasks", "republish", "--all").code == 69
    status = run("status")
    assert status.code == 70
    assert run("status", "--json").json["findings"][0]["title"] == "RabbitMQ is away"
    assert "RabbitMQ is away or blocked" in status.out
