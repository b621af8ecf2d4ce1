import gzip
import json
import os
import subprocess
import sys
import textwrap
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from bridge.telemetry.sentry import process_span, publish_span, task_scope

PROLOGUE = """
import logging, sys, threading
from bridge.telemetry import sentry
from bridge.telemetry.logs import configure_logging
from bridge.telemetry.sentry import start_sentry, flush, task_scope
from bridge.telemetry.sentry import publish_span, process_span
from bridge.telemetry.redact import register_secret
dsn = sys.argv[1]
configure_logging("DEBUG", "json")
log = logging.getLogger("bridge.flow.poller")
"""


class Sentry(ThreadingHTTPServer):
    """Takes envelopes as Sentry's own endpoint does, and keeps them."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Endpoint)
        self.envelopes = []
        self.dsn = f"http://publickey@127.0.0.1:{self.server_port}/42"

    def items(self, kind):
        for _, *rest in self.envelopes:
            yield from (
                body
                for head, body in zip(rest[::2], rest[1::2], strict=True)
                if head["type"] == kind
            )

    @property
    def events(self):
        return list(self.items("event"))

    @property
    def transactions(self):
        return list(self.items("transaction"))

    @property
    def text(self):
        return json.dumps(self.envelopes)


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.path == "/api/42/envelope/"
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        self.server.envelopes.append([json.loads(line) for line in data.splitlines() if line])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


@pytest.fixture
def sentry():
    with Sentry() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(code, dsn=""):
    """What ``code`` prints in a process of its own: one process has one Sentry client."""
    return ran(code, dsn).stdout


def errors_of(code, dsn):
    """What it logs."""
    return ran(code, dsn).stderr


def ran(code, dsn):
    result = subprocess.run(
        [sys.executable, "-c", PROLOGUE + textwrap.dedent(code), dsn],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result


def test_without_a_dsn_nothing_of_sentry_is_imported():
    told = run(
        """
        start_sentry(None); start_sentry("")
        with task_scope("dev", "images", "say"), publish_span("swf.activities", "17") as headers:
            print(dict(headers))
        with process_span({}, "swf.replies"): pass
        try: 1 / 0
        except ZeroDivisionError: log.exception("it.failed")
        flush(2)
        print([name for name in sys.modules if name.startswith("sentry_sdk")])
        """
    )
    assert told.splitlines() == ["{}", "[]"]


def test_without_a_dsn_a_scope_costs_nothing_worth_counting():
    assert task_scope("a", "b") is task_scope("c", "d")
    assert publish_span("a", "b") is publish_span("c", "d")
    assert process_span({}, "a") is process_span({}, "b")


def test_an_unexpected_error_is_sent_once_with_list_and_type(sentry):
    run(
        """
        start_sentry(dsn, "staging", 0.0, "swf-bridge@1.2.3")
        with task_scope("dev", "images", "Greeter.say 1.0"):
            try: 1 / 0
            except ZeroDivisionError:
                log.exception("task.broke", extra={"task": "17"})
        try: 1 / 1 / 0
        except ZeroDivisionError: log.exception("other.broke")
        flush(5)
        """,
        sentry.dsn,
    )
    event, other = sentry.events
    assert event["exception"]["values"][0]["type"] == "ZeroDivisionError"
    assert event["logentry"]["message"] == "task.broke"
    assert (event["environment"], event["release"]) == ("staging", "swf-bridge@1.2.3")
    assert event["tags"] == {
        "domain": "dev",
        "task_list": "images",
        "activity_type": "Greeter.say 1.0",
    }
    assert event["extra"]["task"] == "17"
    assert "T" in event["timestamp"]
    assert not other.get("tags")


def test_what_is_expected_is_not_sent(sentry):
    run(
        """
        start_sentry(dsn)
        log.error("task.failed_back"); log.warning("broker.lost", exc_info=OSError("refused"))
        for name in ("pika", "pika.adapters.base_connection", "botocore", "urllib3"):
            logging.getLogger(name).error("failed", exc_info=OSError("refused"))
        import pika
        connection = pika.SelectConnection(
            pika.URLParameters("amqp://u:swordfish@127.0.0.1:9/?connection_attempts=1"),
            on_open_error_callback=lambda c, e: c.ioloop.stop())
        connection.ioloop.start()
        flush(5)
        """,
        sentry.dsn,
    )
    assert sentry.events == []


def test_no_secret_passes_whatever_is_provoked_at_debug(sentry):
    run(
        """
        start_sentry(dsn, traces_sample_rate=1.0)
        register_secret("hunter2")
        def fail(token, body):
            secret = {"taskToken": token, "input": body}
            log.debug("breadcrumb", extra={"taskToken": token, "body": repr(secret)})
            raise ValueError(f"cannot use {secret!r} with amqp://u:swordfish@h and hunter2")
        def attempt():
            try: fail("Tok3n", "Paylo4d")
            except ValueError as error: raise RuntimeError({"result": "Paylo4d"}) from error
        with publish_span("swf.activities", "17", "say"):
            try: attempt()
            except RuntimeError: log.exception("a hunter2 broke", extra={"details": "Paylo4d"})
        import botocore.session
        from botocore.config import Config
        swf = botocore.session.get_session().create_client(
            "swf", region_name="eu-west-1", endpoint_url="http://127.0.0.1:9",
            aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="S3cret",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=1))
        try: swf.respond_activity_task_completed(taskToken="Tok3n", result=["Paylo4d"])
        except Exception: log.exception("swf.failed")
        thread = threading.Thread(target=attempt); thread.start(); thread.join()
        flush(5)
        """,
        sentry.dsn,
    )
    names = [event["exception"]["values"][-1]["type"] for event in sentry.events]
    assert sorted(names) == ["ParamValidationError", "RuntimeError", "RuntimeError"]
    assert len(sentry.transactions) == 1
    for secret in ("Tok3n", "Paylo4d", "swordfish", "hunter2", "S3cret"):
        assert secret not in sentry.text


def test_a_flood_is_held_to_a_bucket_and_counted(sentry):
    run(
        """
        now = 0.0
        sentry.monotonic = lambda: now
        start_sentry(dsn)
        def shout():
            for _ in range(200):
                try: 1 / 0
                except ZeroDivisionError: log.exception("it.broke")
        shout()
        try: [][1]
        except IndexError: log.exception("it.broke")
        now += sentry.REFILL
        try: 1 / 0
        except ZeroDivisionError: log.exception("it.broke")
        flush(5)
        """,
        sentry.dsn,
    )
    kinds = [event["exception"]["values"][0]["type"] for event in sentry.events]
    assert kinds == [*["ZeroDivisionError"] * 5, "IndexError", "ZeroDivisionError"]
    dropped = [event["extra"].get("dropped_before", 0) for event in sentry.events]
    assert dropped == [0, 0, 0, 0, 0, 0, 195]


def test_nothing_piles_up_in_a_thread_that_lives_long(sentry):
    run(
        """
        start_sentry(dsn)
        log.info("poller.started")
        for n in range(50):
            with task_scope("dev", "images", f"type {n}"):
                log.info("task.polled", extra={"task": str(n)})
                if n == 49:
                    try: 1 / 0
                    except ZeroDivisionError: log.exception("it.broke")
        flush(5)
        """,
        sentry.dsn,
    )
    (event,) = sentry.events
    assert [each["data"] for each in event["breadcrumbs"]["values"]] == [{"task": "49"}]
    assert event["tags"]["activity_type"] == "type 49"


def test_a_trace_goes_from_the_publish_through_the_headers_to_the_reply(sentry):
    told = run(
        """
        import json
        start_sentry(dsn, traces_sample_rate=1.0)
        with task_scope("dev", "images"), publish_span("swf.activities", "17", "say") as headers:
            print(json.dumps(headers))
        with process_span({**headers, "x": 1}, "swf.replies", "18", 250): pass
        with process_span({"sentry-trace": "garbage", "baggage": 7}, "swf.replies"): pass
        flush(5)
        """,
        sentry.dsn,
    )
    headers = json.loads(told)
    assert set(headers) == {"sentry-trace", "baggage"}
    publish, process, _ = sentry.transactions
    trace, span, sampled = headers["sentry-trace"].split("-")
    (published,) = publish["spans"]
    assert (published["op"], published["span_id"], sampled) == ("queue.publish", span, "1")
    assert published["data"]["messaging.destination.name"] == "swf.activities"
    assert published["data"]["messaging.message.id"] == "17"
    assert publish["tags"]["task_list"] == "images"
    assert process["contexts"]["trace"]["trace_id"] == trace
    assert process["contexts"]["trace"]["parent_span_id"] == span
    (processed,) = process["spans"]
    assert (processed["op"], processed["data"]["messaging.message.body.size"]) == (
        "queue.process",
        250,
    )
    assert sentry.envelopes[0][0]["trace"]["public_key"] == "publickey"


HOSTILE_TRACES = [
    *(
        (f"{'a' * 32}-{'b' * 16}-1", f"sentry-sample_rate={rate}")
        for rate in (
            "inf",
            "-inf",
            "nan",
            "1e309",
            "9" * 5000,
            "-1",
            "",
            "x",
            "%00",
            "\ud800",
            "1,sentry-sample_rate=inf",
        )
    ),
    *(
        (f"{'a' * 32}-{'b' * 16}-1", f"sentry-sample_rate=0.5,sentry-{name}=inf")
        for name in ("sample_rand", "trace_id", "public_key", "sampled", "release", "org_id")
    ),
    (f"{'a' * 32}-{'b' * 16}-1", "sentry-sample_rand=nan,sentry-sample_rate=nan"),
    (f"{'a' * 32}-{'b' * 16}-0", "=,;=;,,sentry-=;sentry"),
    ("-" * 9000, "sentry-a=" + "b" * 100_000),
    (f"{'0' * 32}-{'0' * 16}-2", None),
    ("\0-\ud800-1", ["no", "text"]),
]


def test_no_headers_of_a_worker_end_or_change_the_work_that_bears_them(sentry):
    told = run(
        f"""
        start_sentry(dsn, traces_sample_rate=1.0)
        done, passed = 0, 0
        for trace, baggage in {HOSTILE_TRACES!r}:
            headers = {{"sentry-trace": trace, "baggage": baggage}}
            with process_span(headers, "swf.replies", "18", 250): done += 1
            error = ValueError("the work's own")
            try:
                with process_span(headers, "swf.replies"): raise error
            except ValueError as found: passed += found is error
        with process_span({{}}, "swf.replies", "the last"): pass
        flush(5)
        print(done, passed)
        """,
        sentry.dsn,
    )
    assert told == f"{len(HOSTILE_TRACES)} {len(HOSTILE_TRACES)}\n"
    last = sentry.transactions[-1]["spans"][0]["data"]
    assert last["messaging.message.id"] == "the last", "Sentry looks on at what comes after"


def test_nothing_that_the_sdk_raises_going_in_or_out_reaches_the_work(sentry):
    told = run(
        """
        import contextlib, sentry_sdk
        from sentry_sdk.tracing import Span, Transaction
        start_sentry(dsn, traces_sample_rate=1.0)
        def fail(*args, **given): raise OverflowError("Tok3n")
        @contextlib.contextmanager
        def fail_at_the_end(*args, **given):
            yield sentry_sdk.get_isolation_scope()
            fail()
        broken = [(sentry_sdk, name, broken) for broken in (fail, fail_at_the_end) for name in (
            "isolation_scope", "continue_trace", "start_transaction", "start_span",
            "get_traceparent", "get_baggage")]
        broken += [(kind, name, fail) for kind in (Span, Transaction)
            for name in ("__enter__", "__exit__", "set_data", "finish")]
        scopes = [lambda: task_scope("dev", "images"), sentry.work_scope,
            lambda: publish_span("swf.activities", "17"), lambda: process_span({}, "swf.replies")]
        bad = []
        for where, name, how in broken:
            whole = getattr(where, name)
            setattr(where, name, how)
            for number, scope in enumerate(scopes):
                done = False
                error = KeyError(name)
                try:
                    with scope(): done = True
                    with scope(): raise error
                except BaseException as found:
                    if done and found is error: continue
                bad.append((where, name, how, number))
            setattr(where, name, whole)
        sentry_sdk.flush = fail; flush(1)
        sentry_sdk.init = fail; start_sentry(dsn)
        class Frozen(Exception):
            def __setattr__(self, name, value): fail()
        try:
            with task_scope("dev", "images"): raise Frozen
        except Frozen: print(len(broken), bad)
        """,
        sentry.dsn,
    )
    assert told == "20 []\n"


def test_no_failure_of_the_sdk_reaches_whoever_logs():
    code = """
        import sentry_sdk
        from sentry_sdk.integrations import logging as heard
        def fail(*args, **given): raise OverflowError
        start_sentry(dsn)
        heard.EventHandler.emit = heard.BreadcrumbHandler.emit = fail
        sentry_sdk.get_client = fail
        for _ in range(3):
            try: 1 / 0
            except ZeroDivisionError: log.exception("it.broke")
    """
    lines = [json.loads(line) for line in errors_of(code, "http://k@127.0.0.1:9/1").splitlines()]
    assert [line["event"] for line in lines] == ["it.broke", "sentry.failing"] + ["it.broke"] * 2


def test_a_failure_of_the_sdk_is_told_by_its_type_alone_and_once(sentry):
    code = """
        import sentry_sdk
        start_sentry(dsn, traces_sample_rate=1.0)
        headers = {"sentry-trace": "a" * 32 + "-" + "b" * 16 + "-1",
            "baggage": "sentry-sample_rate=inf"}
        for _ in range(100):
            with process_span(headers, "swf.replies"): pass
            with process_span({}, "swf.replies"): pass
        flush(5)
    """
    lines = [json.loads(line) for line in errors_of(code, sentry.dsn).splitlines()]
    assert [(line["event"], line.get("error")) for line in lines] == [
        ("sentry.failing", "OverflowError"),
        ("sentry.back", None),
    ]
    assert lines[0]["level"] == "warning"


def test_without_sampling_no_message_bears_trace_headers(sentry):
    told = run(
        """
        start_sentry(dsn)
        with publish_span("swf.activities", "17") as headers: print(dict(headers))
        """,
        sentry.dsn,
    )
    assert told == "{}\n"


def test_a_dsn_that_is_none_is_an_error_of_configuration_that_does_not_tell_it():
    told = run(
        """
        from bridge.errors import ConfigError
        try: start_sentry("http://hunter2@/nowhere")
        except ConfigError as error: print(error.problems)
        """
    )
    assert told.startswith("('SWF_BRIDGE_SENTRY_DSN: this is no Sentry DSN")
    assert "hunter2" not in told


def test_a_sentry_that_does_not_answer_holds_up_no_drain():
    with Sentry() as deaf:  # it listens, but nobody serves
        told = run(
            """
            import time
            start_sentry(dsn)
            try: 1 / 0
            except ZeroDivisionError: log.exception("it.broke")
            began = time.monotonic(); flush(0.3); print(time.monotonic() - began < 2)
            """,
            deaf.dsn,
        )
    assert told == "True\n"
