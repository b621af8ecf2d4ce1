"""What libcurl does alone: its signatures are botocore's, and many calls wait on one thread."""

import gc
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("pycurl", reason="PycURL is not there")

import pycurl
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import Unavailable
from bridge.local import LocalSwf
from bridge.swf.aws import Aws, KeptCredentials, LateCredentials
from bridge.swf.client import Swf
from bridge.swf.curl import Curl
from bridge.swf.curl_wire import GRACE, Ended, Multi
from bridge.swf.runner import Call, Runner
from tests.contract.sides import MakeSwf
from tests.contract.wires import Recorder, Sent


@pytest.fixture(scope="module")
def server() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


class Given(LateCredentials):
    """Credentials as a test has them."""

    def __init__(self) -> None:
        super().__init__(lambda: None)
        self.credentials = Credentials("", "")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return self.credentials.get_frozen_credentials()


def botocores(sent: Sent, url: str, credentials: Credentials, region: str) -> str:
    """The Authorization header that botocore gives to the request that was sent, at its time."""
    signed = sent.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    headers = {name: sent.headers[name] for name in signed.split(";")}
    request = AWSRequest("POST", url, headers=headers, data=sent.body)
    request.context["timestamp"] = sent.headers["x-amz-date"]
    signer = SigV4Auth(credentials.get_frozen_credentials(), "swf", region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    scope = signer.scope(request)
    return (
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed},"
        f" Signature={signer.signature(text, request)}"
    )


SECRETS = st.text("abcXYZ019/+=", min_size=1, max_size=60)
FIELDS = st.dictionaries(
    st.text(max_size=10),
    st.none() | st.text(max_size=200) | st.integers(-5, 10**12) | st.booleans(),
    max_size=6,
)


