"""Credentials that AWS does not take any more are read anew from their source, by both clients.

Each test has an endpoint that takes one key alone; which one changes while a client lives.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path

import pytest
from botocore.credentials import SSOProvider

from bridge.errors import Unavailable
from bridge.swf.aws import Aws
from bridge.swf.client import Way
from bridge.swf.runner import Runner
from tests.contract.sides import MakeSwf
from tests.contract.wires import Recorder, Sent, http
from tests.processes import until
from tests.waiting import WaitingSwf

OLD, NEW = "AKIDOLD", "AKIDNEW"
KEY = re.compile("Credential=([^/]+)/")
IN_AN_HOUR = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Gate(Recorder):
    """An SWF that takes one key alone."""

    takes = OLD
    refusal = "ExpiredTokenException"

    def __init__(self) -> None:
        super().__init__(self.judge)

    def judge(self, sent: Sent) -> bytes:
        found = KEY.search(sent.headers["authorization"])
        if found is not None and found[1] == self.takes:
            return http(b'{"cancelRequested": false}')
        return http(json.dumps({"__type": self.refusal, "message": "no"}).encode(), 400)


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


@pytest.fixture(autouse=True)
def no_static_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)


def hurried(renew: float = 0.05) -> Aws:
    """The configuration of AWS that searches for other credentials soon, and gives up soon."""
    return Aws(renew=renew, renew_for=3.0)


class Source:
    """Where credentials come from: holds ``key``, as botocore finds it."""

    def __init__(self, give: Callable[[str], object]) -> None:
        self.give = give
        give(OLD)


def files(place: Path, text: str) -> Callable[[str], object]:
    return lambda key: place.write_text(text.replace("KEY", key))


@pytest.fixture(params=["file", "profile", "process", "sso", "web-identity", "container", "imds"])
def source(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Source]:
    """Every source that botocore would read anew."""
    keys = "aws_access_key_id = KEY\naws_secret_access_key = secret\naws_session_token = token\n"
    kind: str = request.param
    if kind == "file":
        yield Source(files(tmp_path / "credentials", "[default]\n" + keys))
    elif kind == "profile":
        monkeypatch.setenv("AWS_PROFILE", "worker")
        yield Source(files(tmp_path / "config", "[profile worker]\n" + keys))
    elif kind == "process":
        (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path}/out\n")
        told = {"Version": 1, "AccessKeyId": "KEY", "SecretAccessKey": "s", "SessionToken": "t"}
        yield Source(files(tmp_path / "out", json.dumps({**told, "Expiration": IN_AN_HOUR})))
    else:
        with Provider(kind) as provider:
            provider.prepare(monkeypatch, tmp_path)
            yield Source(provider.give)


class Provider(Recorder):
    """The services that hand out credentials: SSO, STS, a container's agent, IMDS."""

    def __init__(self, kind: str) -> None:
        super().__init__(self.hand_out)
        self.kind = kind
        self.key = ""

    def give(self, key: str) -> None:
        self.key = key

    def prepare(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        match self.kind:
            case "sso":
                self._sign_on(monkeypatch, tmp_path)
            case "web-identity":
                (tmp_path / "token").write_text("a token")
                monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
                monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/bridge")
                monkeypatch.setenv("AWS_ENDPOINT_URL_STS", self.url)
            case "container":
                monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{self.url}/keys")
            case "imds":
                monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
                monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.url)

    def _sign_on(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        start = "https://signon.example.net/start"
        (tmp_path / "config").write_text(
            f"[default]\nsso_start_url = {start}\nsso_region = us-east-1\n"
            "sso_account_id = 123456789012\nsso_role_name = bridge\n"
        )
        cache = tmp_path / ".aws" / "sso" / "cache"
        cache.mkdir(parents=True)
        name = sha1(start.encode(), usedforsecurity=False).hexdigest()
        token = {"startUrl": start, "accessToken": "token", "expiresAt": IN_AN_HOUR}
        (cache / f"{name}.json").write_text(json.dumps(token))
        monkeypatch.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(cache))
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", self.url)

    def hand_out(self, sent: Sent) -> bytes:
        keys = {"SecretAccessKey": "secret", "Expiration": IN_AN_HOUR, "AccessKeyId": self.key}
        match self.kind:
            case "sso":
                millis = (time.time() + 3600) * 1000
                role = {"accessKeyId": self.key, "secretAccessKey": "s", "sessionToken": "t"}
                answer = {"roleCredentials": {**role, "expiration": int(millis)}}
            case "web-identity":
                return http(_assumed(self.key))
            case "imds" if "/api/token" in sent.line:
                return http(b"a token")
            case "imds" if sent.line.split()[1].endswith("/security-credentials/"):
                return http(b"bridge")
            case _:
                answer = {**keys, "Token": "token", "Code": "Success"}
        return http(json.dumps(answer).encode())


