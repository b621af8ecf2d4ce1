"""The daemon as a process, with an SWF and a vhost of its own for each test."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import RUN, Bridge, Operator, Site, Start, check_log, settings
from tests.brokers import Vhost
from tests.worker import Worker


@pytest.fixture
def swf() -> Iterator[LocalSwf]:
    """An SWF whose empty polls are held for a second only."""
    with LocalSwf(hold=1.0) as swf:
        yield swf


@pytest.fixture
def worker(vhost: Vhost) -> Iterator[Worker]:
    """A worker without a queue yet."""
    worker = Worker(vhost.url)
    yield worker
    worker.close()


@pytest.fixture
def start(swf: LocalSwf, vhost: Vhost, tmp_path: Path) -> Iterator[Start]:
    """Starts daemons with settings of the test's own, and ends them all."""
    started: list[Bridge] = []
    with ExitStack() as ends:

        def start(
            *, await_start: bool = True, command: Sequence[str] = RUN, **more: object
        ) -> Bridge:
            bridge = Bridge(settings(swf, vhost.url, tmp_path, **more), command)
            ends.callback(bridge.end)
            started.append(bridge)
            return bridge.start(await_start=await_start)

        yield start
    for bridge in started:
        check_log(bridge, swf)


@pytest.fixture
def by_exec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the test is forked from a process that has loaded the libraries."""
    monkeypatch.setenv("TESTS_EXEC", "1")


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """A shell beside the daemon that `start` starts."""
    return Operator(tmp_path)


@pytest.fixture
def site(swf: LocalSwf, worker: Worker, start: Start) -> Site:
    """A daemon with the settings of harness.settings, and a worker with its queue."""
    worker.queue()
    return Site(swf, start(), worker)


@pytest.fixture(scope="module")
def shared(shared_vhost: Vhost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same for all tests of a module that end nothing."""
    with ExitStack() as ends:
        swf = ends.enter_context(LocalSwf(hold=1.0))
        worker = Worker(shared_vhost.url)
        ends.callback(worker.close)
        worker.queue()
        folder = tmp_path_factory.mktemp("shared")
        bridge = Bridge(settings(swf, shared_vhost.url, folder))
        ends.callback(bridge.end)
        yield Site(swf, bridge.start(), worker)
        assert bridge.stop() == 0
        check_log(bridge, swf)
