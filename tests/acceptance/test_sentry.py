"""Sentry end to end: what is sent, what never is, and that nothing of it is there without a DSN."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.local import LocalSwf
from bridge.local.ports import free_ports
from tests.acceptance.harness import MARK, Bridge, Start, settings
from tests.brokers import Vhost
from tests.envelopes import Sentry
from tests.processes import until
from tests.worker import DEAD, Worker

pytestmark = pytest.mark.usefixtures("by_exec")

PASSWORD = "hunter2-of-the-broker"
Breaking = Callable[..., Bridge]

BREAK_THE_TIMER = """
from bridge.threads.timer import Timer
def call_due(timer):
    url = "amqp://u:hunter2-of-the-broker@host"
    raise RuntimeError(f"cannot use {url} with " + repr({"input": "s3cr3t"}))
Timer.call_due = call_due
"""

BREAK_THE_END = """
from bridge.journal.journal import Journal
def close(journal):
    raise OSError("the disk is gone")
Journal.close = close
"""

BREAK_REPLIES = """
from bridge.flow.responder import Responder
async def respond(self, delivery, reply):
    secret = {"taskToken": reply.token, "result": reply.result}
    raise ValueError(f"cannot send {secret!r} as {delivery.body!r}")
Responder._respond = respond
"""

BREAK_A_POLLER = """
from bridge.flow.forwarder import Forwarder
def forward(self, task, body):
    raise KeyError(body, task)
Forwarder.forward = forward
"""

BREAK_A_CONNECTION_ONCE = """
import logging
from bridge.telemetry import logs
from bridge.rabbitmq.publisher import Publisher
configure = logs.configure_logging
def configure_and_listen_to_pika(*given):
    configure(*given)
    logging.getLogger("pika").setLevel(logging.DEBUG)
logs.configure_logging = configure_and_listen_to_pika
work = Publisher._work
def break_once(self):
    if self.name != "publisher":
        return work(self)
    Publisher._work = work
    raise RuntimeError("in a callback of pika's")
Publisher._work = break_once
"""

BREAK_ALL_WHO_LOOK_ON = """
import sentry_sdk
from bridge.status import http
from bridge.status import snapshot
from bridge.status.health import Report
from bridge.telemetry import registry
def fail(*given, **named):
    raise RuntimeError("whoever looks on")
sentry_sdk.isolation_scope = sentry_sdk.start_span = sentry_sdk.get_baggage = fail
sentry_sdk.flush = fail
registry.bisect_left = fail
snapshot.fields_of = Report.summary = http.StatusServer._listen = fail
"""

TRACED = f"{'a' * 32}-{'b' * 16}-1"
HOSTILE_TRACES = [
    *(
        {"sentry-trace": TRACED, "baggage": f"sentry-sample_rate={rate}"}
        for rate in ("inf", "-inf", "nan", "1e309", "9" * 5000, "-1", "x", "")
    ),
    {"sentry-trace": TRACED, "baggage": "sentry-sample_rate=0.5,sentry-sample_rand=inf"},
    {"sentry-trace": TRACED, "baggage": "sentry-sample_rand=nan"},
    {"sentry-trace": TRACED, "baggage": ",".join(f"sentry-{n}=inf" for n in range(5000))},
    {"sentry-trace": "-" * 9000, "baggage": "=;,%"},
    {"sentry-trace": 17, "baggage": ["sentry-sample_rate=inf"]},
]
"""What a worker may write where a trace is looked for."""

TELL_MODULES = """
import atexit, sys
def tell():
    with open({path!r}, "w") as file:
        file.write("\\n".join(sys.modules))
