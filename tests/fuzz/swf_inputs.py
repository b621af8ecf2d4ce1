"""What SWF answers, or what answers in its place: as JSON, and as bytes to both clients."""

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from bridge.errors import BadReply, TaskClosed, Unavailable
from bridge.preflight.swf import clock_result
from bridge.swf.boto import Boto3
from bridge.swf.client import Calls
from bridge.swf.curl import Curl
from bridge.swf.curl_wire import decode_answer
from bridge.swf.errors import known_code
from bridge.swf.runner import Call, complete
from bridge.task import ActivityTask, Completed
from tests.unit.bridge_parts import a_task, aws

from .inputs import Feed, source

_TASK = (
    b'{"taskToken": "t", "activityId": "a", "startedEventId": 3, "workflowExecution":'
    b' {"workflowId": "w", "runId": "r"}, "activityType": {"name": "n", "version": "1"},'
    b' "input": "i"}'
)
_HISTORY = (
    b'{"events": [{"eventId": 9, "eventType": "ActivityTaskTimedOut",'
    b' "activityTaskTimedOutEventAttributes": {"startedEventId": 3, "timeoutType":'
    b' "START_TO_CLOSE"}}], "nextPageToken": "p"}'
)
_ERROR = (
    b'{"__type": "com.amazonaws.swf.base.model#UnknownResourceFault", "message": "Value \'x\' at'
    b" 'taskToken' failed: Invalid token\"}"
)
_ANSWERS = (b"200" + _TASK, b"200" + _HISTORY, b"400" + _ERROR, b'200{"cancelRequested": true}')
_WORDS = (
    b'"taskToken":', b'"startedEventId":', b'"events":', b'"eventId":', b'"eventType":',
    b'"nextPageToken":', b'"__type":', b"#ThrottlingException", b"#ValidationException", b"token",
)  # fmt: skip
_EXPECTED = (BadReply, TaskClosed, Unavailable)


def _ask(calls: Calls, make: Any) -> str:
    """Every kind of call, each with the same answer."""
    told = []
    for conversation in (
        calls.poll("demo", "list"),
        calls.respond(Completed("token", "result")),
        calls.heartbeat("token", None),
        calls.look(a_task(started_event_id=3)),
    ):
        try:
            answer = complete(conversation, make)  # type: ignore[type-var]
        except _EXPECTED as error:
            text = str(error)
            assert len(text) < 5000, f"{len(text)} characters"
            told.append(type(error).__name__)
        else:
            if isinstance(answer, ActivityTask):
                assert isinstance(answer.id, str)
            told.append(type(answer).__name__)
    return " ".join(told)


@source(_ANSWERS, words=_WORDS, share=40)
@contextmanager
def answers() -> Iterator[Feed]:
    """The status and the body of an answer, as libcurl has taken it."""
    codes = set()

    def observe(operation: str, code: str, seconds: float) -> None:
        codes.add(code)
        assert len(codes) < 500, "codes of the endpoint are labels"

    calls = Calls("fuzz", observe)

    def feed(data: bytes) -> str:
        status = int(data[:3]) if data[:3].isdigit() else 200

        def make(call: Call) -> Mapping[str, Any]:
            return decode_answer(status, data[3:], call.fields)

        return _ask(calls, make)

    yield feed


class _Wire(ThreadingTCPServer):
    """Answers each request with the bytes of the case, and closes."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    answer = b""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class _Connection(StreamRequestHandler):
    server: _Wire

    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline()).strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        self.rfile.read(length)
        with suppress(OSError):
            self.wfile.write(self.server.answer)


def _http(body: bytes, *lines: bytes) -> bytes:
    head = b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *lines))
    return head + b"\r\n\r\n" + body


_ON_THE_WIRE = (
    _http(_TASK, b"Content-Type: application/json", b"Date: Sat, 28 Nov 2026 15:00:00 GMT"),
    _http(_ERROR).replace(b"200 OK", b"400 Bad Request"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%s\r\n0\r\n\r\n" % (len(_TASK), _TASK),
    _http(gzip.compress(b"{}"), b"Content-Encoding: gzip"),
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + _http(_TASK),
    b"",
)  # fmt: skip
_HTTP_WORDS = (
    b"HTTP/1.1 ", b"HTTP/2 ", b"\r\n\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n", b"Connection: close\r\n",
    b"Date: ", b"0\r\n\r\n", b"Location: /\r\n", b"101 Switching Protocols", b"304 Not Modified",
)  # fmt: skip


@contextmanager
def _over_the_wire(way: str) -> Iterator[Feed]:
    with _Wire(("127.0.0.1", 0), _Connection) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        with aws(f"http://127.0.0.1:{server.server_address[1]}"):
            from bridge.swf.aws import Aws

            caller: Curl | Boto3
            if way == "curl":
                caller = Curl(Aws(), read_timeout=70.0)
            else:
                caller = Boto3(pollers=1, responders=1, read_timeout=70.0)
        calls = Calls("fuzz", lambda operation, code, seconds: None)

        def feed(data: bytes) -> str:
            server.answer = data
            try:
                task = complete(calls.poll("demo", "list"), caller.call)
            except _EXPECTED as error:
                told = known_code(error)
            else:
                told = type(task).__name__
            if isinstance(caller, Boto3):
                clock_result(caller.answered_at)
            return told

        try:
            yield feed
        finally:
            server.shutdown()
            thread.join()


@source(_ON_THE_WIRE, words=(*_HTTP_WORDS, *_WORDS), share=3)
@contextmanager
def bytes_to_libcurl() -> Iterator[Feed]:
    """An HTTP answer as it comes from the network, to libcurl."""
    with _over_the_wire("curl") as feed:
        yield feed


@source(_ON_THE_WIRE, words=(*_HTTP_WORDS, *_WORDS), share=1)
@contextmanager
def bytes_to_boto3() -> Iterator[Feed]:
    """An HTTP answer as it comes from the network, to boto3."""
    with _over_the_wire("boto3") as feed:
        yield feed


@source(
    (b"Sat, 28 Nov 2026 15:00:00 GMT", b"Thu, 01 Jan 1970 00:00:00 -0000", b"28 Nov 99999 +9999"),
    words=(b"Nov", b"GMT", b":", b"-0000", b"99999999999999999999"),
    share=20,
)
@contextmanager
def dates() -> Iterator[Feed]:
    """The `Date` of an answer, from which the clock's skew is told."""

    def feed(data: bytes) -> str:
        return clock_result(data.decode("latin-1")).mark.name

    yield feed
