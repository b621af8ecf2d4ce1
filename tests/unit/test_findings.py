import re
from pathlib import Path

import pytest

from bridge.rabbitmq.demand import DemandState
from bridge.status.diagnosis.checks import Kind
from bridge.status.diagnosis.diagnosis import by_trouble, findings
from tests.snapshots import NOW, check, dead_letters, no_demand, paused, row, snapshot

ALERTS = (Path(__file__).parents[2] / "config" / "alerts.yml").read_text()
KEY = {
    "key": "greet.1.0",
    "seconds": 15.0,
    "reason": "no queue is bound",
    "tasks": 2,
    "failsIn": 45.2,
}


def event(name, at=NOW - 9, **fields):
    return {"at": at, "level": "warning", "event": name, "fields": fields}


WRONG = {
    "threads": {"checks": check("threads", "stuck")},
    "publisher": {"checks": check("broker publisher")},
    "consumer": {"checks": check("broker consumer")},
    "demand": {"checks": check("broker demand")},
    "blocked": {"checks": check("broker publisher", "blocked")},
    "limit": {"checks": check("broker publisher", "no room")},
    "journal": {"checks": check("journal", "not writable")},
    "answers": {"checks": check("answers", "failing")},
    "dead letters": {"checks": check("dead-letters", "failing")},
    "polls": {"checks": check("polls dev/images", "failing")},
    "refused": {"checks": check("polls dev/images", "refused")},
    "unroutable": {"unroutable": [KEY]},
}
LOOK = {
    "held": {"replies": {"held": 2, "outcomes": {}}},
    "full": {"lists": [row(inFlight=100)]},
    "idle": {"lists": [row(**no_demand(DemandState.NO_CONSUMER))]},
    "paused": {"lists": [row(paused=paused(), notPolled="paused by uid 0: moving")]},
    "failed back": {"lastErrors": [event("task.failed_back", reason="no worker")]},
    "dead": {"deadLetters": dead_letters(2, not_json=2)},
}


def found(**more):
    return findings(snapshot(**more))


def test_a_daemon_that_does_well_has_none():
    assert found() == []


@pytest.mark.parametrize("case", [*WRONG, *LOOK])
def test_each_says_what_it_means_what_to_do_and_where_more_stands(case):
    (finding,) = found(**(WRONG | LOOK)[case])
    assert finding.grave == (case in WRONG)
    assert finding.title
    assert finding.detail
    assert finding.tasks.endswith(".")
    assert finding.todo.endswith(".")
    assert f"alert: {finding.alert}\n" in ALERTS
    assert finding.todo.count("`") % 2 == 0


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_check_has_a_finding(kind):
    (finding,) = found(checks=check(f"{kind} x", "failing"))
    assert "is not as it should be" not in finding.title


def test_polls_that_swf_refuses_and_polls_that_fail_are_told_apart_by_their_state_alone():
    same = "the same text"
    checks = check("polls dev/a", "refused", same) | check("polls dev/b", "failing", same)
    refused, failing = found(checks=checks)
    assert (refused.title, refused.alert) == (
        "SWF refuses the polls of dev/a",
        "SwfBridgePollsRefused",
    )
    assert (failing.title, failing.alert) == ("No poll of dev/b succeeds", "SwfBridgePollsFailing")


def test_a_limit_that_keeps_out_one_connection_is_told_for_all_that_give_way_to_it():
    away = check("broker answers", "away") | check("broker consumer", "no room")
    (finding,) = found(checks=away)
    assert finding.title == "A limit of RabbitMQ keeps the bridge out"
    assert finding.tasks == "Answers of workers wait in RabbitMQ: none is lost."


def test_a_drain_is_nothing_wrong_and_has_its_countdown():
    left = "2 open polls left; 9 s more at most"
    (finding,) = found(checks=check("daemon", "draining", f"draining: {left}"))
    assert (finding.grave, finding.alert) == (False, "")
    assert finding.detail == left


def test_a_journal_that_cannot_be_written_is_told_with_its_reason_and_once():
    checks = check("journal", "not writable")
    checks["journal"]["detail"] = "cannot be written: disk is full"
    (finding,) = found(checks=checks)
    assert (finding.title, finding.detail) == ("The journal cannot be written", "disk is full")


