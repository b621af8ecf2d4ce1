"""The log over outages, one line at each end, and in each of the forms that it may have."""

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import Bridge, Site, Start
from tests.brokers import Vhost
from tests.processes import until
from tests.worker import DEAD, REPLIES, Worker

MANY = 3000


class Door:
    """A port in front of a broker: shut, it ends every connection at once and counts knocks."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._behind = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{parts.port}/", f":{self._listener.getsockname()[1]}/")
        self.knocks = 0
        self._shut = False
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def shut(self) -> None:
        self._shut = True
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        self._shut = False

    def close(self) -> None:
        self.shut()
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                came, _ = self._listener.accept()
                if self._shut:
                    self.knocks += 1
                    came.close()
                    continue
                behind = socket.create_connection(self._behind)
                self._open += [came, behind]
                for ends in ((came, behind), (behind, came)):
                    threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def door(vhost: Vhost) -> Iterator[Door]:
    door = Door(vhost.url)
    yield door
    door.close()


def lines(bridge: Bridge, *names: str) -> Counter[tuple[str, str]]:
    """How often each of these events stands in the log, by connection or list."""
    return Counter(
        (name, each.get("connection") or each["task_list"])
        for name in names
        for each in bridge.events(name)
    )


CONNECTIONS = ("publisher", "consumer", "answers", "copies", "undeliverable", "notices")


def test_a_broker_that_is_away_is_one_line_for_each_connection_and_one_when_it_is_back(
    start: Start, door: Door, worker: Worker, swf: LocalSwf
) -> None:
    worker.queue()
    bridge = start(amqp_url=door.url, log_level="INFO")
    for connection in CONNECTIONS:
        bridge.wait("broker.connected", connection=connection)
    task_id = swf.submit()
    worker.complete(worker.take())
    assert swf.wait_closed(task_id, 10)
    door.shut()
    assert until(lambda: door.knocks >= 5 * len(CONNECTIONS), 30)
    assert swf.wait_closed(task_id)
    door.open()
    for connection in CONNECTIONS:
        back = bridge.wait("broker.connected", 30, count=2, connection=connection)
        assert back["seconds"] > 1
        assert back["count"] >= 3
    assert bridge.stop() == 0
    told = {"broker.lost": 1, "broker.connected": 2}  # the first connection is told, too
    assert lines(bridge, *told) == {
        (event, connection): count for event, count in told.items() for connection in CONNECTIONS
    }
    lost = bridge.events("broker.lost")
    assert {each["level"] for each in lost} == {"warning"}
    assert all(each["address"] == door.url.rpartition("@")[2].partition("/")[0] for each in lost)


def test_an_swf_that_is_away_is_one_line_for_each_list_and_one_when_it_is_back(
    start: Start, swf: LocalSwf
) -> None:
    bridge = start(task_lists="one,two", pollers=3, log_level="INFO")

    def polls() -> int:
        return Counter(swf.counts()["calls"].get("PollForActivityTask", {})).total()

    swf.faults.add("unavailable", operation="PollForActivityTask")
    before = polls()
    assert until(lambda: polls() >= before + 18, 30)
    swf.faults.clear()
    for task_list in ("one", "two"):
        back = bridge.wait("poll.back", 40, task_list=task_list)
        assert back["count"] >= 3
    assert bridge.stop() == 0
    assert lines(bridge, "poll.failing", "poll.back") == {
        (event, task_list): 1
        for event in ("poll.failing", "poll.back")
        for task_list in ("one", "two")
    }
    assert {each["domain"] for each in bridge.events("poll.failing")} == {"demo"}


LINES = {
    "json": r"\{.*\}",
    "text": r"\d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO|WARNING) +[a-z_]+\.[a-z_]+( .*)?",
    "journald": r"<[467]>[a-z_]+\.[a-z_]+ (.* )?thread=\S+",
}


@pytest.mark.parametrize("log_format", LINES)
def test_each_line_of_a_run_has_the_form_that_was_asked_for(
    start: Start, worker: Worker, swf: LocalSwf, log_format: str
) -> None:
    worker.queue()
    bridge = start(await_start=False, log_format=log_format)
    task_id = swf.submit("Greeter.say and more")
    worker.complete(worker.take())
    assert swf.wait_closed(task_id, 10)
    assert bridge.stop() == 0
    told = bridge.log.splitlines()
    assert len(told) >= 5
    assert [line for line in told if not re.fullmatch(LINES[log_format], line)] == []
    if log_format == "json":
        for event in map(json.loads, told):
            assert {"time", "level", "event", "logger", "thread"} <= set(event)
        assert bridge.events("task.polled")[0]["activity"] == "Greeter.say and more"


def test_thousands_of_bad_replies_are_a_few_lines_that_name_the_worker_and_their_number(
    site: Site,
) -> None:
    _, task = site.hand_out()
    body = {"taskToken": task.json["taskToken"], "status": "done"}
    for _ in range(1000):
        site.worker.send(body, app_id="encoder-7", user_id="guest")
    assert site.worker.until(lambda: site.worker.ready(DEAD) == 1000)
    assert len(site.bridge.events("reply.dead_lettered")) == 5
    site.bridge.stop()
    *told, last = site.bridge.events("reply.dead_lettered")
    assert (len(told), last["count"]) == (5, 995)
    for each in (*told, last):
        assert (each["app_id"], each["user_id"]) == ("encoder-7", "guest")
        assert (each["code"], each["activity"]) == ("status-unknown", "echo")
        assert each["task"] == task.properties.message_id


def test_a_bad_reply_is_counted_once_however_often_it_waits_for_its_turn(site: Site) -> None:
    site.bridge.wait("broker.connected", connection="consumer")
    burst = site.worker.channel.connection.channel()  # without confirms: faster than letters go out
    for _ in range(MANY):
        burst.basic_publish("", REPLIES, b"not JSON")
    assert site.worker.until(lambda: site.worker.ready(DEAD) == MANY, 30)

    def counted() -> int:
        outcomes: dict[str, int] = site.bridge.status["replies"]["outcomes"]
        return outcomes["dead_lettered"]

    assert site.worker.until(lambda: counted() >= MANY)
    assert counted() == MANY
