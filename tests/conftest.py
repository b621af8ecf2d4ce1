"""A RabbitMQ for the tests that need one: started at the first such test, a new vhost for each.

`BROKER_URL` names a broker to be used instead, whose management API is at `BROKER_API` or at
port 15672 of the same host. Tests of faults that only a node of one's own allows are skipped then.
`BROKER_AHEAD=1` has every node of the tests forbid what it deprecates and keep its metadata in
Khepri: RabbitMQ 4 as it means to be.

Hypothesis makes the same examples on every run, however slow the machine is.
"""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from bridge.local.rabbitmq import RabbitNode
from tests.brokers import BROKER_URL, Vhost, new_vhost
from tests.required import pytest_make_collect_report, pytest_runtest_makereport
from tests.spread import pytest_collection_modifyitems, pytest_xdist_make_scheduler

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_make_collect_report",
    "pytest_runtest_makereport",
    "pytest_xdist_make_scheduler",
]

settings.register_profile(
    "same",
    deadline=None,
    derandomize=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("same")

LARGE_MESSAGES = f"max_message_size = {128 * 1024 * 1024}\n"
"""What RabbitMQ 3 takes by default; RabbitMQ 4 takes 16 MiB, and an operator may allow more."""


def pytest_configure() -> None:
    """Tests send signals that a shell has what runs in the background, or under nohup, ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def broker_node() -> Iterator[RabbitNode]:
    """The private node itself, to kill, pause, restart and alarm; each test leaves it running."""
    if BROKER_URL:
        pytest.skip("a fault that needs a node of our own, and BROKER_URL is set")
    if reason := RabbitNode.unavailable():
        pytest.skip(f"{reason}: `make test` installs it")
    with RabbitNode(config=LARGE_MESSAGES) as node:
        yield node


@pytest.fixture
def vhost(request: pytest.FixtureRequest) -> Iterator[Vhost]:
    """A new vhost on the private node or on BROKER_URL, deleted after the test."""
    with new_vhost(lambda: request.getfixturevalue("broker_node")) as made:
        yield made


@pytest.fixture(scope="module")
def shared_vhost(request: pytest.FixtureRequest) -> Iterator[Vhost]:
    """The same for all tests of a module that do no harm to each other."""
    with new_vhost(lambda: request.getfixturevalue("broker_node")) as made:
        yield made
