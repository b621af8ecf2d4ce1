"""Trials at the same time, for each takes half a minute and little of a processor."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.brokers import new_vhost
from tests.conformance.trials import Tried, conformance

AT_ONCE = 10


@pytest.fixture(scope="module")
def begin_alone() -> Iterator[Callable[..., "Future[Tried]"]]:
    """Begins a trial that starts a broker of its own, at once."""
    with ThreadPoolExecutor() as pool:
        yield lambda *options: pool.submit(conformance, *options)


@pytest.fixture(scope="session")
def begin(request: pytest.FixtureRequest) -> Iterator[Callable[..., "Future[Tried]"]]:
    """Begins a trial in a vhost of its own, as soon as fewer than AT_ONCE are under way."""
    node: Any = request.getfixturevalue("broker_node")

    def tried(*options: str) -> Tried:
        with new_vhost(lambda: node) as vhost:
            return conformance("--broker", vhost.url, *options)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield lambda *options: pool.submit(tried, *options)
        pool.shutdown(cancel_futures=True)
