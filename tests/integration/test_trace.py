"""The way of a task, a heartbeat and a reply through the files of bridge/ does not get longer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers import Vhost

TOOL = Path(__file__).parents[2] / "tools" / "trace.py"
SWITCHES = {"task": 124, "heartbeat": 138, "reply": 116}
"""Calls and returns from one file of bridge/ into another, as measured by `make trace`."""
MARGIN = 1.1
"""On a busy machine other work of the daemon falls into every round, and another Python or client
of SWF takes another way. One more room to pass through costs more than that."""


@pytest.fixture(scope="module")
def ways(shared_vhost: Vhost) -> dict[str, dict[str, int]]:
    command = [sys.executable, str(TOOL), "--json", "--rounds", "10", "--amqp", shared_vhost.url]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300)
    found: dict[str, dict[str, int]] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("name", SWITCHES)
def test_nothing_that_passes_goes_through_what_builds_the_parts(
    ways: dict[str, dict[str, int]], name: str
) -> None:
    assert ways[name]["through_wiring"] == 0
    assert ways[name]["calls"] > 50


@pytest.mark.parametrize("name", SWITCHES)
def test_hardly_more_files_are_changed_than_were_measured(
    ways: dict[str, dict[str, int]], name: str
) -> None:
    assert 0 < ways[name]["switches"] <= SWITCHES[name] * MARGIN
