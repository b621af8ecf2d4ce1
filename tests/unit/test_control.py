import json
import os
import socket
import stat
import threading
import time

import pytest

from bridge.control.request import Request
from bridge.control.server import CLIENTS, REQUEST_LIMIT, ControlServer
from bridge.errors import ConfigError, Declined, Unavailable
from tests.unit.bridge_parts import until


class Commands:
    """Commands for tests: `go` lets those that wait go on."""

    def __init__(self):
        self.go = threading.Event()
        self.closed = threading.Event()

    def by_name(self):
        return {
            "status": self.status,
            "wait": self.wait,
            "many": self.many,
            "decline": self.decline,
            "away": self.away,
            "break": self.breaks,
        }

    def status(self, request):
        yield {"result": {"heard": request.texts("ids")}}

    def wait(self, request):
        try:
            while not self.go.wait(0.05):
                yield {"progress": {"done": 0, "total": 1}}
            yield {"result": {}}
        finally:
            self.closed.set()

    def many(self, request):
        try:
            while True:
                yield {"row": "x" * 10_000}
        finally:
            self.closed.set()

    def decline(self, request):
        raise Declined("not-found", "there is none")
        yield

    def away(self, request):
        raise Unavailable("RabbitMQ", "amqp://user:s3cr3t@host/ is away")
        yield

    def breaks(self, request):
        yield {"row": 1}
        raise RuntimeError("s3cr3t")


@pytest.fixture
def commands():
    return Commands()


@pytest.fixture
def server(request, tmp_path, commands):
    """A server that runs; a test may give it other time-outs, as the fixture's parameter."""
    timeouts = getattr(request, "param", {})
    server = ControlServer(tmp_path / "control.sock", commands.by_name(), **timeouts)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    commands.go.set()
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


def connect(server):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(server.path))
    return client


def ask(server, request):
    """Every answer to the bytes, or to the object as JSON."""
    with connect(server) as client, client.makefile("rb") as answers:
        client.sendall(request if isinstance(request, bytes) else line(request))
        return [json.loads(each) for each in answers]


def line(request):
    return json.dumps(request).encode() + b"\n"


def works(server):
    return ask(server, {"command": "status"}) == [{"result": {"heard": []}}]


def test_a_command_is_answered_with_its_result(server):
    assert ask(server, {"command": "status", "ids": ["a", "b"]}) == [
        {"result": {"heard": ["a", "b"]}}
    ]


def test_the_socket_is_for_its_owner_alone_from_the_first_moment(tmp_path, monkeypatch):
    modes = []
    bind = socket.socket.listen

    def listen(listener, backlog):
        modes.append(stat.S_IMODE(os.stat(listener.getsockname()).st_mode))
        bind(listener, backlog)

    monkeypatch.setattr(socket.socket, "listen", listen)
    old = os.umask(0)
    try:
        ControlServer(tmp_path / "control.sock", {}).stop()
    finally:
        os.umask(old)
    assert modes == [0o600]


@pytest.mark.parametrize(
    "request_",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe\n",
        b"[]\n",
        b'"status"\n',
        b"[" * 100_000 + b"\n",
        b"{}\n",
        line({"command": 7}),
        line({"command": ["status"]}),
        line({"command": "no such thing"}),
        line({"command": "status", "ids": "abc"}),
        line({"command": "status", "ids": [1]}),
    ],
)
def test_garbage_is_answered_as_such(server, request_):
    (answer,) = ask(server, request_)
    assert answer["error"] == "usage"
    assert works(server)


@pytest.mark.parametrize("server", [{"request_timeout": 0.3}], indirect=True)
def test_a_request_that_never_ends_is_cut_off(server):
    with connect(server) as client:
        client.sendall(b'{"command"')
        assert client.recv(1) == b""
    assert works(server)


def test_a_request_beyond_the_limit_is_cut_off(server):
    with connect(server) as client:
        with pytest.raises(ConnectionError):
            client.sendall(b"x" * 4 * REQUEST_LIMIT)
        assert works(server)


def test_what_is_declined_away_or_broken_is_told_without_secrets(server, caplog):
    assert ask(server, {"command": "decline"}) == [
        {"error": "not-found", "message": "there is none"}
    ]
    (away,) = ask(server, {"command": "away"})
    assert away["error"] == "unavailable"
    assert "s3cr3t" not in away["message"]
    row, failed = ask(server, {"command": "break"})
    assert row == {"row": 1}
    assert failed["error"] == "failed"
    assert "s3cr3t" not in failed["message"]
    assert [each.message for each in caplog.records] == ["command.failed"]