def _assumed(key: str) -> bytes:
    return (
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
        f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>"
        f"<SessionToken>token</SessionToken><Expiration>{IN_AN_HOUR}</Expiration>"
        "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    ).encode()


def taken(swf: WaitingSwf, seconds: float = 10) -> bool:
    """Whether a call of SWF is taken in time; each is tried again, as the daemon does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            assert swf.heartbeat("token", None) is False
        except Unavailable:
            time.sleep(0.02)
        else:
            return True
    return False


def test_what_aws_refuses_is_read_anew_from_its_source(
    way: Way, make_swf: MakeSwf, gate: Gate, source: Source
) -> None:
    swf = make_swf(way, gate.url, aws=hurried())
    assert taken(swf)
    source.give(NEW)
    gate.takes = NEW
    assert taken(swf)


@pytest.mark.parametrize(
    "code",
    ["ExpiredToken", "UnrecognizedClientException", "InvalidSignatureException"],
)
def test_so_it_is_for_each_word_by_which_aws_refuses(
    way: Way, make_swf: MakeSwf, gate: Gate, tmp_path: Path, code: str
) -> None:
    gate.refusal = code
    source = Source(files(tmp_path / "credentials", KEYS))
    swf = make_swf(way, gate.url, aws=hurried())
    assert taken(swf)
    source.give(NEW)
    gate.takes = NEW
    assert taken(swf)


KEYS = "[default]\naws_access_key_id = KEY\naws_secret_access_key = secret\n"


def test_a_line_of_polls_takes_the_new_ones_too(
    way: Way, make_swf: MakeSwf, gate: Gate, tmp_path: Path
) -> None:
    source = Source(files(tmp_path / "credentials", KEYS))
    swf = make_swf(way, gate.url, aws=hurried())
    told: list[bool] = []
    line: Runner[bool] = swf.runner(1, told.append)

    async def beat() -> bool:
        try:
            return await swf.calls.heartbeat("token", None)
        except Unavailable:
            return True

    def answers() -> bool:
        told.clear()
        line.begin(beat())
        while line.open:
            line.turn(1.0)
        return told == [False]

    assert answers()
    source.give(NEW)
    gate.takes = NEW
    deadline = time.monotonic() + 10
    while not answers() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert told == [False]


def test_keys_that_come_long_after_the_refusal_are_found_without_a_call(
    way: Way, make_swf: MakeSwf, gate: Gate, tmp_path: Path
) -> None:
    """The daemon's next poll may be half a minute away: it is to be signed by the new ones."""
    source = Source(files(tmp_path / "credentials", KEYS))
    swf = make_swf(way, gate.url, aws=hurried())
    assert taken(swf)
    gate.takes = NEW
    with pytest.raises(Unavailable):
        swf.heartbeat("token", None)
    source.give(NEW)
    time.sleep(0.5)
    assert swf.heartbeat("token", None) is False


def test_a_file_that_is_half_written_or_gone_takes_nothing_away(
    way: Way, make_swf: MakeSwf, gate: Gate, tmp_path: Path
) -> None:
    source = Source(files(tmp_path / "credentials", KEYS))
    swf = make_swf(way, gate.url, aws=hurried())
    assert taken(swf)
    gate.takes = NEW
    for text in ("[default]\naws_access_key_id = X\n", "[default", "\0", None):
        if text is None:
            (tmp_path / "credentials").unlink()
        else:
            (tmp_path / "credentials").write_text(text)
        with pytest.raises(Unavailable, match="ExpiredToken"):
            swf.heartbeat("token", None)
        time.sleep(0.2)
    source.give(NEW)
    assert taken(swf)


def test_a_refusal_for_long_asks_the_source_seldom(
    way: Way, make_swf: MakeSwf, gate: Gate, tmp_path: Path
) -> None:
    assert until(lambda: not renewing())  # those of other tests read this one's files
    asked = tmp_path / "asked"
    told = json.dumps({"Version": 1, "AccessKeyId": OLD, "SecretAccessKey": "s"})
    script = tmp_path / "process"
    script.write_text(f"#!/bin/sh\necho >> {asked}\necho '{told}'\n")
    script.chmod(0o700)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {script}\n")
    swf = make_swf(way, gate.url, aws=hurried(renew=0.5))
    assert taken(swf)
    gate.takes = NEW
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        with pytest.raises(Unavailable):
            swf.heartbeat("token", None)
    assert len(asked.read_text()) <= 5
    assert renewing() <= 1


def renewing() -> int:
    return sum(each.name == "credentials" for each in threading.enumerate())
