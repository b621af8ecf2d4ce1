"""Nothing that a client sends stops the local SWF or goes unanswered."""

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from bridge.local import ControlError, LocalSwf
from bridge.local.swf.limits import REQUESTS
from tests.unit.local_wire import Wire

MEMBERS = (
    "domain", "taskList", "name", "taskToken", "result", "reason", "details", "identity",
    "execution", "workflowId", "runId", "activityType", "version", "nextPageToken",
    "maximumPageSize", "reverseOrder", "registrationStatus",
    "workflowExecutionRetentionPeriodInDays",
)  # fmt: skip
WELL_FORMED: dict[str, Any] = {
    "domain": "demo", "taskList": {"name": "demo"}, "name": "w", "taskToken": "w",
    "execution": {"workflowId": "w", "runId": "w"}, "workflowId": "w", "runId": "w",
    "activityType": {"name": "w", "version": "1"}, "version": "1",
    "maximumPageSize": 7, "registrationStatus": "REGISTERED",
    "workflowExecutionRetentionPeriodInDays": "NONE",
}  # fmt: skip
VERBS = ("submit", "tasks", "task", "cancel", "add-fault", "options", "wait")
VERB_MEMBERS = (
    "tasks", "id", "ids", "since", "limit", "kind", "name", "version", "input", "taskPriority",
    "heartbeatTimeout", "hold", "payload", "probability", "operation", "delay", "timeout",
)  # fmt: skip
LEAVES = (
    None, True, False, 0, 1, -1, 7, 2**31, 2**63, -(10**30), 0.5, -0.0, 1e308, math.inf, -math.inf,
    math.nan, "", "demo", "1", "-1", "w", "NONE", "\0", " ", "é", "\ud800", "\U0001f600", "x" * 300,
)  # fmt: skip
ENOUGH = 1_000
"""Requests of each kind, the same on each run. `make fuzz` sends as many as one has time for."""


class Noise(random.Random):
    """JSON of any shape, with the names that the service knows more often than chance has it."""

    def value(self, depth: int = 2) -> Any:
        shape = self.randrange(5) if depth else 0
        if shape == 1:
            return [self.value(depth - 1) for _ in range(self.randrange(4))]
        if shape == 2:
            return self.members(MEMBERS, depth - 1)
        return self.choice(LEAVES)

    def members(self, names: Sequence[str], depth: int = 2) -> dict[str, Any]:
        chosen = self.sample(names, self.randrange(min(len(names), 6)))
        return {name: self.value(depth) for name in chosen}

    def request(self) -> dict[str, Any]:
        """One that is well formed for every operation, but for some members."""
        return WELL_FORMED | self.members(MEMBERS)


@pytest.fixture(scope="module")
def swf() -> Iterator[LocalSwf]:
    with LocalSwf(hold=0.0) as running:
        yield running


@pytest.fixture(scope="module")
def wire(swf: LocalSwf) -> Iterator[Wire]:
    with Wire(swf.endpoint) as connection:
        yield connection


def test_any_request_is_answered_by_the_service_or_refused_as_the_clients_fault(
    wire: Wire,
) -> None:
    noise, operations = Noise(1), sorted(REQUESTS)
    for _ in range(ENOUGH):
        operation, request = noise.choice(operations), noise.request()
        assert wire.call(operation, **request).status in (200, 400), (operation, request)


def _came_of(swf: LocalSwf, verb: str, body: dict[str, Any]) -> str:
    try:
        swf.ask(verb, body, timeout=5.0)
    except ControlError as refusal:
        return str(refusal)
    return "done"


def test_anything_asked_of_our_own_interface_is_done_or_refused_with_a_sentence(
    swf: LocalSwf,
) -> None:
    noise = Noise(2)
    for _ in range(ENOUGH):
        verb, body = noise.choice(VERBS), noise.members(VERB_MEMBERS)
        if verb == "wait":
            body["timeout"] = 0  # or the test would wait
        assert _came_of(swf, verb, body), (verb, body)
        swf.faults.clear()
        swf.options(hold=0.0)
