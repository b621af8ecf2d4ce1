"""What a proxy between may make of an answer, and of what is asked: the same for both clients."""

import gzip
import json
import threading
import zlib
from collections.abc import Callable

import pytest

from bridge.errors import TaskClosed, Unavailable
from bridge.swf.client import Way
from bridge.task import Completed
from tests.contract.sides import PYCURL, MakeSwf
from tests.contract.wires import Recorder, Sent
from tests.waiting import WaitingSwf

TASK = json.dumps(
    {
        "taskToken": "token",
        "activityId": "1",
        "startedEventId": 5,
        "workflowExecution": {"workflowId": "w", "runId": "r"},
        "activityType": {"name": "n", "version": "1"},
        "input": "input" * 5000,
    }
).encode()
GONE = json.dumps({"__type": "com.amazonaws.swf#UnknownResourceFault", "message": "no"}).encode()


def raw_deflate(body: bytes) -> bytes:
    packed = zlib.compressobj(wbits=-15)
    return packed.compress(body) + packed.flush()


def answer(body: bytes, *fields: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    lines = [f"HTTP/{version} {status}", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(body: bytes, *fields: str, extension: str = "", trailer: str = "") -> bytes:
    lines = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *fields, "", ""]
    parts = [body[at : at + 7000] for at in range(0, len(body), 7000)]
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension.encode(), p) for p in parts)
    return "\r\n".join(lines).encode() + chunks + b"0\r\n" + trailer.encode() + b"\r\n"


GZIP, DEFLATE = "Content-Encoding: gzip", "Content-Encoding: deflate"

TAKEN = {
    "plain": answer(TASK),
    "gzip": answer(gzip.compress(TASK), GZIP),
    "x-gzip": answer(gzip.compress(TASK), "Content-Encoding: x-gzip"),
    "GZIP": answer(gzip.compress(TASK), "content-encoding: GZIP"),
    "deflate": answer(zlib.compress(TASK), DEFLATE),
    "deflate without zlib's header": answer(raw_deflate(TASK), DEFLATE),
    "identity": answer(TASK, "Content-Encoding: identity"),
    "gzip twice": answer(gzip.compress(gzip.compress(TASK)), "Content-Encoding: gzip, gzip"),
    "gzip, then identity": answer(gzip.compress(TASK), "Content-Encoding: gzip, identity"),
    "an empty encoding": answer(TASK, "Content-Encoding:"),
    "chunked": chunked(TASK),
    "chunked with extensions": chunked(TASK, extension=";a=b"),
    "chunked with a trailer": chunked(TASK, trailer="X-Sum: 1\r\n"),
    "chunked gzip": chunked(gzip.compress(TASK), GZIP),
    "100 first": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(TASK),
    "100 twice": b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + answer(TASK),
    "102 first": b"HTTP/1.1 102 Processing\r\n\r\n" + answer(TASK),
    "103 first": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(TASK),
    "closed after it": answer(TASK, "Connection: close"),
    "HTTP/1.0": answer(TASK, version="1.0"),
    "no reason": answer(TASK, status="200 "),
    "a header of 30,000 bytes": answer(TASK, "X-Long: " + "x" * 30_000),
    "80 headers": answer(TASK, *(f"X-{n}: y" for n in range(80))),
    "another type": answer(TASK, "Content-Type: text/html"),
    "a name for its sender": answer(TASK, "Via: 1.1 proxy", "Age: 3", "X-Cache: MISS"),
}
"""Each is the same task."""

