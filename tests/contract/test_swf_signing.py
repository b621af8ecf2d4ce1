"""What libcurl does alone: its signatures are botocore's, and its polls' thread fails no one."""

import gc
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("pycurl", reason="PycURL is not there")

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import MakeSwf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wires import Recorder, Sent

from bridge.aws import Aws
from bridge.curl import Curl
from bridge.errors import Unavailable
from bridge.local import LocalSwf
from bridge.polls import _Loop


@pytest.fixture(scope="module")
def server() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


class Given:
    """Credentials as a test has them."""

    def __init__(self, key: str, secret: str, token: str | None) -> None:
        self.credentials = Credentials(key, secret, token)

    def get_frozen_credentials(self) -> object:
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
    curl = made(region)
    given = Given(key, secret, token)
    curl._credentials = given  # type: ignore[assignment]
    curl.call(operation, fields, held=held)
    sent = server.sent[-1]
    url = f"{server.url}{urlsplit(sent.line.split()[1]).path}"
    assert sent.headers["authorization"] == botocores(sent, url, given.credentials, region)
    signed = sent.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    wanted = {"host", "x-amz-date", "x-amz-target", "content-type"}
    assert set(signed.split(";")) == wanted | ({"x-amz-security-token"} if token else set())


_MADE: dict[tuple[str, str], Curl] = {}


def made(region: str) -> Curl:
    """One client for each region and endpoint: making one takes longer than all the rest."""
    name = (region, os.environ["AWS_ENDPOINT_URL_SWF"])
    if name not in _MADE:
        before = os.environ["AWS_REGION"]
        os.environ["AWS_REGION"] = region
        _MADE[name] = Curl(Aws(), polls=1, read_timeout=70)
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


@pytest.mark.parametrize("method", ["_turn", "_finish", "_begin"])
def test_a_failure_of_the_polls_thread_leaves_nobody_waiting(
    make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("unforeseen")

    with LocalSwf(hold=30) as local, ThreadPoolExecutor(20) as threads:
        swf = make_swf("curl", local.endpoint)
        waiting = [threads.submit(swf.poll, "demo", "demo") for _ in range(10)]
        deadline = time.monotonic() + 5
        while local.counts()["polls"] < 10 and time.monotonic() < deadline:
            time.sleep(0.02)
        with monkeypatch.context() as broken:
            broken.setattr(_Loop, method, fail)
            with pytest.raises(Unavailable):
                swf.poll("demo", "demo")
            for each in waiting:
                with pytest.raises(Unavailable):
                    each.result(timeout=5)
        local.submit("greet", "1")
        assert swf.poll("demo", "demo") is not None


def test_polls_wait_on_one_thread_that_does_nothing(make_swf: MakeSwf) -> None:
    def switches() -> int:
        (loop,) = (each for each in threading.enumerate() if each.name == "swf-polls-idle")
        text = Path(f"/proc/self/task/{loop.native_id}/status").read_text()
        return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    known = {each.ident for each in threading.enumerate()}
    with LocalSwf(hold=3) as local, ThreadPoolExecutor(50) as threads:
        swf = make_swf("curl", local.endpoint)
        waiting = [threads.submit(swf.poll, "demo", "demo") for _ in range(50)]
        deadline = time.monotonic() + 5
        while local.counts()["polls"] < 50 and time.monotonic() < deadline:
            time.sleep(0.02)
        new = [e for e in threading.enumerate() if e.name == "swf-polls" and e.ident not in known]
        assert len(new) == 1
        new[0].name = "swf-polls-idle"
        before = switches()
        time.sleep(1.0)
        assert switches() - before <= 3
        assert all(each.result(timeout=10) is None for each in waiting)
