"""Every call to SWF by each way that there is, against the local SWF and against garbage."""

import itertools
import json
import resource
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.exceptions import ClientError

from bridge.errors import BadReply, ConfigError, Refused, Rejected, TaskClosed, Unavailable
from bridge.local import LocalSwf
from bridge.swf.errors import error_for
from bridge.swf.history import Look
from bridge.swf.runner import complete
from bridge.task import Canceled, Completed, Failed, Timeouts
from tests.unit.bridge_parts import a_task, aws, until
from tests.waiting import WaitingSwf

DOMAIN, LIST = "demo", "list"
TASK_LIST_ID = (DOMAIN, LIST)


def a_swf(way="boto3", **given):
    made = {"identity": "unit", "pollers": 1, "responders": 1, "read_timeout": 70.0}
    return WaitingSwf(**{**made, **given}, way=way)


@pytest.fixture(scope="module")
def service():
    with LocalSwf(hold=0.05) as found:
        yield found


@pytest.fixture(scope="module", params=["boto3", "curl"])
def client(request, service):
    if request.param == "curl":
        pytest.importorskip("pycurl")
    with aws(service.endpoint):
        yield a_swf(request.param)


@pytest.fixture
def swf(client, service):
    service.clear()
    service.faults.clear()
    service.options(hold=0.05, absent_token=False, canceled_fault="UnknownResourceFault")
    return client


def submit(service, **fields):
    return service.submit("echo", "1.0", domain=DOMAIN, task_list=LIST, **fields)


def a_polled_task(swf, service, **fields):
    task_id = submit(service, **fields)
    return task_id, swf.poll(*TASK_LIST_ID)


def calls(service, operation):
    return sum(service.counts()["calls"].get(operation, {}).values())


# --- the way to the bridge ---------------------------------------------------------------------


def test_a_poll_brings_a_task_as_swf_gives_it(swf, service):
    text = "\ud800\0" + "x" * 32_766
    _, task = a_polled_task(swf, service, input=text, workflow_id="w", activity_id="a")
    assert (task.name, task.version, task.input) == ("echo", "1.0", text)
    assert (task.workflow_id, task.activity_id) == ("w", "a")
    assert (task.domain, task.task_list) == TASK_LIST_ID
    assert task.started_event_id > 0
    assert task.token
    assert task.run_id
    assert a_polled_task(swf, service)[1].input is None


@pytest.mark.parametrize("absent", [False, True])
def test_an_empty_poll_is_no_task_with_an_empty_token_or_none(swf, service, absent):
    service.options(absent_token=absent)
    assert swf.poll(*TASK_LIST_ID) is None


def test_an_unknown_domain_is_for_a_person_to_mend(swf):
    with pytest.raises(Refused, match="UnknownResourceFault"):
        swf.poll("no such domain", LIST)


# --- the way back ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "state", "told"),
    [
        (lambda token: Completed(token, "r"), "completed", {"result": "r"}),
        (Completed, "completed", {}),
        (lambda token: Completed(token, ""), "completed", {"result": ""}),
        (lambda token: Failed(token, "r", "d"), "failed", {"reason": "r", "details": "d"}),
        (Failed, "failed", {}),
    ],
)
def test_a_reply_closes_its_task(swf, service, reply, state, told):
    task_id, task = a_polled_task(swf, service)
    swf.respond(reply(task.token))
    found = service.task(task_id, payload=True)
    assert found["state"] == state
    assert {name: found.get(name) for name in told} == told


def test_a_heartbeat_tells_whether_to_cancel(swf, service):
    task_id, task = a_polled_task(swf, service)
    assert swf.heartbeat(task.token, "half way") is False
    service.cancel(task_id)
    assert swf.heartbeat(task.token, None) is True
    swf.respond(Canceled(task.token, "d"))
    assert service.task(task_id)["state"] == "canceled"


