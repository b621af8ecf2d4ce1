"""`swf-bridge local run --with-broker --with-bridge`: all that a worker author needs."""

import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from trials import ROOT

from bridge.conformance.worker import WorkerProcess
from bridge.local.rabbitmq import RabbitNode

WORKER = f"{sys.executable} {Path(__file__).with_name('broken.py')}"


@pytest.mark.skipif(RabbitNode.unavailable() is not None, reason=str(RabbitNode.unavailable()))
def test_one_command_gives_a_worker_author_everything() -> None:
    command = [sys.executable, "-m", "bridge", "local", "run", "--listen", "127.0.0.1:0"]
    command += ["--with-broker", "--with-bridge", "--hold", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = dict.fromkeys(("AWS_ENDPOINT_URL_SWF=", "AMQP_URL=", "its page is "), "")
    try:
        while not all(said.values()):
            line = process.stdout.readline()
            assert line, "it ended"
            for words in said:
                if words in line:
                    said[words] = line.split(words)[1].strip()
        endpoint, url, _ = said.values()
        assert_it_works(endpoint, url)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def assert_it_works(endpoint: str, url: str) -> None:
    worker = WorkerProcess(WORKER, {"AMQP_URL": url})
    worker.start()
    try:
        submit = [sys.executable, "-m", "bridge", "local", "submit", "Text.echo", "hello"]
        submit += ["--wait", "--timeout", "20", "--endpoint", endpoint]
        done = subprocess.run(submit, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "completed" in done.stdout
    finally:
        worker.kill()
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    client = boto3.client("swf", endpoint_url=endpoint, region_name="us-east-1", **keys)
    count = client.count_pending_activity_tasks(domain="demo", taskList={"name": "demo"})
    assert count["count"] == 0
    with pytest.raises(ClientError, match=r"does not have PollForDecisionTask.*local submit"):
        client.poll_for_decision_task(domain="demo", taskList={"name": "demo"})