NOT_TAKEN = {
    "gzip, cut": answer(gzip.compress(TASK)[:-40], GZIP),
    "gzip in two members": answer(gzip.compress(TASK[:99]) + gzip.compress(TASK[99:]), GZIP),
    "gzip, said of what is none": answer(TASK, GZIP),
    "an unknown encoding": answer(b"\x28\xb5\x2f\xfd" + TASK, "Content-Encoding: lzma"),
    "nothing but 103": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "a page": answer(b"<html>Welcome</html>", "Content-Type: text/html"),
    "a login": answer(b"", "Location: http://127.0.0.1:9/login", status="302 Found"),
    "a move": answer(b"", "Location: http://127.0.0.1:9/", status="307 Temporary Redirect"),
    "407": answer(b"<html>", "Proxy-Authenticate: Basic", status="407 Authenticate"),
    "502": answer(b"<html>", status="502 Bad Gateway"),
    "504, empty": answer(b"", status="504 Gateway Timeout"),
    "nothing but 100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "chunked, cut": chunked(TASK)[:-2000],
    "shorter than it says": answer(TASK)[:-20],
}
"""Each is tried again, and never a task."""


CUT = ("nothing but 100", "nothing but 103", "chunked, cut", "shorter than it says")


def asked(way: Way, make_swf: MakeSwf, told: bytes, ask: Callable[[WaitingSwf], object]) -> object:
    """What a call comes to that is answered so, and then the connection closed."""
    answered: list[int] = []

    def once(sent: Sent) -> bytes | None:
        first = sent.connection not in answered
        answered.append(sent.connection)
        return told if first else None

    with Recorder(once) as server:
        swf = make_swf(way, server.url, read_timeout=2.0)
        if told in (NOT_TAKEN[kind] for kind in CUT):
            threading.Timer(0.5, server.hang_up).start()
        try:
            return ask(swf)
        except Exception as error:
            return error


@pytest.mark.parametrize("kind", TAKEN)
def test_a_task_is_taken_whatever_a_proxy_made_of_its_form(
    way: Way, make_swf: MakeSwf, kind: str
) -> None:
    task = asked(way, make_swf, TAKEN[kind], lambda swf: swf.poll("demo", "demo"))
    assert getattr(task, "input", task) == "input" * 5000


@pytest.mark.parametrize("kind", NOT_TAKEN)
def test_what_is_no_answer_of_swf_is_tried_again(way: Way, make_swf: MakeSwf, kind: str) -> None:
    error = asked(way, make_swf, NOT_TAKEN[kind], lambda swf: swf.poll("demo", "demo"))
    assert type(error) is Unavailable, error


@pytest.mark.parametrize("fields", [(), (GZIP,), (DEFLATE,)], ids=["plain", "gzip", "deflate"])
def test_a_refusal_is_known_whatever_a_proxy_made_of_its_form(
    way: Way, make_swf: MakeSwf, fields: tuple[str, ...]
) -> None:
    pack = {(): bytes, (GZIP,): gzip.compress, (DEFLATE,): raw_deflate}[fields]
    told = answer(pack(GONE), *fields, status="400 Bad Request")
    error = asked(way, make_swf, told, lambda swf: swf.respond(Completed("t", "r")))
    assert type(error) is TaskClosed, error


@pytest.mark.skipif(not PYCURL, reason="PycURL is not there")
def test_both_clients_send_the_same_headers_but_for_their_name(make_swf: MakeSwf) -> None:
    own = {"user-agent", "authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request"}
    sent: dict[Way, list[dict[str, str]]] = {"boto3": [], "curl": []}
    ways: tuple[Way, ...] = ("boto3", "curl")
    for way in ways:
        with Recorder() as server:
            swf = make_swf(way, server.url)
            swf.poll("demo", "demo")
            swf.respond(Completed("token", "x" * 2_000_000))  # where libcurl would expect 100
            sent[way] = [
                {k: v for k, v in each.headers.items() if k not in {*own, "host"}}
                for each in server.sent
            ]
            assert all("expect" not in each for each in sent[way])
            bodies = [json.loads(each.body) for each in server.sent]
            assert bodies[0] == {
                "domain": "demo",
                "taskList": {"name": "demo"},
                "identity": "contract",
            }
    for each in sent.values():
        for headers in each:
            headers.pop("content-length")  # one writes blanks after commas
    assert sent["boto3"] == sent["curl"]
    assert sent["curl"][0]["accept-encoding"] == "identity"