def test_a_client_that_goes_away_ends_its_command_and_nothing_else(server, commands):
    with connect(server) as client:
        client.sendall(line({"command": "wait"}))
        client.recv(100)
    assert commands.closed.wait(5)
    assert works(server)


@pytest.mark.parametrize("server", [{"send_timeout": 0.3}], indirect=True)
def test_a_client_that_reads_nothing_ends_its_command_and_nothing_else(server, commands):
    with connect(server) as client:
        client.sendall(line({"command": "many"}))
        assert works(server)
        assert commands.closed.wait(5)


def test_so_many_clients_are_served_at_once_and_the_next_is_told_to_come_again(server, commands):
    clients = [connect(server) for _ in range(CLIENTS)]
    for client in clients:
        client.sendall(line({"command": "wait"}))
        client.recv(1)
    with connect(server) as turned_away:
        assert json.loads(turned_away.recv(1000))["error"] == "busy"
    commands.go.set()
    for client in clients:
        while client.recv(65536):
            pass
        client.close()
    until(lambda: works(server))


def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = ControlServer(path, {})
    assert stat.S_ISSOCK(path.stat().st_mode)
    server.stop()
    assert not path.exists()


def test_the_socket_of_a_live_daemon_is_left_alone(server):
    with pytest.raises(ConfigError, match="SWF_BRIDGE_CONTROL: another daemon answers at"):
        ControlServer(server.path, {})
    assert works(server)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "control.sock"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is there and is no socket"):
        ControlServer(path, {})
    assert path.read_text() == "mine"


def test_a_folder_that_takes_no_socket_is_a_wrong_setting(tmp_path):
    with pytest.raises(ConfigError, match="SWF_BRIDGE_CONTROL: cannot listen on"):
        ControlServer(tmp_path / "missing" / "control.sock", {})


def test_stopping_leaves_the_socket_of_a_successor_alone(tmp_path):
    path = tmp_path / "control.sock"
    first = ControlServer(path, {})
    path.unlink()
    second = ControlServer(path, {})
    first.stop()
    first.stop()
    assert path.exists()
    second.stop()


def test_a_socket_that_was_removed_is_made_again_and_stopping_takes_it_away(server, caplog):
    caplog.set_level("INFO")
    server.path.unlink()
    until(lambda: "control.back" in caplog.messages)
    assert "control.lost" in caplog.messages
    assert server.path.stat().st_mode & 0o777 == 0o600
    assert works(server)
    server.stop()
    until(lambda: not server.path.exists())


def test_a_socket_whose_folder_was_removed_is_made_again_once_the_folder_is_there(tmp_path, caplog):
    caplog.set_level("INFO")
    folder = tmp_path / "run"
    folder.mkdir()
    server = ControlServer(folder / "control.sock", Commands().by_name())
    thread = threading.Thread(target=server.run)
    thread.start()
    folder.rename(tmp_path / "gone")  # at once: the server looks meanwhile
    moved = server.moved
    until(lambda: server.moved > moved + 1)
    folder.mkdir()
    until(lambda: "control.back" in caplog.messages)
    assert works(server)
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_the_socket_of_a_successor_is_not_replaced(server):
    server.path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(server.path))
        successor.listen()
        moved = server.moved
        until(lambda: server.moved > moved + 1)
        with connect(server):
            accepted, _ = successor.accept()
            accepted.close()


def test_an_idle_server_moves_and_stops_at_once(server):
    moved = server.moved
    until(lambda: server.moved > moved)
    begun = time.monotonic()
    server.stop()
    until(lambda: not server.path.exists())
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"limit": 0}, lambda r: r.count("limit")),
        ({"limit": True}, lambda r: r.count("limit")),
        ({"limit": 1.5}, lambda r: r.count("limit")),
        ({"limit": 10**400}, lambda r: r.count("limit")),
        ({"older_than": 10**400}, lambda r: r.seconds("older_than")),
        ({"older_than": -1}, lambda r: r.seconds("older_than")),
        ({"older_than": "1h"}, lambda r: r.seconds("older_than")),
        ({"older_than": float("inf")}, lambda r: r.seconds("older_than")),
        ({"all": "yes"}, lambda r: r.flag("all")),
        ({"type": 1}, lambda r: r.text("type")),
    ],
)
def test_a_field_of_another_type_is_declined(fields, read):
    with pytest.raises(Declined) as declined:
        read(Request(fields))
    assert declined.value.code == "usage"


def test_a_field_that_is_absent_or_null_was_not_given():
    for request in (Request({}), Request(dict.fromkeys(("a", "b", "c", "d", "e")))):
        assert request.text("a") == ""
        assert request.texts("b") == ()
        assert request.count("c") is None
        assert request.seconds("d") is None
        assert request.flag("e") is False
