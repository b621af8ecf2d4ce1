"""The same examples on every run, however slow the machine is; and a bench of real parts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.unit.bridge_parts import Bench

settings.register_profile(
    "unit",
    deadline=None,
    derandomize=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("unit")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A journal, a window, metrics and instances, joined as the daemon joins them."""
    found = Bench(tmp_path / "bench.db")
    yield found
    found.journal.close()
