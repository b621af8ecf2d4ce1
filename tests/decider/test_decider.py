"""A decider that nobody here wrote: simpleflow's, on moto's SWF, with a worker in Node."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError

from bridge.conformance.worker import WorkerProcess
from bridge.local.daemon import Daemon
from bridge.local.keeper import Keeper
from bridge.local.ports import free_ports
from tests.brokers import Vhost

ROOT = Path(__file__).parents[2]
SIMPLEFLOW = ROOT / ".venv-decider/bin/simpleflow"
MOTO = ROOT / ".venv/bin/moto_server"
CLOSED = ("Completed", "Failed", "TimedOut", "Canceled", "Terminated")

pytestmark = pytest.mark.skipif(
    not SIMPLEFLOW.exists(), reason="no simpleflow: `make test` installs it (tools/setup decider)"
)


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    with Keeper("decider-") as keeper:
        yield keeper


def until_it_answers(client: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.register_domain(name="demo", workflowExecutionRetentionPeriodInDays="1")
        except BotoCoreError:
            assert time.monotonic() < deadline, "moto does not answer"
            time.sleep(0.1)
        else:
            return


def start(client: Any) -> dict[str, str]:
    """The execution of the workflow; its type is registered by whoever starts it."""
    client.register_workflow_type(
        domain="demo",
        name="orders",
        version="1",
        defaultTaskStartToCloseTimeout="60",
        defaultExecutionStartToCloseTimeout="600",
        defaultChildPolicy="TERMINATE",
        defaultTaskList={"name": "decisions"},
    )
    started = client.start_workflow_execution(
        domain="demo",
        workflowId="order-7",
        workflowType={"name": "orders", "version": "1"},
        input='{"args": [], "kwargs": {}}',
    )
    return {"workflowId": "order-7", "runId": started["runId"]}


def history(client: Any, execution: dict[str, str], seconds: float = 40) -> list[Any]:
    """The events of the execution, once it is closed."""
    deadline = time.monotonic() + seconds
    ends = [f"WorkflowExecution{end}" for end in CLOSED]
    while True:
        given = client.get_workflow_execution_history(domain="demo", execution=execution)
        events: list[Any] = given["events"]
        if events[-1]["eventType"] in ends or time.monotonic() > deadline:
            return events
        time.sleep(0.2)


def test_a_workflow_of_simpleflow_finishes_with_activities_done_in_node(
    keeper: Keeper, vhost: Vhost
) -> None:
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    region = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(keeper.folder),
        "LANG": "C.UTF-8",
        "AWS_ENDPOINT_URL_SWF": endpoint,
        "PYTHONPATH": str(Path(__file__).parent),
        **keys,
        **region,
    }
    keeper.spawn([MOTO, "-p", str(port)], env=environment, output="moto")
    client = boto3.client(
        "swf",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    until_it_answers(client)
    node = f"node {ROOT}/examples/node/worker.mjs"
    worker = WorkerProcess(node, {"AMQP_URL": vhost.url})
    worker.start()
    try:
        Daemon(keeper, endpoint, vhost.url, {}).start()
        decide = ["decider.start", "--domain", "demo", "--task-list", "decisions"]
        command = [SIMPLEFLOW, *decide, "--nb-processes", "1", "orders.Orders"]
        keeper.spawn(command, env=environment, output="decider")
        events = history(client, start(client))
    finally:
        worker.kill()
    last = events[-1]
    said = (keeper.folder / "decider").read_text()
    assert last["eventType"] == "WorkflowExecutionCompleted", said
    result = last["workflowExecutionCompletedEventAttributes"]["result"]
    assert result == '[[["first"],["second"]]]'
    done = [e for e in events if e["eventType"] == "ActivityTaskCompleted"]
    polled = [e["activityTaskStartedEventAttributes"] for e in events
              if e["eventType"] == "ActivityTaskStarted"]  # fmt: skip
    assert len(done) == 3
    assert all(each["identity"].startswith("swf-bridge@") for each in polled)
