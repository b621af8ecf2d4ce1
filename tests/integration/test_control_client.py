import argparse
import io
import json
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from bridge.__main__ import main
from bridge.cli import client, text
from tests.integration.cli_process import swf_bridge


def args(**given):
    return argparse.Namespace(**{"control": None, "instance": None, "peer": None, **given})


@pytest.mark.parametrize(
    ("given", "environ", "path"),
    [
        ({"control": Path("/x/y")}, {"SWF_BRIDGE_CONTROL": "/a"}, "/x/y"),
        ({"instance": "eu"}, {"SWF_BRIDGE_CONTROL": "/a"}, "/run/swf-bridge/eu/control.sock"),
        ({"peer": "2"}, {"SWF_BRIDGE_CONTROL": "/a"}, "/run/swf-bridge-peer/2/control.sock"),
        ({}, {"SWF_BRIDGE_CONTROL": "/a", "RUNTIME_DIRECTORY": "/r"}, "/a"),
        ({}, {"SWF_BRIDGE_CONTROL": "", "RUNTIME_DIRECTORY": "/r:/s"}, "/r/control.sock"),
        ({}, {"SWF_BRIDGE_JOURNAL": "/var/lib/x/tasks.db"}, "/var/lib/x/tasks.sock"),
        ({}, {}, "swf-bridge.sock"),
    ],
)
def test_the_socket_is_looked_for_where_the_settings_put_it(given, environ, path):
    assert client.socket_path(args(**given), environ) == Path(path)


def test_without_settings_the_installed_daemon_is_meant(tmp_path):
    (tmp_path / "control.sock").touch()
    assert client.socket_path(args(), {}, tmp_path) == tmp_path / "control.sock"


def test_a_folder_that_may_not_be_searched_may_hold_the_socket(monkeypatch):
    def stat(path):
        raise PermissionError

    monkeypatch.setattr(Path, "stat", stat)
    assert client.socket_path(args(), {}) == client.RUN / "control.sock"


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_an_instance_that_no_unit_can_have_is_a_wrong_command(name):
    ended = swf_bridge("status", "--instance", name)
    assert ended.code == 64


def test_a_socket_that_may_not_be_used_exits_69_in_a_sentence(monkeypatch, capsys):
    def connect(self, path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", type("Locked", (socket.socket,), {"connect": connect}))
    assert main(["status", "--control", "/run/x.sock"]) == 69
    assert capsys.readouterr().err == (
        "swf-bridge: no permission to use /run/x.sock: be root, or the user that the daemon runs"
        " as\n"
    )


@pytest.fixture
def daemon(tmp_path):
    """Answers one client with the lines given, then hangs up."""
    listener = socket.socket(socket.AF_UNIX)
    path = tmp_path / "control.sock"
    listener.bind(str(path))
    listener.listen()
    threads = []

    def answer(*lines):
        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                for line in lines:
                    connection.sendall(line if isinstance(line, bytes) else
                                       json.dumps(line).encode() + b"\n")  # fmt: skip

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return path

    yield answer
    listener.close()
    for thread in threads:
        thread.join(5)


@pytest.mark.parametrize(
    ("code", "exit_code"), [("usage", 64), ("unavailable", 69), ("busy", 69), ("not-found", 70)]
)
def test_an_error_of_the_daemon_is_a_sentence_and_an_exit_code(daemon, capsys, code, exit_code):
    path = daemon({"error": code, "message": "so it is\n"})
    assert main(["tasks", "list", "--control", str(path)]) == exit_code
    assert capsys.readouterr().err == "swf-bridge: so it is\\n\n"


@pytest.mark.parametrize("lines", [(), ({"row": {}},), (b"no json\n",)])
def test_a_daemon_that_ends_before_its_answer_is_no_answer(daemon, capsys, lines):
    path = daemon(*lines)
    assert main(["tasks", "list", "--control", str(path)]) == 69
    out, err = capsys.readouterr()
    assert "ended before its answer did" in err
    assert out == ""


def test_a_daemon_that_says_nothing_is_not_waited_for_forever(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / "s"))
        hung.listen()
        assert main(["status", "--control", str(tmp_path / "s")]) == 69
    assert "does not answer" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


REPUBLISHED = {
    "matched": 2, "confirmed": 2, "unroutable": 0, "refused": 0, "nacked": 0, "expired": 0,
    "waiting": 0,
    "answered": 0, "reasons": {},
}  # fmt: skip


def test_progress_rewrites_one_line_on_a_terminal_and_leaves_it_free(daemon, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    path = daemon(
        {"progress": {"done": 1, "total": 2}},
        {"progress": {"done": 2, "total": 2}},
        {"result": REPUBLISHED},
    )
    assert main(["tasks", "republish", "--all", "--control", str(path)]) == 0
    assert terminal.getvalue() == "\r\x1b[K1 of 2\r\x1b[K2 of 2\r\x1b[K"


def test_progress_is_a_plain_line_now_and_then_elsewhere(capsys):
    progress = client.Progress(plain=0.0)
    progress.show({"done": 1, "total": 2})
    progress.show({"text": "nearly there"})
    progress.clear()
    assert capsys.readouterr().err == "1 of 2\nnearly there\n"


def test_work_that_is_soon_done_tells_no_progress_elsewhere(daemon, capsys):
    path = daemon({"progress": {"done": 1, "total": 2}}, {"result": REPUBLISHED})
    assert main(["tasks", "republish", "--all", "--control", str(path)]) == 0
    assert capsys.readouterr() == ("2 of 2 published again\n", "")


def test_names_with_control_characters_cannot_speak_to_the_terminal(daemon, capsys):
    row = {
        "id": "a" * 32, "age": 1, "state": "published", "domain": "d", "taskList": "t",
        "name": "\x1b[31mred", "version": "1", "workflowId": "a\nb", "activityId": "\u202eevil",
    }  # fmt: skip
    path = daemon({"row": row}, {"result": {"matched": 1, "shown": 1}})
    assert main(["tasks", "list", "--control", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert len(out.splitlines()) == 2


@pytest.mark.parametrize(
    ("given", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172_800)]
)
def test_spans_of_time_are_taken_in_four_units(given, seconds):
    assert text.seconds(given) == seconds


@pytest.mark.parametrize("given", ["", "m", "-1", "1w", "nan", "inf", "1e99d"])
def test_what_is_no_span_of_time_is_a_wrong_command(given):
    assert swf_bridge("tasks", "list", f"--older-than={given}").code == 64


@pytest.mark.parametrize("given", ["0", "-1", "x", "1.5", "٣"])
def test_what_is_no_count_is_a_wrong_command(given):
    assert swf_bridge("tasks", "list", f"--limit={given}").code == 64


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0, "0s"), (119, "119s"), (120, "2m"), (7200, "2.0h"), (86400, "24h"),
     (172_800, "2d")],
)  # fmt: skip
def test_spans_are_shown_in_their_largest_unit(seconds, shown):
    assert text.span(seconds) == shown


def test_a_command_loads_nothing_that_is_slow(tmp_path):
    script = (
        "import sys; from bridge.__main__ import main;"
        f"main(['status', '--control', '{tmp_path / 'none'}']);"
        "slow = {'pydantic', 'boto3', 'pika', 'sentry_sdk', 'prometheus_client', 'sqlite3'};"
        "sys.exit(repr(slow & set(sys.modules)) if slow & set(sys.modules) else 0)"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", script]) == 0
