"""Contract §5: no password, token, input or result in a log, whatever goes wrong at any level."""

from urllib.parse import quote

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import MARK, Start
from tests.brokers import Vhost
from tests.worker import DEAD, Worker

PASSWORD = "pässw0rd@of:the/broker"
AWS_SECRET = "AwsSecretAccessKeyOfTheTest0123456789abcd"


@pytest.mark.parametrize("log_format", ["json", "text", "journald"])
def test_nothing_secret_is_logged_over_a_run_of_failures(
    swf: LocalSwf, vhost: Vhost, worker: Worker, start: Start, log_format: str
) -> None:
    worker.queue()
    user = f"user-{vhost.name}"
    vhost.api.add_user(user, PASSWORD)
    vhost.api.set_permissions(user, vhost=vhost.name)
    host = vhost.url.rpartition("@")[2]
    good = f"amqp://{user}:{quote(PASSWORD, safe='')}@{host}"
    wrong = f"amqp://{user}:{quote(PASSWORD, safe='')}X@{host}"
    bridge = start(
        await_start=log_format == "json",
        amqp_url=f"{wrong},{good}",
        log_format=log_format,
        unroutable_timeout=0,
        AWS_SECRET_ACCESS_KEY=AWS_SECRET,
        AWS_SESSION_TOKEN=AWS_SECRET,
    )
    swf.faults.add(
        "error",
        operation="RespondActivityTaskCompleted",
        code="ValidationException",
        message=f"1 validation error detected: Value 'a' at '{MARK}' at 'result' failed to satisfy",
        count=1,
    )
    swf.faults.add("error", operation="PollForActivityTask", message=f"Value '{MARK}' at 'x'")
    swf.faults.clear()
    swf.faults.add("throttled", operation="RespondActivityTaskFailed", count=1)
    lost = swf.submit(input=MARK)
    taken = worker.take()
    worker.send(b'{"taskToken": "' + MARK.encode())
    worker.send({"taskToken": MARK, "status": "completed", "result": MARK})
    worker.send({"taskToken": taken.json["taskToken"], "status": MARK, "password": MARK})
    worker.reply(taken, "heartbeat", details=MARK)
    worker.complete(taken, MARK * 10_000)
    worker.complete(taken, MARK)
    assert swf.wait_closed(lost, 15)
    worker.take_many(4, DEAD)
    vhost.api.delete_user(user)
    assert worker.until(lambda: worker.ready("swf.replies") == 0)
    assert bridge.stop() == 0
    for secret in (MARK, PASSWORD, quote(PASSWORD, safe=""), AWS_SECRET, taken.json["taskToken"]):
        assert secret not in bridge.log
    assert "reply.dead_lettered" in bridge.log
