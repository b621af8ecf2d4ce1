"""A bench of real parts.

No test here may start a process: what does belongs to `tests/integration`, so that these stay as
quick as one who runs them at each save wants them.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import botocore_data
from tests.unit.bridge_parts import Bench

botocore_data.read_once()

_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
_running: list[str] = []


def _forbid(event: str, _arguments: tuple[object, ...]) -> None:
    if _running and event in _STARTS:
        raise AssertionError(f"{_running[0]} starts a process: it belongs to tests/integration")


sys.addaudithook(_forbid)


@pytest.fixture(autouse=True)
def no_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that starts a process."""
    _running[:] = [request.node.nodeid]
    yield
    _running.clear()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A journal, a window, metrics and instances, joined as the daemon joins them."""
    found = Bench(tmp_path / "bench.db")
    yield found
    found.journal.close()
