"""Hooks of pytest: where EVERY_TEST is set, all tests run, and one that does not has failed.

A machine that lacks something skips the tests that need it, with a reason; the machine that judges
a change must not. Tests marked `long` run only there and by `make long`: beside each stands a
shorter one that runs always. With pytest-xdist each worker has these hooks.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

VARIABLE = "EVERY_TEST"
ALLOWED = {
    "root may write every file": "the machine that judges is root's, for a systemd to be booted",
    "RabbitMQ before 4 can neither forbid what it deprecates nor use Khepri": (
        "Debian 12 has 3.10; the test runs in the root of Debian 13"
    ),
}
"""Reasons that may skip a test even so, and why."""


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not os.environ.get(VARIABLE) or not report.skipped:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if reason not in ALLOWED:
        report.outcome = "failed"
        report.longrepr = f"{VARIABLE} is set, and this test does not run: {reason}"


def leave_out_long(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is marked `long`, unless every test is wanted or a mark is asked for."""
    if os.environ.get(VARIABLE) or config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """A test that skips itself, by a mark or a fixture too."""
    outcome: Any = yield
    _judge(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """A module that skips itself as it is imported."""
    outcome: Any = yield
    _judge(outcome.get_result())