def test_a_check_that_is_not_known_is_told_as_it_is():
    (finding,) = found(checks={"moon phase": {"ok": False, "detail": "connection refused"}})
    assert (finding.grave, finding.detail) == (True, "connection refused")
    assert "moon phase" in finding.title


def test_the_gravest_come_first_and_one_cause_is_one_finding():
    checks = check("broker publisher") | check("broker consumer") | check("journal", "ok")
    for name in "abcde":
        checks |= check(f"polls dev/{name}", "failing", "no route")
    titles = [each.title for each in found(checks=checks, lists=[row(inFlight=100)])]
    assert titles == [
        "RabbitMQ is away",
        "No poll of dev/a, dev/b and 3 more succeeds",
        "Every slot of dev/images is taken",
    ]


def test_connections_that_are_lost_for_different_reasons_are_told_apart():
    other = check("broker consumer", detail="access refused")
    (finding,) = found(checks=check("broker publisher") | other)
    assert finding.detail == "publisher: connection refused; consumer: access refused"


def test_answers_that_swf_does_not_take_are_not_told_twice():
    (finding,) = found(checks=check("answers", "failing"), replies={"held": 1, "outcomes": {}})
    assert finding.detail == "connection refused (1 answer is kept)"


def test_what_harmed_tasks_long_ago_is_told_no_more():
    old = event("task.failed_back", at=NOW - 3700, reason="no worker")
    assert found(lastErrors=[old]) == []


def test_tasks_without_a_queue_are_told_with_the_seconds_until_the_first_is_failed():
    full = KEY | {"key": "other.1.0", "failsIn": None}
    (finding,) = found(unroutable=[full, KEY, KEY | {"key": "later.1.0", "failsIn": 59.0}])
    assert "The first is failed in SWF in 45 s" in finding.tasks
    (finding,) = found(unroutable=[full])
    assert "failed" not in finding.tasks


def test_dead_letters_are_told_as_long_as_they_stand_whoever_put_them_there():
    (finding,) = found(deadLetters=dead_letters(4))
    assert finding.title == "4 answers stand in the dead-letter queue"
    assert found(deadLetters=dead_letters(0, not_json=4)) == []
    assert found(deadLetters=dead_letters(None, not_json=4)) == []
    assert (
        found(deadLetters={"sinceStart": 4, "codes": {"not-json": 4}}) == []
    )  # of an older daemon


NO_WORKERS = [DemandState.NO_CONSUMER, DemandState.REFUSED, DemandState.SILENT]


@pytest.mark.parametrize("state", NO_WORKERS)
def test_a_queue_without_consumers_is_a_reason_to_look(state):
    (finding,) = found(lists=[row(**no_demand(state, "any text"))])
    assert finding.title == "Nobody wants the tasks of dev/images"
    assert finding.detail == "any text"


@pytest.mark.parametrize("state", [each for each in DemandState if each not in NO_WORKERS])
def test_a_queue_with_enough_messages_or_out_of_reach_is_none(state):
    assert found(lists=[row(**no_demand(state))]) == []


def test_a_queue_without_consumers_is_no_reason_while_its_list_is_paused():
    rows = [row(**no_demand(DemandState.NO_CONSUMER) | {"obstacle": "paused", "paused": paused()})]
    (finding,) = found(lists=rows)
    assert finding.title == "dev/images is paused"


def test_lists_that_were_paused_together_are_one_finding():
    rows = [row(taskList=name, paused=paused(), notPolled="x") for name in "abc"]
    rows.append(row(taskList="d", paused=paused(text="paused by uid 1000")))
    first, second = found(lists=rows)
    assert first.title == "dev/a, dev/b and 1 more are paused"
    assert (second.title, second.detail) == ("dev/d is paused", "paused by uid 1000")


def test_a_snapshot_of_an_earlier_version_is_read_too():
    without = row()
    for member in ("paused", "obstacle", "demand"):
        del without[member]
    assert found(lists=[without]) == []


def test_lists_that_are_not_polled_come_first_in_their_order():
    rows = [row(taskList=name, notPolled=name in "bd" and "why") for name in "abcd"]
    assert [each["taskList"] for each in by_trouble(rows)] == [*"bdac"]


def test_the_events_that_are_looked_for_are_logged_with_those_fields():
    events = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert re.search(r"`task\.failed_back` \| warning \| .*`reason`", events)
