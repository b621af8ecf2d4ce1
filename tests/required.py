"""Hooks of pytest: where EVERY_TEST is set, a test that does not run has failed.

A machine that lacks something skips the tests that need it, with a reason; the machine that judges
a change must not. With pytest-xdist each worker has these hooks.
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
