"""What a web page of another site makes a browser send to the local SWF does nothing there."""

import json
from collections.abc import Iterator

import pytest

from bridge.local import LocalClient, LocalSwf
from tests.unit.local_wire import Answer, Wire


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSwf]:
    with LocalSwf(hold=0.05) as local:
        yield local


def ask(local: LocalSwf, line: str, body: bytes = b"", **headers: str) -> Answer:
    given = {"Host": local.endpoint.removeprefix("http://"), **headers}
    given = {name.replace("_", "-"): value for name, value in given.items()}
    lines = [f"{line} HTTP/1.1", *(f"{k}: {v}" for k, v in given.items())]
    lines.append(f"Content-Length: {len(body)}")
    with Wire(local.endpoint) as wire:
        wire.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return wire.receive()


@pytest.mark.parametrize("length", ["\xb2", "9" * 5000, "-1", "1e3"])
def test_a_length_that_is_no_number_is_refused_and_others_are_served(
    local: LocalSwf, length: str
) -> None:
    with Wire(local.endpoint) as wire:
        request = f"POST /local/submit HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
        wire.socket.sendall(request.encode("latin-1"))
        assert wire.receive().status == 413
    assert LocalClient(local.endpoint).tasks() == []


JSON = {"Content_Type": "application/json"}
CALL = {"Content_Type": "application/x-amz-json-1.0", "X_Amz_Target": "S.ListDomains"}
REGISTERED = json.dumps({"registrationStatus": "REGISTERED"}).encode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "multipart/form-data; boundary=x"}, 415),
        ({}, 415),
        (JSON | {"Origin": "http://evil.example"}, 403),
        (JSON | {"Origin": "null"}, 403),
        (JSON | {"Origin": "http://["}, 403),
        (JSON | {"Sec_Fetch_Site": "cross-site"}, 403),
        (JSON | {"Host": "evil.example:80", "Origin": "http://evil.example:80"}, 421),
        (JSON | {"Host": "["}, 421),
    ],
)
def test_a_page_of_another_site_submits_no_task(
    local: LocalSwf, headers: dict[str, str], status: int
) -> None:
    answer = ask(local, "POST /local/submit", b"{}", **headers)
    assert answer.status == status
    assert set(answer.json) == {"error"}
    assert local.tasks() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Host": "evil.example"},
    ],
)
def test_a_page_of_another_site_calls_nothing_of_swf_and_reads_nothing(
    local: LocalSwf, headers: dict[str, str]
) -> None:
    assert ask(local, "POST /", REGISTERED, **CALL | headers).status in (403, 421)
    assert ask(local, "GET /local/tasks", **headers).status in (403, 421)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:9325"},
        {"Host": "[::1]:9325"},
        {"Host": "swf:9325"},
        {"Host": "host.docker.internal:9325"},
        {"Host": "localhost:1", "Origin": "http://localhost:1", "Sec_Fetch_Site": "same-origin"},
    ],
)
def test_workers_and_containers_are_served_by_whatever_name_they_have_for_it(
    local: LocalSwf, headers: dict[str, str]
) -> None:
    assert ask(local, "POST /", REGISTERED, **CALL | headers).status == 200
    assert ask(local, "GET /local/tasks", **headers).status == 200
    assert ask(local, "POST /local/options", b"{}", **JSON | headers).status == 200


def test_the_commands_are_served(local: LocalSwf) -> None:
    client = LocalClient(local.endpoint)
    client.submit("echo")
    client.clear()
    client.close()
