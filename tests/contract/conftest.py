"""Two SWFs for one suite: moto's server, and the local one; a new domain for each test."""

from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer
from sides import LocalSide, MotoSide, Side

from bridge.local import LocalSwf


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
