import json
import logging
import socket
from contextlib import contextmanager
from http.client import HTTPConnection
from threading import Event, Thread
from time import monotonic

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from bridge.status import page
from bridge.status.diagnosis.checks import Check, Kind, State, row
from bridge.status.http import CONNECTIONS, StatusServer
from bridge.telemetry import metrics
from bridge.telemetry.metrics import ALL
from bridge.telemetry.registry import Metrics
from tests.snapshots import snapshot
from tests.unit.bridge_parts import until


class Daemon:
    """Facts as a test wants them."""

    def __init__(self):
        self.alive = [Check(Kind.THREADS, State.OK, "moving")]
        self.ready = [
            Check(Kind.BROKER, State.OK, "connected", "publisher"),
            Check(Kind.JOURNAL, State.OK, "writable"),
        ]
        self.counts = Metrics()

    def livez(self):
        return self.alive

    def readyz(self):
        return self.ready

    def metrics(self):
        return self.counts

    def snapshot(self):
        checks = [*self.alive, *self.ready]
        return snapshot(checks={each.name: row(each, each.detail) for each in checks})


@pytest.fixture
def daemon():
    return Daemon()


@contextmanager
def serving(server):
    thread = Thread(target=server.run, name="status")
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture
def server(daemon):
    with serving(StatusServer(("127.0.0.1", 0), daemon)) as server:
        assert server.listening.wait(5)
        yield server


def ask(server, path, method="GET", body=None, **headers):
    connection = HTTPConnection(*server.address, timeout=5)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def ask_raw(server, data):
    with socket.create_connection(server.address, timeout=5) as sock:
        sock.sendall(data)
        answer = b""
        while part := sock.recv(65536):
            answer += part
        return answer


def test_ready_names_every_check_with_its_detail(server, daemon):
    response, text = ask(server, "/readyz")
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(text) == {
        "ok": True,
        "checks": {
            "broker publisher": {
                "ok": True,
                "detail": "connected",
                "kind": "broker",
                "state": "ok",
                "subject": "publisher",
            },
            "journal": {
                "ok": True,
                "detail": "writable",
                "kind": "journal",
                "state": "ok",
                "subject": "",
            },
        },
    }


def test_one_check_that_fails_makes_it_503(server, daemon):
    daemon.ready[0] = Check(Kind.BROKER, State.AWAY, "connection refused", "publisher")
    response, text = ask(server, "/readyz")
    assert response.status == 503
    told = json.loads(text)["checks"]["broker publisher"]
    assert (told["ok"], told["state"]) == (False, "away")
    assert told["detail"] == "connection refused"


def test_alive_does_not_depend_on_peers(server, daemon):
    daemon.ready[0] = Check(Kind.BROKER, State.AWAY, "away", "publisher")
    assert ask(server, "/livez")[0].status == 200
    daemon.alive[0] = Check(Kind.THREADS, State.STUCK, "stuck: poller-1")
    response, text = ask(server, "/livez")
    assert response.status == 503
    assert "poller-1" in text


def test_a_query_string_does_not_change_the_path(server):
    assert ask(server, "/livez?verbose")[0].status == 200