atexit.register(tell)
"""


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    with Sentry() as sentry:
        yield sentry


@pytest.fixture
def breaking(swf: LocalSwf, vhost: Vhost, tmp_path: Path, sentry: Sentry) -> Iterator[Breaking]:
    """Starts a daemon that runs some code first, and at DEBUG."""
    started: list[Bridge] = []

    def breaking(code: str, *, await_start: bool = True, **more: object) -> Bridge:
        (tmp_path / "sitecustomize.py").write_text(code)
        given = settings(swf, vhost.url, tmp_path, **{"sentry_dsn": sentry.dsn, **more})
        bridge = Bridge({**given, "PYTHONPATH": str(tmp_path)})
        started.append(bridge)
        return bridge.start(await_start=await_start)

    yield breaking
    for bridge in started:
        bridge.end()


def assert_nothing_secret(sentry: Sentry, swf: LocalSwf, *secrets: str) -> None:
    tokens = [task["taskToken"] for task in swf.tasks(payload=True) if task["taskToken"]]
    for secret in (MARK, PASSWORD, *secrets, *tokens):
        assert secret not in sentry.text


def test_a_normal_run_with_all_that_is_to_be_expected_sends_nothing(
    swf: LocalSwf, vhost: Vhost, worker: Worker, start: Start, sentry: Sentry
) -> None:
    worker.queue()
    away = f"amqp://u:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}"
    bridge = start(
        sentry_dsn=sentry.dsn,
        amqp_url=f"{away},{vhost.url}",
        amqp_shuffle="false",
        task_lists='["demo", {"name": "demo", "domain": "unknown"}]',
    )
    bridge.wait("broker.lost", connection="publisher")
    bridge.wait("poll.refused", domain="unknown")
    swf.faults.add("throttled", operation="RespondActivityTaskCompleted", count=2)
    task_id = swf.submit(input=MARK)
    task = worker.take()
    worker.send(b"no JSON")
    worker.complete(task, MARK)
    assert swf.wait_closed(task_id, 20)
    worker.complete(task, MARK)
    worker.take(DEAD)
    bridge.wait("reply.duplicate")
    assert bridge.stop() == 0
    assert sentry.envelopes == []


def test_a_part_that_ends_by_an_unexpected_error_is_one_event_sent_before_the_exit(
    swf: LocalSwf, sentry: Sentry, breaking: Breaking
) -> None:
    bridge = breaking(BREAK_THE_TIMER, await_start=False, sentry_environment="staging")
    assert bridge.leave() == 70
    (event,) = sentry.events
    (error,) = event["exception"]["values"]
    assert error["type"] == "RuntimeError"
    assert error["value"].startswith("cannot use amqp://u:[redacted]@host with")
    assert event["logentry"]["message"] == "part.ended"
    assert event["environment"] == "staging"
    assert event["release"].startswith("swf-bridge@")
    assert_nothing_secret(sentry, swf)


def test_an_error_in_a_callback_of_pikas_is_one_event_whatever_pika_logs_of_a_lost_connection(
    swf: LocalSwf, vhost: Vhost, worker: Worker, sentry: Sentry, breaking: Breaking
) -> None:
    worker.queue()
    away = f"amqp://u:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}"
    bridge = breaking(BREAK_A_CONNECTION_ONCE, amqp_url=f"{away},{vhost.url}", amqp_shuffle="false")
    bridge.wait("broker.callback_failed", 30, connection="publisher")
    task_id = swf.submit(input=MARK)
    worker.complete(worker.take("work", 30))
    assert swf.wait_closed(task_id, 15)
    assert bridge.stop() == 0
    told = [json.loads(line) for line in bridge.log.splitlines()]
    pikas = [each for each in told if each["logger"].startswith("pika")]
    errors = [each for each in pikas if each["level"] == "error" and each["thread"] == "publisher"]
    assert len(errors) >= 7, "pika tells more of it"
    (event,) = sentry.events
    assert event["logentry"]["message"] == "broker.callback_failed"
    assert_nothing_secret(sentry, swf)


def test_an_error_at_the_very_end_is_sent_too_and_the_service_has_failed(
    sentry: Sentry, breaking: Breaking
) -> None:
    assert breaking(BREAK_THE_END).stop() == 70
    (event,) = sentry.events
    assert event["logentry"]["message"] == "drain.failed"


def test_a_flood_is_held_to_a_bucket_and_each_event_names_list_and_type(
    swf: LocalSwf, worker: Worker, sentry: Sentry, breaking: Breaking
) -> None:
    worker.queue()
    bridge = breaking(BREAK_REPLIES)
    for number in range(20):
        swf.submit("greet", input=f"{MARK} {number}")
        worker.complete(worker.take(), f"{MARK} done")
    bridge.wait("reply.unexpected", count=20)
    assert until(lambda: len(sentry.events) >= 5)
    bridge.stop()
    assert len(sentry.events) == 5
    named = {"domain": "demo", "task_list": "demo", "activity_type": "greet"}
    assert all(event["tags"] == named for event in sentry.events)
    assert_nothing_secret(sentry, swf)


def test_a_poller_that_breaks_names_the_task_that_broke_it_by_list_and_type(
    swf: LocalSwf, sentry: Sentry, breaking: Breaking
) -> None:
    bridge = breaking(BREAK_A_POLLER)
    swf.submit("greet", input=MARK)
    assert bridge.leave() == 70
    (event,) = sentry.events
    assert event["exception"]["values"][-1]["type"] == "KeyError"
    assert event["tags"] == {"domain": "demo", "task_list": "demo", "activity_type": "greet"}
    assert_nothing_secret(sentry, swf)


def test_a_sampled_task_bears_a_trace_that_its_reply_continues(
    swf: LocalSwf, worker: Worker, start: Start, sentry: Sentry
) -> None:
    worker.queue()
    bridge = start(sentry_dsn=sentry.dsn, sentry_traces_sample_rate=1)
    task_id = swf.submit("greet", input=MARK)
    task = worker.take()
    trace, span, sampled = task.headers["sentry-trace"].split("-")
    assert sampled == "1"
    assert f"sentry-trace_id={trace}" in task.headers["baggage"]
    traced = {name: task.headers[name] for name in ("sentry-trace", "baggage")}
    worker.send(
        {"taskToken": task.json["taskToken"], "status": "completed", "result": MARK},
        headers=traced,
    )
    assert swf.wait_closed(task_id, 10)
    assert bridge.stop() == 0
    assert not sentry.events
    spans = {each["spans"][0]["op"]: each for each in sentry.transactions}
    assert set(spans) == {"queue.publish", "queue.process"}
    publish, process = spans["queue.publish"], spans["queue.process"]
    assert publish["spans"][0]["span_id"] == span
    assert publish["spans"][0]["data"]["messaging.message.id"] == task.properties.message_id
    assert process["contexts"]["trace"]["trace_id"] == trace
    assert process["spans"][0]["data"]["messaging.destination.name"] == "swf.replies"
    assert_nothing_secret(sentry, swf)


def test_a_reply_that_waits_for_others_is_traced_while_swf_is_asked_about_it(
    swf: LocalSwf, worker: Worker, start: Start, sentry: Sentry
) -> None:
    worker.queue()
    task_id = swf.submit("greet")
    bridge = start(sentry_dsn=sentry.dsn, sentry_traces_sample_rate=1, responders=2)
    token = worker.take().json["taskToken"]
    swf.options(latency=0.3)
    replies = {"done": token, "done again": token} | {f"stranger {n}": f"{n}" for n in range(3)}
    for name, of in replies.items():
        worker.send({"taskToken": of, "status": "completed"}, message_id=name)
    assert swf.wait_closed(task_id, 10)
    assert worker.until(lambda: worker.ready(DEAD) == 3)
    assert bridge.stop() == 0
    longest = dict.fromkeys(replies, 0.0)
    for each in sentry.transactions:
        span = each["spans"][0]
        if (name := span["data"]["messaging.message.id"]) in longest:
            longest[name] = max(seconds(span), longest[name])
    assert min(longest.values()) >= 0.3, longest


def seconds(span: dict[str, Any]) -> float:
    began, ended = (datetime.fromisoformat(span[at]) for at in ("start_timestamp", "timestamp"))
    return (ended - began).total_seconds()


def test_no_trace_that_a_reply_bears_ends_the_daemon_or_keeps_the_reply_from_swf(
    swf: LocalSwf, worker: Worker, start: Start, sentry: Sentry
) -> None:
    worker.queue()
    bridge = start(sentry_dsn=sentry.dsn, sentry_traces_sample_rate=1)
    submitted = [swf.submit("greet") for _ in HOSTILE_TRACES]
    for trace in HOSTILE_TRACES:
        body = {"taskToken": worker.take().json["taskToken"], "status": "completed"}
        worker.send(body, headers=trace)
    assert all(swf.wait_closed(each, 10) for each in submitted), bridge.log
    assert worker.until(lambda: worker.ready("swf.replies") == 0)
    assert bridge.stop() == 0
    assert not sentry.events
    (told,) = bridge.events("sentry.failing")
    assert told["error"] == "OverflowError"
    assert not worker.ready(DEAD)


def test_whoever_looks_on_and_fails_at_every_turn_neither_ends_nor_changes_the_work(
    swf: LocalSwf, worker: Worker, breaking: Breaking
) -> None:
    worker.queue()
    bridge = breaking(BREAK_ALL_WHO_LOOK_ON, sentry_traces_sample_rate=1, http="127.0.0.1:0")
    submitted = [swf.submit("greet") for _ in range(3)]
    for _ in submitted:
        worker.complete(worker.take())
    worker.send(b"no JSON")
    assert all(swf.wait_closed(each, 10) for each in submitted), bridge.log
    assert worker.take(DEAD).headers["swf-bridge-error"] == "not-json"
    for told in ("sentry.failing", "metric.not_counted", "status.failed", "status.unavailable"):
        bridge.wait(told)
    assert bridge.stop() == 0, bridge.log


@pytest.mark.parametrize("with_dsn", [False, True])
def test_nothing_of_it_is_imported_without_a_dsn(
    breaking: Breaking, tmp_path: Path, with_dsn: bool
) -> None:
    told = tmp_path / "modules"
    more = {} if with_dsn else {"sentry_dsn": ""}
    bridge = breaking(TELL_MODULES.format(path=str(told)), **more)
    assert bridge.stop() == 0
    assert any("sentry_sdk" in name for name in told.read_text().splitlines()) == with_dsn