def test_the_answer_to_a_task_that_is_closed_says_so(swf, service):
    _, task = a_polled_task(swf, service)
    swf.respond(Completed(task.token))
    for call in (
        lambda: swf.respond(Completed(task.token)),
        lambda: swf.respond(Failed(task.token)),
        lambda: swf.heartbeat(task.token, None),
    ):
        with pytest.raises(TaskClosed) as caught:
            call()
        assert task.token not in str(caught.value)


def test_a_token_that_is_none_is_a_bad_reply_and_is_not_told(swf):
    for call in (
        lambda: swf.respond(Completed("no-token-at-all")),
        lambda: swf.heartbeat("no-token-at-all", None),
    ):
        with pytest.raises(BadReply) as caught:
            call()
        assert caught.value.code == "token-invalid"
        assert "no-token-at-all" not in str(caught.value)
        assert not isinstance(caught.value, Rejected)


def test_a_refusal_that_no_retry_heals_names_the_task_to_be_failed(swf, service):
    _, task = a_polled_task(swf, service)
    with pytest.raises(Rejected) as caught:
        swf.respond(Completed(task.token, "x" * 32_769))
    assert caught.value.code == "refused-by-swf"
    assert caught.value.token == task.token
    assert task.token not in str(caught.value)
    assert "result" in caught.value.reason


# --- errors ------------------------------------------------------------------------------------

FOR_NOW = (
    "throttled", "limit-exceeded", "internal", "unavailable", "expired-token",
    "unrecognized-client", "clock-skew", "request-expired",
    "html", "garbage", "cut-before", "cut-after", "half-body",
)  # fmt: skip
NOT_PERMITTED = ("access-denied", "not-permitted")


@pytest.mark.parametrize("kind", [*FOR_NOW, *NOT_PERMITTED])
def test_what_may_heal_is_unavailable_and_asked_once(swf, service, kind):
    _, task = a_polled_task(swf, service)
    service.faults.add(kind)
    # libcurl repeats a call once where a connection that it had used before died without a word.
    at_most = 2 if kind.startswith("cut") and "Curl" in repr(swf.caller) else 1
    for operation, call in (
        ("PollForActivityTask", lambda: swf.poll(*TASK_LIST_ID)),
        ("RecordActivityTaskHeartbeat", lambda: swf.heartbeat(task.token, None)),
        ("RespondActivityTaskCompleted", lambda: swf.respond(Completed(task.token, "r"))),
    ):
        before = calls(service, operation)
        with pytest.raises(Unavailable) as caught:
            call()
        assert isinstance(caught.value, Refused) is (kind in NOT_PERMITTED)
        assert task.token not in str(caught.value)
        assert 1 <= calls(service, operation) - before <= at_most


def test_a_call_is_observed_with_its_outcome_and_time(service):
    seen = []
    with aws(service.endpoint):
        swf = a_swf(observe=lambda *given: seen.append(given))
    service.faults.clear()
    swf.poll(*TASK_LIST_ID)
    service.faults.add("throttled", count=1)
    with pytest.raises(Unavailable):
        swf.poll(*TASK_LIST_ID)
    assert [given[1] for given in seen] == ["ok", "ThrottlingException"]
    assert seen[0][2] >= 0.05


