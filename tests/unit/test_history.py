"""What a history tells of a task: never an exception for a stranger's, never a time too early."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.swf.history import Look, read, timeouts_of
from bridge.task import Deadline, Timeouts

STARTED, SCHEDULED = 6, 5


def an_event(number, kind, at=1000.0, **attributes):
    return {
        "eventId": number,
        "eventTimestamp": at,
        "eventType": kind,
        f"{kind[0].lower()}{kind[1:]}EventAttributes": attributes,
    }


def a_history(*later, scheduled=None, started_at=1010.0, scheduled_at=1000.0):
    """From its end: later events, the start, the scheduling with these time-outs."""
    return [
        *later,
        an_event(STARTED, "ActivityTaskStarted", started_at, scheduledEventId=SCHEDULED),
        an_event(SCHEDULED, "ActivityTaskScheduled", scheduled_at, **(scheduled or {})),
        an_event(1, "WorkflowExecutionStarted", 900.0),
    ]


def test_the_first_of_its_time_outs_is_the_deadline():
    given = {"startToCloseTimeout": "30", "scheduleToCloseTimeout": "35", "heartbeatTimeout": "9"}
    look = read(a_history(scheduled=given), STARTED)
    assert look == Look(None, Timeouts(30, 35, 9), Deadline(1035, 1019))
    assert look.deadline.at == 1019
    assert look.deadline.after_first_word.at == 1035


@pytest.mark.parametrize(
    "value", ["NONE", None, "", "1234567890", "-5", "1.5", "٣", 30, ["3"], "1e9"]
)
def test_a_time_out_that_is_none_or_cannot_be_read_is_no_deadline(value):
    given = {"startToCloseTimeout": value, "heartbeatTimeout": value}
    assert read(a_history(scheduled=given), STARTED).deadline == Deadline()
    both = {"startToCloseTimeout": "30", "scheduleToCloseTimeout": value}
    assert read(a_history(scheduled=both), STARTED).deadline == Deadline(1040)


def test_absent_time_outs_are_no_deadline():
    assert read(a_history(), STARTED) == Look(None, Timeouts(), Deadline())


def test_without_its_scheduled_event_nothing_is_known_but_that_it_is_open():
    history = [each for each in a_history() if each["eventId"] != SCHEDULED]
    assert read(history, STARTED) == Look(None)


@pytest.mark.parametrize("at", [None, "yesterday", float("nan"), -1, 10**300, True])
def test_times_that_cannot_be_read_leave_the_deadline_unknown(at):
    given = {"startToCloseTimeout": "30"}
    assert read(a_history(scheduled=given, started_at=at), STARTED) == Look(None, Timeouts(30))


def test_times_are_numbers_in_json_and_datetimes_from_boto3():
    when = datetime.fromtimestamp(1010, UTC)
    given = {"startToCloseTimeout": "30"}
    assert read(a_history(scheduled=given, started_at=when), STARTED).deadline == Deadline(1040)


def test_the_end_of_a_task_is_told_with_its_time_outs():
    end = an_event(9, "ActivityTaskTimedOut", startedEventId=STARTED, timeoutType="START_TO_CLOSE")
    look = read(a_history(end, scheduled={"startToCloseTimeout": "30"}), STARTED)
    assert (look.closed, look.timeouts) == ("timed out (START_TO_CLOSE)", Timeouts(30))


def test_a_page_that_does_not_reach_the_start_is_not_the_whole():
    assert read([an_event(9, "TimerFired")], STARTED) == Look(whole=False)
    assert read([an_event(9, "WorkflowExecutionTerminated")], STARTED).whole


def test_a_types_defaults_have_names_of_their_own():
    configuration = {
        "defaultTaskStartToCloseTimeout": "60",
        "defaultTaskScheduleToCloseTimeout": "NONE",
        "defaultTaskHeartbeatTimeout": "7",
    }
    assert timeouts_of(configuration, "defaultTask{}Timeout") == Timeouts(60, None, 7)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2)
    ),
    max_leaves=3,
)


@given(ANY, ANY, ANY, ANY)
def test_whatever_a_strangers_history_holds_no_deadline_is_too_early(limit, beat, at, other):
    given = {"startToCloseTimeout": limit, "heartbeatTimeout": beat, "control": other}
    look = read(a_history(scheduled=given, scheduled_at=at), STARTED)
    if look.deadline is not None and look.deadline.at is not None:
        assert look.deadline.at >= 1010
