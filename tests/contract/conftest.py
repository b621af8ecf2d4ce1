"""Two SWFs for one suite: moto's server, and the local one; a new domain for each test."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from bridge.local import LocalSwf
from bridge.swf.aws import Aws
from bridge.swf.client import Way
from tests import botocore_data
from tests.contract.sides import PYCURL, LocalSide, MakeSwf, MotoSide, Side
from tests.waiting import WaitingSwf

botocore_data.read_once()


@pytest.fixture(scope="session")
def local_side() -> Iterator[Side]:
    with LocalSwf(hold=0.2, absent_token=True) as swf:
        yield LocalSide(swf)


@pytest.fixture(scope="session")
def moto_side() -> Iterator[Side]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield MotoSide(f"http://{host}:{port}")
    server.stop()


@pytest.fixture(params=["local", "moto"])
def side(request: pytest.FixtureRequest) -> Side:
    found: Side = request.getfixturevalue(f"{request.param}_side")
    found.start_over()
    return found


@pytest.fixture(autouse=True)
def aws_of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An AWS configuration of these tests alone: nothing of the machine's, static credentials."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture(
    params=[
        "boto3",
        pytest.param("curl", marks=pytest.mark.skipif(not PYCURL, reason="PycURL is not there")),
    ]
)
def way(request: pytest.FixtureRequest) -> Way:
    """Both ways to call SWF."""
    found: Way = request.param
    return found


@pytest.fixture
def make_swf(monkeypatch: pytest.MonkeyPatch) -> MakeSwf:
    """Makes a Swf for an endpoint, by one way; without one for what the environment names."""

    def make(way: Way, endpoint: str | None = None, **options: Any) -> WaitingSwf:
        if endpoint is not None:
            monkeypatch.setenv("AWS_ENDPOINT_URL_SWF", endpoint)
        if "aws" not in options:
            # Its search for other keys would go on for a minute, into other tests and their files.
            options["aws"] = Aws(renew_for=0.0)
        given = {"identity": "contract", "pollers": 4, "responders": 4, "read_timeout": 10.0}
        return WaitingSwf(way=way, **{**given, **options})

    return make