class Garbage(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the body would wait 40 ms for the head's acknowledgement

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.headers)
        if callable(self.server.answer):
            self.server.answer(self)
            return
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class GarbageServer(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client may hang up on what it is sent."""


@contextmanager
def a_server():
    server = GarbageServer(("127.0.0.1", 0), Garbage)
    server.asked, server.daemon_threads = [], True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def garbage():
    with a_server() as server:
        yield server


@pytest.fixture(scope="module", params=["boto3", "curl"])
def over_garbage(request, garbage):
    if request.param == "curl":
        pytest.importorskip("pycurl")
    with aws(f"http://127.0.0.1:{garbage.server_port}"):
        yield a_swf(request.param)


ANSWERS = [
    (200, b"[1, 2]"),
    (200, b"null"),
    (200, b"7"),
    (200, b"<html>"),
    (200, b"\xff"),
    (200, b"[" * 100_000),
    (200, b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
    (200, b'{"taskToken":"t","a":' + b"[" * 101 + b"]" * 101 + b"}"),
    (400, b"[]"),
    (400, b"<html>"),
    (400, b'{"__type": 7}'),
    (403, b""),
    (404, b"<html>"),
    (500, b"{}"),
    (502, b"<html>"),
]


def compressed(kind, *pieces):
    coder = zlib.compressobj(wbits={"gzip": 31, "deflate": zlib.MAX_WBITS}[kind])
    return b"".join([*map(coder.compress, pieces), coder.flush()])


@cache
def bomb():
    """256 MiB of blanks in a quarter of one, made of one of them: a full flush lets it repeat."""
    coder = zlib.compressobj(wbits=31)
    head = coder.flush(zlib.Z_FULL_FLUSH)
    mebibyte = coder.compress(b" " * 2**20) + coder.flush(zlib.Z_FULL_FLUSH)
    return head + mebibyte * 256


def answering(headers, pieces):
    """What sends these pieces, chunk by chunk, until they end or nobody reads them."""

    def answer(request):
        request.send_response(200)
        for name, value in {**headers, "Transfer-Encoding": "chunked"}.items():
            request.send_header(name, value)
        request.end_headers()
        with suppress(OSError):
            for piece in pieces:
                request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            request.wfile.write(b"0\r\n\r\n")
            return
        request.server.cut_off = True

    return answer


def test_no_compression_is_asked_for(over_garbage, garbage):
    garbage.answer = (200, b"{}")
    over_garbage.poll(*TASK_LIST_ID)
    assert garbage.asked[-1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("kind", ["gzip", "deflate"])
def test_an_answer_that_a_proxy_compressed_is_read_all_the_same(over_garbage, garbage, kind):
    body = compressed(kind, b'{"cancelRequested": true}')
    garbage.answer = answering({"Content-Encoding": kind}, [body])
    assert over_garbage.heartbeat("token", None)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_an_answer_without_an_end_is_cut_off(over_garbage, garbage, compression):
    garbage.cut_off = False
    megabytes = itertools.repeat(b" " * 2**20, 1000)
    if compression:
        megabytes = [bomb()]
        headers = {"Content-Encoding": "gzip"}
    else:
        headers = {}
    garbage.answer = answering(headers, megabytes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Unavailable, match="answer of over 1048576 bytes"):
        over_garbage.poll(*TASK_LIST_ID)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000
    if not compression:
        until(lambda: garbage.cut_off)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: f"{answer[0]}-{answer[1][:9]!r}")
def test_an_answer_that_swf_did_not_write_is_tried_again(over_garbage, garbage, answer):
    garbage.answer = answer
    for call in (
        lambda: over_garbage.poll(*TASK_LIST_ID),
        lambda: over_garbage.respond(Completed("token", "r")),
        lambda: over_garbage.heartbeat("token", None),
        lambda: over_garbage.look(a_task(started_event_id=3)),
    ):
        with pytest.raises(Unavailable):
            call()


@pytest.mark.parametrize(
    "body",
    [
        {"taskToken": "t"},
        {"taskToken": "t", "activityId": "a", "startedEventId": 1, "workflowExecution": []},
        {"taskToken": ["t"], "activityId": "a", "startedEventId": 1},
    ],
)
def test_half_a_task_is_no_task(over_garbage, garbage, body):
    garbage.answer = (200, json.dumps(body).encode())
    with pytest.raises(Unavailable):
        over_garbage.poll(*TASK_LIST_ID)


def test_half_an_event_is_tried_again(over_garbage, garbage):
    garbage.answer = (200, b'{"events": [{}]}')
    with pytest.raises(Unavailable, match="GarbledAnswer"):
        over_garbage.look(a_task(started_event_id=3))


def test_an_error_tells_no_value_that_the_service_echoes(over_garbage, garbage):
    said = "1 validation error detected: Value 's3cret\nresult' at 'result' failed to satisfy"
    body = {"__type": "com.amazon.coral.validate#ValidationException", "message": said}
    garbage.answer = (400, json.dumps(body).encode())
    with pytest.raises(Rejected) as caught:
        over_garbage.respond(Completed("token-1", "s3cret\nresult"))
    assert "s3cret" not in f"{caught.value}{caught.value.reason}"
    body["message"] = "Invalid token token-1"
    garbage.answer = (400, json.dumps(body).encode())
    with pytest.raises(BadReply, match="Invalid token …") as caught:
        over_garbage.respond(Completed("token-1", "r"))
    assert caught.value.code == "token-invalid"


SAYS = "failed to satisfy constraint: Member must have length less than or equal to 1"
FORGED = f"R' at 'result' {SAYS}"
FORGING = f"R' at 'taskToken' {SAYS}; Value 'x' at 'taskToken' {SAYS}"
LONG = "s3cret " * 4681


def found(*named):
    noun = "errors" if len(named) > 1 else "error"
    return f"{len(named)} validation {noun} detected: " + "; ".join(
        f"Value{value} at '{member}' {SAYS}" for member, value in named
    )


REFUSALS = {
    # what is sent, what SWF says, whether it is the token that it refuses, and what is told
    "a token of one letter": ("t", "r", "Invalid token", True, "Invalid token"),
    "a token that is a word of SWF's": ("token", "r", "Invalid token", True, "Invalid …"),
    "a token that is quoted": (
        "s3cret", "r", found(("taskToken", " 's3cret'")), True, f"Value at 'taskToken' {SAYS}"
    ),
    "a result that speaks of a token": (
        "t", "my token s3cret", found(("result", " 'my token s3cret'")), False,
        f"Value at 'result' {SAYS}",
    ),
    "a result that forges SWF's sentence": (
        "t", f"s3cret{FORGING}", found(("result", f" 's3cret{FORGING}'")), False,
        f"Value at 'result' {SAYS}",
    ),
    "a token that forges it": (
        FORGED, "R", found(("taskToken", f" '{FORGED}'")), True, f"Value at 'taskToken' {SAYS}"
    ),
    "a result that holds the mark of its end": (
        "t", "a' at 's3cret", found(("result", " 'a' at 's3cret'")), False,
        f"Value at 'result' {SAYS}",
    ),
    "several of them": (
        "s3cret-token", "a' at 's3cret; Value 'b",
        found(("result", " 'a' at 's3cret; Value 'b'"), ("taskToken", " 's3cret-token'")), True,
        f"Value at 'result' {SAYS}; Value at 'taskToken' {SAYS}",
    ),
    "a value left out": ("t", "s3cret", found(("taskToken", "")), True, f"at 'taskToken' {SAYS}"),
    "a null": ("t", "s3cret", found(("result", " null")), False, f"Value at 'result' {SAYS}"),
    "a value cut short": (
        "t", LONG, f"1 validation error detected: Value '{LONG[:99]}", False, "Value '…'"
    ),
    "a value cut short behind the mark of its end": (
        "t", f"a' at '{LONG}", f"1 validation error detected: Value 'a' at '{LONG[:99]}", False,
        "Value '…'",
    ),
    "a value in another spelling": (
        "t", 's3cret "quoted"\n' * 3, r'cannot read s3cret \"quoted\"\n of it', False,
        "cannot read …",
    ),
    "a value that is not what was sent": (
        "t", "r", f"1 validation error detected: Value 's3cret' at 'taskToken' {SAYS}", False,
        "Value '…'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_swfs_own_words_tell_what_it_refuses_whatever_a_worker_has_written(
    over_garbage, garbage, case
):
    token, result, said, blames_token, told = REFUSALS[case]
    body = {"__type": "com.amazon.coral.validate#ValidationException", "message": said}
    garbage.answer = (400, json.dumps(body).encode())
    with pytest.raises(BadReply) as caught:
        over_garbage.respond(Completed(token, result))
    error = caught.value
    assert error.code == ("token-invalid" if blames_token else "refused-by-swf")
    assert isinstance(error, Rejected) != blames_token
    assert told in error.detail
    assert "s3cret" not in f"{error}{getattr(error, 'reason', '')}"
    assert len(error.detail) < 600


@pytest.mark.parametrize(
    "code", ["SerializationException", "UnknownOperationException", "TokenException", "X" * 300]
)
def test_words_of_an_error_of_another_type_blame_no_token(over_garbage, garbage, code):
    body = {"__type": f"com.amazon.coral.service#{code}", "message": "Invalid token"}
    garbage.answer = (400, json.dumps(body).encode())
    with pytest.raises(Rejected):
        over_garbage.respond(Completed("token", "r"))


@pytest.mark.parametrize(
    ("code", "status"),
    [("UnknownResourceFault", 400), ("OperationNotPermittedFault", 400), ("InternalFailure", 500)],
)
def test_no_error_of_any_kind_tells_what_the_call_held(over_garbage, garbage, code, status):
    said = "about s3cret-token-of-some-length: s3cret, and Value 's3cret' at 'x"
    body = {"__type": f"com.amazonaws.swf.base.model#{code}", "message": said}
    garbage.answer = (status, json.dumps(body).encode())
    with pytest.raises((TaskClosed, Unavailable)) as caught:
        over_garbage.respond(Failed("s3cret-token-of-some-length", "s3cret", "s3cret details"))
    assert "s3cret" not in str(caught.value)


def test_a_poll_that_swf_refuses_for_a_name_is_told_with_the_name(over_garbage, garbage):
    said = found(("taskList.name", f" '{TASK_LIST_ID[1]}'"))
    body = {"__type": "com.amazon.coral.validate#ValidationException", "message": said}
    garbage.answer = (400, json.dumps(body).encode())
    with pytest.raises(Refused, match=r"Value at 'taskList\.name' failed to satisfy"):
        over_garbage.poll(*TASK_LIST_ID)
    body["message"] = "Unknown domain: demo"
    garbage.answer = (400, json.dumps(body).encode())
    with pytest.raises(Refused, match="Unknown domain: demo"):
        over_garbage.poll(*TASK_LIST_ID)


def test_the_time_to_read_an_error_grows_with_its_length_alone():
    fields = {"taskToken": "t", "result": "Value '" * 4681, "details": "a' at '" * 4681}

    def seconds(length):
        text = "1 validation error detected: " + "; Value 'a' at '" * (length // 16)
        started = time.perf_counter()
        for said in (text, "Value '" + text, text.replace("Value", "t"), "t" * length):
            error_for("ValidationException", 400, said, fields)
        return time.perf_counter() - started

    short = min(seconds(100_000) for _ in range(3))
    assert min(seconds(3_200_000) for _ in range(3)) < 64 * max(short, 0.002)


@pytest.mark.parametrize("way", ["boto3", "curl"])
def test_codes_that_no_service_has_are_observed_as_other(garbage, way):
    if way == "curl":
        pytest.importorskip("pycurl")
    seen = set()
    with aws(f"http://127.0.0.1:{garbage.server_port}"):
        swf = a_swf(way, observe=lambda operation, code, seconds: seen.add(code))
    for number in range(50):
        code = f"Fault{number}\ud800"
        garbage.answer = (400, json.dumps({"__type": f"swf#{code}", "message": "m"}).encode())
        with pytest.raises(Unavailable):
            swf.poll(*TASK_LIST_ID)
    for known in ("ThrottlingException", "ValidationException", "UnknownResourceFault"):
        garbage.answer = (400, json.dumps({"__type": f"swf#{known}"}).encode())
        with pytest.raises(Unavailable):
            swf.poll(*TASK_LIST_ID)
    garbage.answer = (503, b"<html>")
    with pytest.raises(Unavailable):
        swf.poll(*TASK_LIST_ID)
    assert seen == {"other", "ThrottlingException", "ValidationException", "TaskClosed", "503"}


def test_a_clock_that_swf_does_not_have_closes_a_task_as_other(over_garbage, garbage):
    attributes = {"startedEventId": 3, "timeoutType": "\ud800" * 50}
    event = {"eventId": 4, "eventType": "ActivityTaskTimedOut"}
    event["activityTaskTimedOutEventAttributes"] = attributes
    garbage.answer = (200, json.dumps({"events": [event]}).encode())
    assert over_garbage.look(a_task(started_event_id=3)).closed == "timed out (other)"


def test_nobody_there_is_unavailable(swf):
    with a_server() as server:
        port = server.server_port
    with aws(f"http://127.0.0.1:{port}"):
        alone = a_swf()
    with pytest.raises(Unavailable):
        alone.poll(*TASK_LIST_ID)


# --- how a task was closed ---------------------------------------------------------------------


def test_an_open_task_is_not_closed_and_another_tasks_end_is_not_its_own(swf, service):
    _, task = a_polled_task(swf, service, workflow_id="both")
    _, other = a_polled_task(swf, service, workflow_id="both")
    assert closed(swf, task) is None
    swf.respond(Completed(other.token))
    assert closed(swf, task) is None
    assert closed(swf, other) == "completed"


def closed(swf, task):
    return swf.look(task).closed


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (lambda swf, service, task_id, task: swf.respond(Completed(task.token)), "completed"),
        (lambda swf, service, task_id, task: swf.respond(Failed(task.token)), "failed"),
        (
            lambda swf, service, task_id, task: (
                service.cancel(task_id),
                swf.respond(Canceled(task.token)),
            ),
            "canceled",
        ),
        (
            lambda swf, service, task_id, task: service.terminate(task_id),
            "workflow terminated",
        ),
        (lambda swf, service, task_id, task: service.clear(), "execution unknown"),
    ],
)
def test_a_closed_task_is_told_by_how_it_was_closed(swf, service, how, told):
    task_id, task = a_polled_task(swf, service)
    how(swf, service, task_id, task)
    assert closed(swf, task) == told


@pytest.mark.parametrize(
    ("timeout", "told"),
    [
        ({"start_to_close": 0.05}, "timed out (START_TO_CLOSE)"),
        ({"heartbeat": 0.05}, "timed out (HEARTBEAT)"),
    ],
)
def test_a_task_that_timed_out_is_told_with_the_clock_that_ran_out(swf, service, timeout, told):
    task_id, task = a_polled_task(swf, service, **timeout)
    assert service.wait_closed(task_id)
    assert closed(swf, task) == told


def test_a_history_is_read_from_its_end_and_not_without_bound(over_garbage, garbage):
    events = [{"eventId": 9_000, "eventType": "TimerFired"}]
    garbage.answer = (200, json.dumps({"events": events, "nextPageToken": "more"}).encode())
    garbage.asked.clear()
    assert over_garbage.look(a_task(started_event_id=3)) == Look(whole=False)
    assert len(garbage.asked) == 10


# --- when SWF gives a task up -------------------------------------------------------------------


def test_a_history_tells_the_time_outs_of_a_task_and_when_they_strike(swf, service):
    before = time.time()
    _, task = a_polled_task(swf, service, start_to_close=300, schedule_to_close=900, heartbeat=30)
    look = swf.look(task)
    assert (look.closed, look.timeouts) == (None, Timeouts(300, 900, 30))
    after = time.time() + 0.001  # a history has times in whole milliseconds, which are rounded
    assert before + 300 - 0.01 <= look.deadline.close_by <= after + 300
    assert before + 30 - 0.01 <= look.deadline.beat_by <= after + 30


def test_a_poll_says_what_time_it_was_at_swf(swf, service):
    before = time.time()
    _, task = a_polled_task(swf, service)
    assert int(before) <= task.given_at <= time.time()
    assert task.given_at == int(task.given_at)
    assert before - 1 <= swf.clock.now() <= time.time()


A_TASK = json.dumps(
    {
        "taskToken": "t",
        "activityId": "a",
        "startedEventId": 1,
        "workflowExecution": {"workflowId": "w", "runId": "r"},
        "activityType": {"name": "n", "version": "1"},
    }
).encode()
DATE = b"Date: Sun, 29 Nov 2026 17:00:00 GMT\r\n"


@pytest.mark.parametrize("heads", [[DATE], [b"", DATE], [DATE, b""], [DATE, DATE]])
def test_the_time_is_that_of_the_answer_not_of_what_came_before_it(over_garbage, garbage, heads):
    """Neither of an interim answer nor of the call before, on the same connection."""

    def answer(request):
        for head in heads[:-1]:
            request.wfile.write(b"HTTP/1.1 100 Continue\r\n" + head + b"\r\n")
        length = b"Content-Length: %d\r\n" % len(A_TASK)
        request.wfile.write(b"HTTP/1.1 200 OK\r\n" + heads[-1] + length + b"\r\n" + A_TASK)

    def polled():
        return complete(over_garbage.calls.poll("d", "l"), over_garbage.caller.call).given_at

    garbage.answer = answer
    assert (polled() is not None) == bool(heads[-1])
    heads = [b""]
    assert polled() is None


def test_a_type_tells_the_time_outs_that_it_is_registered_with(swf, service):
    with aws(service.endpoint), suppress(ClientError):  # it is registered for both ways
        register = boto3.client("swf", region_name="eu-west-1").register_activity_type
        register(
            domain=DOMAIN, name="registered", version="1", defaultTaskStartToCloseTimeout="120",
            defaultTaskHeartbeatTimeout="NONE", defaultTaskScheduleToStartTimeout="9",
        )  # fmt: skip
    known, stranger = (swf.calls.registered(DOMAIN, name, "1") for name in ("registered", "no"))
    assert complete(known, swf.caller.call) == Timeouts(120)
    with pytest.raises(Refused):
        complete(stranger, swf.caller.call)


# --- region and credentials --------------------------------------------------------------------


@pytest.mark.parametrize("way", ["boto3", "curl"])
@pytest.mark.parametrize("region", [None, ""])
def test_no_region_is_a_wrong_setting_that_names_its_variable(service, monkeypatch, way, region):
    with aws(service.endpoint, AWS_REGION=region or ""):
        if region is None:
            monkeypatch.delenv("AWS_REGION")
        with pytest.raises(ConfigError, match="AWS_REGION"):
            a_swf(way)


def test_no_such_profile_is_a_wrong_setting_that_names_its_variable(service):
    with aws(service.endpoint, AWS_PROFILE="nobody"), pytest.raises(ConfigError, match="nobody"):
        a_swf()


@pytest.mark.parametrize("way", ["boto3", "curl"])
def test_requests_are_signed_for_the_region_of_the_environment(garbage, way):
    if way == "curl":
        pytest.importorskip("pycurl")
    endpoint = f"http://127.0.0.1:{garbage.server_port}"
    with aws(endpoint, AWS_REGION="sa-east-1", AWS_DEFAULT_REGION="eu-west-1"):
        swf = a_swf(way)
    garbage.answer = (200, b"{}")
    garbage.asked.clear()
    assert swf.poll(*TASK_LIST_ID) is None
    assert "/sa-east-1/swf/aws4_request" in garbage.asked[0]["Authorization"]


@pytest.mark.parametrize("way", ["boto3", "curl"])
def test_credentials_that_are_missing_may_come_later(service, way):
    if way == "curl":
        pytest.importorskip("pycurl")
    with aws(service.endpoint, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=""):
        swf = a_swf(way)
        with pytest.raises(Unavailable, match="credentials"):
            swf.poll(*TASK_LIST_ID)
