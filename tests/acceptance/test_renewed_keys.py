"""Short-lived keys that somebody renews in the shared credentials file, and SWF takes no others."""

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import Start
from tests.contract.sides import PYCURL
from tests.contract.wires import Recorder, Sent
from tests.contract.wires import http as answer
from tests.worker import Worker

KEY = re.compile("Credential=([^/]+)/")


class Gate(Recorder):
    """Stands before an SWF, and lets calls through that are signed with the one key it takes."""

    def __init__(self, swf: LocalSwf) -> None:
        super().__init__(self.judge)
        self.takes = "AKIDOLD"
        self.refused = 0
        self._host = swf.endpoint.partition("//")[2]

    def judge(self, sent: Sent) -> bytes:
        found = KEY.search(sent.headers["authorization"])
        if found is None or found[1] != self.takes:
            self.refused += 1
            told = {"__type": "ExpiredTokenException", "message": "The token has expired"}
            return answer(json.dumps(told).encode(), 400)
        there = http.client.HTTPConnection(self._host, timeout=70)
        there.request("POST", "/", sent.body, {**sent.headers, "host": self._host})
        got = there.getresponse()
        return answer(got.read(), got.status)


@pytest.fixture
def gate(swf: LocalSwf) -> Iterator[Gate]:
    with Gate(swf) as gate:
        yield gate


@pytest.mark.parametrize("client", ["boto3", *(["curl"] if PYCURL else [])])
def test_tasks_go_on_by_themselves_once_the_keys_are_renewed(
    swf: LocalSwf, gate: Gate, worker: Worker, start: Start, tmp_path: Path, client: str
) -> None:
    keys = tmp_path / "credentials"
    text = "[default]\naws_access_key_id = {}\naws_secret_access_key = s\n"
    keys.write_text(text.format("AKIDOLD"))
    worker.queue()
    bridge = start(
        AWS_ENDPOINT_URL_SWF=gate.url,
        AWS_SHARED_CREDENTIALS_FILE=keys,
        AWS_EC2_METADATA_DISABLED="true",
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
        swf_client=client,
    )
    first = swf.submit("echo", "1.0", "s3cr3t")
    taken = worker.take()
    gate.takes = "AKIDNEW"
    bridge.wait("poll.failing")
    worker.complete(taken)
    second = swf.submit("echo", "1.0", "s3cr3t")
    bridge.wait("answers.failing", 30)
    keys.write_text(text.format("AKIDNEW"))
    bridge.wait("credentials.renewed", 10)
    worker.complete(worker.take(seconds=60))
    for each in (first, second):
        assert swf.wait_closed(each, 60), bridge.log
    assert "AKID" not in bridge.log
    assert bridge.stop() == 0