@pytest.mark.parametrize("held", [False, True], ids=["answer", "poll"])
@pytest.mark.parametrize("path", ["", "/under/here"])
@given(
    fields=FIELDS,
    operation=st.sampled_from(["PollForActivityTask", "RespondActivityTaskCompleted"]),
    key=st.text("AKIA0189abc", min_size=1, max_size=20),
    secret=SECRETS,
    token=st.none() | SECRETS,
    region=st.sampled_from(["eu-west-1", "us-gov-east-1", "cn-north-1"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_signature_of_libcurl_is_that_of_botocore(
    server: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    held: bool,
    path: str,
    fields: dict[str, object],
    operation: str,
    key: str,
    secret: str,
    token: str | None,
    region: str,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SWF", server.url + path)
    curl, given = made(region)
    given.credentials = Credentials(key, secret, token)
    curl.call(Call(operation, fields, held))
    sent = server.sent[-1]
    url = f"{server.url}{urlsplit(sent.line.split()[1]).path}"
    assert sent.headers["authorization"] == botocores(sent, url, given.credentials, region)
    signed = sent.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    wanted = {"host", "x-amz-date", "x-amz-target", "content-type"}
    assert set(signed.split(";")) == wanted | ({"x-amz-security-token"} if token else set())


_MADE: dict[tuple[str, str], tuple[Curl, Given]] = {}


def made(region: str) -> tuple[Curl, Given]:
    """One client for each region and endpoint: making one takes longer than all the rest."""
    name = (region, os.environ["AWS_ENDPOINT_URL_SWF"])
    if name not in _MADE:
        before = os.environ["AWS_REGION"]
        os.environ["AWS_REGION"] = region
        aws = Aws()
        aws.credentials = given = Given()
        _MADE[name] = Curl(aws, read_timeout=70), given
        os.environ["AWS_REGION"] = before
    return _MADE[name]


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_is_left_by_500_connections(make_swf: MakeSwf) -> None:
    with Recorder(lambda sent: None) as server:
        swf = make_swf("curl", server.url)
        before = 0
        for number in range(500):
            with pytest.raises(Unavailable):
                (swf.poll if number % 2 else swf.describe_domain)(*("demo",) * (1 + number % 2))
            if number == 20:
                before = descriptors()
        assert server.connections >= 500
        assert descriptors() <= before + 3


def polls_held(local: LocalSwf, line: Runner[object], swf: Swf, count: int) -> None:
    """Open so many polls, and wait until all are held."""
    for _ in range(count):
        line.begin(swf.calls.poll("demo", "demo"))
    deadline = time.monotonic() + 40
    while local.counts()["polls"] < count and time.monotonic() < deadline:
        line.turn(0.05)
    assert local.counts()["polls"] == count


def test_a_thousand_polls_wait_on_one_thread_that_does_nothing(make_swf: MakeSwf) -> None:
    def switches() -> int:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text()
        return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    count = 1000
    found: list[object] = []
    with LocalSwf(hold=50) as local:
        swf = make_swf("curl", local.endpoint, read_timeout=70.0)
        line = swf.runner(count, found.append, held=True)
        polls_held(local, line, swf, count)
        before = switches()
        line.turn(1.0)
        assert switches() - before <= 3
        assert found == []
        ids = local.submit_many([{"name": "n", "version": "1", "count": count}])
        deadline = time.monotonic() + 40
        while line.open and time.monotonic() < deadline:
            line.turn(1.0)
        assert len({task.token for task in found if task}) == len(ids) == count  # type: ignore[attr-defined]


def test_a_wake_ends_the_wait_for_answers(make_swf: MakeSwf) -> None:
    with LocalSwf(hold=50) as local:
        swf = make_swf("curl", local.endpoint, read_timeout=70.0)
        line: Runner[object] = swf.runner(1, lambda _: None, held=True)
        polls_held(local, line, swf, 1)
        started = time.monotonic()
        threading.Timer(0.1, line.wake).start()
        line.turn(30.0)
        assert time.monotonic() - started < 10
        line.wake()  # before the wait: it does not begin
        line.turn(30.0)
        assert time.monotonic() - started < 10
        assert line.open == 1


def test_a_call_that_libcurl_does_not_end_in_time_is_given_up() -> None:
    """Its handle's own time-out is a minute, and ends nothing here."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        handle = pycurl.Curl()
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.TIMEOUT, 60)
        multi = Multi(connections=1, timeout=0.2 - GRACE)
        multi.begin(handle, "the call")
        assert multi.ended(0.0) == []
        ended: list[Ended] = []
        deadline = time.monotonic() + 10
        while not ended and time.monotonic() < deadline:
            ended = multi.ended(0.05)
        assert ended == [("the call", "the call was not answered in time")]
        assert repr(multi) == "<Multi 0 calls>"
        multi.close()


def test_a_provider_that_hangs_delays_no_call() -> None:
    asked, answered = threading.Event(), threading.Event()

    class Provider:
        change, version = True, 0
        found = 0

        def get_frozen_credentials(self) -> ReadOnlyCredentials:
            self.found += 1
            if self.found > 1:
                asked.set()
                answered.wait(20)
            return ReadOnlyCredentials(f"key-{self.found}", "secret", None)

    kept = KeptCredentials(Provider(), keep=0.0)  # type: ignore[arg-type]
    assert kept.current().access_key == "key-1"
    assert kept.current().access_key == "key-1"
    assert asked.wait(10)
    assert kept.current().access_key == "key-1"
    answered.set()
    deadline = time.monotonic() + 10
    while kept.current().access_key == "key-1" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert kept.current().access_key != "key-1"


def test_credentials_that_are_gone_are_told_at_once_and_taken_when_they_are_back() -> None:

    class Provider:
        change, version = True, 0
        there = False

        def get_frozen_credentials(self) -> ReadOnlyCredentials:
            if not self.there:
                raise Unavailable("NoCredentialsError", "none")
            return ReadOnlyCredentials("key", "secret", None)

    provider = Provider()
    kept = KeptCredentials(provider, keep=0.0)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(Unavailable, match="none"):
            kept.current()
    provider.there = True
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert kept.current().access_key == "key"
            return
        except Unavailable:
            time.sleep(0.01)
    pytest.fail("never taken")