@pytest.mark.parametrize("path", ["/healthz", "/livez/", "/metrics.txt", "/../livez"])
def test_what_is_not_there_is_404_and_not_healthy(server, path):
    assert ask(server, path)[0].status == 404


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/none"])
def test_head_is_get_without_its_body(server, path):
    got, text = ask(server, path)
    head, nothing = ask(server, path, "HEAD")
    assert (head.status, nothing) == (got.status, "")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert int(got.headers["Content-Length"]) == len(text.encode())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_nothing_can_be_changed(server, method):
    response, _ = ask(server, "/livez", method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


def test_metrics_are_read_by_prometheus_own_parser(server, daemon):
    daemon.counts.count(metrics.POLLS, "dev", 'im"ages\\\n', "task", by=3)
    daemon.counts.observe(metrics.PUBLISH_CONFIRM, 0.3)
    daemon.counts.gauge(metrics.BROKER_CONNECTED, lambda: {("publisher",): True})
    response, text = ask(server, "/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    families = {family.name: family for family in parse_text(text)}
    (polls,) = families["swf_bridge_polls"].samples
    assert polls.value == 3
    assert polls.labels == {"domain": "dev", "task_list": 'im"ages\\\n', "outcome": "task"}
    confirm = families["swf_bridge_publish_confirm_duration_seconds"]
    told = {sample.labels.get("le", sample.name[-6:]): sample.value for sample in confirm.samples}
    assert (told["0.25"], told["0.5"], told["+Inf"]) == (0, 1, 1)
    assert (told["_count"], told["ds_sum"]) == (1, 0.3)
    (connected,) = families["swf_bridge_broker_connected"].samples
    assert (connected.labels, connected.value) == ({"connection": "publisher"}, 1)


def test_every_metric_is_told_with_its_help_and_type(server):
    _, text = ask(server, "/metrics")
    for metric in ALL:
        assert f"# HELP {metric.name} " in text
        assert f"# TYPE {metric.name} {metric.kind}" in text
    assert "process_cpu_seconds_total" in text


def test_openmetrics_is_told_to_who_asks_for_it(server):
    accept = "application/openmetrics-text; version=1.0.0"
    response, text = ask(server, "/metrics", Accept=accept)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert {family.name for family in parse_openmetrics(text)} >= {"swf_bridge_replies"}


@pytest.mark.parametrize("accept", ["text/plain;version=x", "*/*;version=.", ";", "a=b;q=x, ,"])
def test_an_accept_header_that_cannot_be_read_is_answered_in_the_usual_format(
    server, caplog, accept
):
    response, text = ask(server, "/metrics", Accept=accept)
    assert response.status == 200
    assert list(parse_text(text))
    assert caplog.records == []


def test_openmetrics_of_a_version_that_cannot_be_read_is_answered(server):
    accept = "application/openmetrics-text;version=x"
    assert ask(server, "/metrics", Accept=accept)[0].status == 200


def test_labels_that_utf_8_cannot_hold_are_told_each_as_a_series(server, daemon):
    for name in ("im\ud800ages", "im\udfffages", "\x00\u202e"):
        daemon.counts.count(metrics.POLLS, "dev", name, "task")
        daemon.counts.observe(metrics.TASK_DURATION, 0.3, "dev", name, "completed")
    response, text = ask(server, "/metrics")
    assert response.status == 200
    (polls,) = (each for each in parse_text(text) if each.name == "swf_bridge_polls")
    assert len({sample.labels["task_list"] for sample in polls.samples}) == 3


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.:9464",
        "127.0.0.1",
        "10.1.2.3:80",
        "[::1]:9464",
        socket.gethostname(),
    ],
)
def test_we_answer_to_our_names_and_to_any_address(server, host):
    assert ask(server, "/livez", Host=host)[0].status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:9464", "", "[", "a@b"],
)
@pytest.mark.parametrize("path", ["/", "/livez", "/metrics", "/none"])
def test_a_name_that_was_rebound_to_us_is_misdirected(server, host, path):
    assert ask(server, path, Host=host)[0].status == 421


def test_names_that_were_allowed_are_answered_to_and_no_others(daemon):
    named = StatusServer(("127.0.0.1", 0), daemon, allowed=("bridge.example.net",))
    with serving(named) as server:
        assert server.listening.wait(5)
        assert ask(server, "/metrics", Host="Bridge.example.net:9464")[0].status == 200
        response, text = ask(server, "/metrics", Host="evil.example.net")
        assert (response.status, "SWF_BRIDGE_HTTP_NAMES" in text) == (421, True)


def test_the_name_that_it_listens_on_is_answered_to_and_by_no_other_server(server, daemon):
    name = "127.1"  # loopback for every resolver, and no address in a header of HTTP
    with serving(StatusServer((name, 0), daemon)) as named:
        assert named.listening.wait(5)
        assert ask(named, "/livez", Host=name)[0].status == 200
    assert ask(server, "/livez", Host=name)[0].status == 421


def test_the_page_tells_what_is_wrong_and_allows_only_its_own_script(server, daemon):
    daemon.ready[0] = Check(Kind.BROKER, State.AWAY, "connection refused", "publisher")
    response, text = ask(server, "/")
    assert response.status == 200
    assert response.headers["Content-Security-Policy"] == page.POLICY
    assert "RabbitMQ is away" in text
    assert "connection refused" in text


