"""Nothing that a client sends stops the local SWF or goes unanswered."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.local import ControlError, LocalSwf
from bridge.local.limits import REQUESTS
from tests.unit.local_wire import Wire

MEMBERS = (
    "domain", "taskList", "name", "taskToken", "result", "reason", "details", "identity",
    "execution", "workflowId", "runId", "activityType", "version", "nextPageToken",
    "maximumPageSize", "reverseOrder", "registrationStatus",
    "workflowExecutionRetentionPeriodInDays",
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["demo", "1", "w"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner),
    max_leaves=5,
)
REQUEST = st.dictionaries(st.sampled_from(MEMBERS), VALUES)
ADMIN = st.sampled_from(["submit", "tasks", "task", "cancel", "add-fault", "options", "wait"])
ADMIN_MEMBERS = st.sampled_from(
    ["tasks", "id", "ids", "since", "limit", "count", "kind", "name", "version", "input",
     "taskPriority", "heartbeatTimeout", "hold", "payload", "probability", "operation",
     "delay", "timeout"]
)  # fmt: skip


@pytest.fixture(scope="module")
def swf() -> Iterator[LocalSwf]:
    with LocalSwf(hold=0.0) as running:
        yield running


@pytest.fixture(scope="module")
def wire(swf: LocalSwf) -> Iterator[Wire]:
    with Wire(swf.endpoint) as connection:
        yield connection


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(REQUESTS)), REQUEST)
def test_any_request_is_answered_by_the_service_or_refused_as_the_clients_fault(
    wire: Wire, operation: str, request: dict[str, Any]
) -> None:
    assert wire.call(operation, **request).status in (200, 400)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(ADMIN, st.dictionaries(ADMIN_MEMBERS, st.floats() | VALUES))
def test_anything_asked_of_our_own_interface_is_done_or_refused_with_a_sentence(
    swf: LocalSwf, verb: str, body: dict[str, Any]
) -> None:
    body.pop("count", None)
    if isinstance(body.get("timeout"), int | float) and body["timeout"] > 0:
        body["timeout"] = 0  # or the test would wait
    with suppress(ControlError):
        swf.ask(verb, {"timeout": 0, **body} if verb == "wait" else body, timeout=5.0)
    swf.faults.clear()
    swf.options(hold=0.0)
