"""The worker of the README, as it stands there, is one."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from tests.acceptance.harness import Start
from tests.brokers import Vhost
from tests.worker import REPLIES, Worker

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def greeter(vhost: Vhost, start: Start, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The worker as a process, beside a daemon that is connected and has declared the exchange."""
    start(unroutable_timeout=60)
    with closing(Worker(vhost.url)) as observer:
        assert observer.until(lambda: observer.exists(REPLIES))
    source = re.search(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert source is not None
    program = tmp_path / "greeter.py"
    program.write_text(source[1])
    worker = subprocess.Popen(
        [sys.executable, program],
        env={**os.environ, "AMQP_URL": vhost.url},
        stdin=subprocess.DEVNULL,
    )
    yield worker
    worker.kill()
    worker.wait()


def test_the_worker_of_the_readme_does_one_task_after_the_other(
    swf: LocalSwf, greeter: subprocess.Popen[bytes]
) -> None:
    names = ["World", None, "", "lone \ud800", "ß and 𝒜"]
    ids = [swf.submit("Greeter.say", "1.0", name) for name in names]
    assert all(swf.wait_closed(task_id, 20) for task_id in ids)
    assert greeter.poll() is None
    results = [swf.task(task_id, payload=True)["result"] for task_id in ids]
    told = ["nobody" if name is None else name for name in names]
    assert results == [f"Hello, {name}!" for name in told]