def test_no_check_tells_a_password(server, daemon):
    daemon.ready[0] = Check(Kind.BROKER, State.AWAY, "amqp://u:hunter2@h refused", "publisher")
    assert "hunter2" not in ask(server, "/readyz")[1]


def test_a_fact_that_cannot_be_told_is_500_and_logged(server, daemon, caplog):
    daemon.readyz = lambda: 1 / 0
    response, text = ask(server, "/readyz")
    assert response.status == 500
    assert "ZeroDivision" not in text
    assert "status.failed" in [record.message for record in caplog.records]
    assert ask(server, "/livez")[0].status == 200


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /livez HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"431"),
    ],
)
def test_what_is_no_request_is_refused_and_harms_nobody(server, request_line, answer):
    assert answer in ask_raw(server, request_line)[:40]
    assert ask(server, "/livez")[0].status == 200


def test_a_client_that_goes_away_in_the_middle_is_not_told_on_standard_error(server, capfd):
    for _ in range(5):
        with socket.create_connection(server.address) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.sendall(b"GET /metr")
    assert ask(server, "/livez")[0].status == 200
    assert capfd.readouterr().err == ""


def test_connections_that_say_nothing_keep_nobody_out(server):
    idle = [socket.create_connection(server.address, timeout=5) for _ in range(2 * CONNECTIONS)]
    for sock in idle[::2]:
        sock.sendall(b"GET /metr")
    began = monotonic()
    assert ask(server, "/metrics")[0].status == 200
    assert monotonic() - began < 2.0
    assert [sock.recv(1) for sock in idle[: CONNECTIONS + 1]] == [b""] * (CONNECTIONS + 1)
    for sock in idle:
        sock.close()


def test_a_request_that_is_answered_keeps_its_place(server, daemon):
    going, go = Event(), Event()
    daemon.livez = lambda: (going.set(), go.wait(5), {})[-1]
    answers = []
    asking = Thread(target=lambda: answers.append(ask(server, "/livez")[0].status))
    asking.start()
    assert going.wait(5)
    idle = [socket.create_connection(server.address, timeout=5) for _ in range(2 * CONNECTIONS)]
    assert ask(server, "/readyz")[0].status == 200
    go.set()
    asking.join()
    assert answers == [200]
    for sock in idle:
        sock.close()


def test_connections_that_say_nothing_end(daemon):
    with serving(StatusServer(("127.0.0.1", 0), daemon, request_timeout=0.5)) as server:
        assert server.listening.wait(5)
        with socket.create_connection(server.address, timeout=5) as idle:
            assert idle.recv(1) == b""


def test_many_who_ask_at_once_are_all_answered(server):
    answers = []
    threads = [
        Thread(target=lambda: answers.append(ask(server, "/metrics")[0].status)) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 12


def test_a_port_that_is_taken_costs_one_warning_and_is_tried_again(daemon, caplog):
    caplog.set_level(logging.INFO)
    taken = socket.create_server(("127.0.0.1", 0))
    with serving(StatusServer(taken.getsockname()[:2], daemon, bind_interval=0.02)) as server:
        assert not server.listening.wait(0.2)
        taken.close()
        assert server.listening.wait(5)
        assert ask(server, "/livez")[0].status == 200
    told = [record.message for record in caplog.records]
    assert told == ["status.unavailable", "status.available", "status.listening"]
    assert "in use" in caplog.records[0].error


def test_an_address_that_is_not_ours_costs_a_warning_too(daemon, caplog):
    with serving(StatusServer(("192.0.2.1", 9464), daemon)):
        until(lambda: caplog.records)
    assert [record.message for record in caplog.records] == ["status.unavailable"]


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_it_listens_on_ipv6(daemon):
    with serving(StatusServer(("::1", 0), daemon)) as server:
        assert server.listening.wait(5)
        assert ask(server, "/livez")[0].status == 200


def test_a_stop_before_the_start_ends_it_at_once(daemon):
    server = StatusServer(("127.0.0.1", 0), daemon)
    server.stop()
    server.stop()
    server.run()
    assert not server.listening.is_set()


def test_an_idle_server_stops_at_once(server):
    began = monotonic()
    server.stop()
    server.stop()
    while server.listening.is_set():
        assert monotonic() - began < 1


def test_an_idle_server_still_moves(server):
    began = server.moved
    until(lambda: server.moved > began + 0.5)  # a round later, not the first
    assert monotonic() - began < server.patience / 10
