"""`swf-bridge local run --with-broker --with-bridge`: what a worker author needs, as documented."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from bridge.conformance.worker import WorkerProcess
from bridge.local import LocalClient
from bridge.local.rabbitmq import RabbitNode
from tests.conformance.pages import Everything, everything, shell_blocks
from tests.conformance.trials import ROOT

WORKERS = ROOT / "docs/workers.md"
KEYS = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
EXAMPLE = "node examples/node/worker.mjs"
AWS = ROOT / ".venv-decider/bin"

pytestmark = pytest.mark.skipif(
    RabbitNode.unavailable() is not None, reason=str(RabbitNode.unavailable())
)


@pytest.fixture(scope="module")
def local() -> Iterator[Everything]:
    """With the worker that docs/workers.md starts."""
    with everything() as running:
        worker = WorkerProcess(EXAMPLE, {"AMQP_URL": running.amqp_url})
        worker.start()
        try:
            yield running
        finally:
            worker.kill()


def run(local: Everything, block: str) -> str:
    """What the commands of a page print, in a shell that ends at the first that fails."""
    lines = [line for line in block.splitlines() if "…" not in line and not line.endswith(" &")]
    script = "\n".join(lines).replace("http://127.0.0.1:9090", local.endpoint)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{AWS}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL_SWF": local.endpoint,
    }
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", script], cwd=ROOT, env=environment, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def block_with(words: str) -> str:
    (found,) = [block for block in shell_blocks(WORKERS) if words in block]
    return found


def test_the_ten_minutes_of_a_worker_author_are_as_documented(local: Everything) -> None:
    block = block_with("submit Text.echo hello --wait")
    assert f"\n{EXAMPLE} &\n" in block
    printed = run(local, block)
    assert re.findall(r"^state +(\S+)", printed, re.MULTILINE) == ["completed", "failed"]
    assert re.search(r"^reason +amount must be positive$", printed, re.MULTILINE)
    assert "\nexit 70: not completed\n" in printed


def test_what_is_scripted_comes_to_the_end_that_the_docs_name(local: Everything) -> None:
    swf = LocalClient(local.endpoint)
    before = {task["id"] for task in swf.tasks()}
    printed = run(local, block_with("--cancel-after"))
    assert re.search(r"^state +canceled$", printed, re.MULTILINE)
    ids = [task["id"] for task in swf.tasks() if task["id"] not in before]
    assert swf.wait_closed(ids, 30)
    tasks = [swf.task(task_id) for task_id in ids]
    assert [task["state"] for task in tasks] == [
        "canceled", "terminated", "completed", "completed", "completed", "timed-out",
    ]  # fmt: skip
    assert [len(task["heartbeats"]) for task in tasks[:1] + tasks[-1:]] == [2, 3]
    assert not [task for task in tasks if task["refused"] and task["state"] == "completed"]


@pytest.mark.skipif(not (AWS / "aws").exists(), reason="no aws: `make test` installs it")
def test_the_aws_command_line_calls_it_as_documented(local: Everything) -> None:
    printed = run(local, block_with("aws swf "))
    assert '"count": 0' in printed
    assert '"startedEventId": 0' in printed


def test_boto3_calls_it_and_is_told_what_it_has_not(local: Everything) -> None:
    client = boto3.client("swf", endpoint_url=local.endpoint, region_name="us-east-1", **KEYS)
    count = client.count_pending_activity_tasks(domain="demo", taskList={"name": "demo"})
    assert count["count"] == 0
    with pytest.raises(ClientError, match=r"does not have PollForDecisionTask.*local submit"):
        client.poll_for_decision_task(domain="demo", taskList={"name": "demo"})
