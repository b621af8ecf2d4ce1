"""Slots of tasks that SWF closed without us come back: seldom asked, bounded, never by a beat."""

import time

import pytest

from bridge.errors import Unavailable
from bridge.flow.timeouts.reconciler import PER_ROUND, Reconciler
from bridge.journal.slots import Slots
from bridge.local import LocalSwf
from bridge.message.message import encode_task
from bridge.telemetry import metrics as m
from tests.unit.bridge_parts import TASK_LIST_ID, Bench, a_task, aws
from tests.waiting import WaitingSwf

OLD = 1_000.0


@pytest.fixture
def wide(tmp_path):
    found = Bench(tmp_path / "wide.db", limit=200)
    yield found
    found.journal.close()


def a_reconciler(
    bench, swf=None, task_list_ids=(TASK_LIST_ID,), in_flight_timeout=86_400.0, slots=None
):
    return Reconciler(
        swf or bench.swf,
        bench.journal,
        slots or bench.window,
        bench.peers,
        task_list_ids,
        deadlines=bench.deadlines,
        in_flight_timeout=in_flight_timeout,
        monotonic=lambda: bench.ahead,
    )


def an_hour_ago():
    return time.time() - 3600


def rounds(bench, reconciler, until):
    """The seconds, counted from its start, at which it asks SWF about tasks."""
    found = []
    while bench.ahead < until:
        bench.ahead += 1
        before = len(asked(bench))
        reconciler.turn()
        if len(asked(bench)) > before:
            found.append(bench.ahead)
    return found


def hold(bench, count, polled_at=OLD):
    return [bench.hold(f"token-{number}", polled_at=polled_at) for number in range(count)]


def asked(bench):
    return [given.workflow_id for call, given in bench.swf.calls if call == "look"]


def test_a_task_that_swf_closed_gives_its_slot_back_with_the_reason(bench, caplog):
    caplog.set_level("INFO")
    open_, closed = hold(bench, 2)
    bench.swf.will("look", None, "timed out (HEARTBEAT)")
    assert a_reconciler(bench).ask() == 1
    assert bench.journal.get(open_.id)
    assert bench.journal.get(closed.id) is None
    assert bench.in_flight == 1
    assert bench.metrics.value(m.SLOTS_RELEASED, *TASK_LIST_ID, "timed out (HEARTBEAT)") == 1
    (told,) = [each for each in caplog.records if each.message == "slot.released"]
    assert (told.task, told.reason) == (closed.id, "timed out (HEARTBEAT)")
    assert not bench.journal.was_settled(closed.id)


def test_swf_is_never_asked_by_a_heartbeat(bench):
    hold(bench, 3)
    a_reconciler(bench).ask()
    assert {call for call, _ in bench.swf.calls} == {"look"}


def test_a_round_is_bounded_and_the_next_goes_on_where_it_ended(wide):
    for number in range(PER_ROUND + 5):
        wide.hold(f"token-{number}", polled_at=OLD, workflow_id=f"w{number}")
    reconciler = a_reconciler(wide)
    expected = [f"w{number}" for number in range(PER_ROUND + 5)]
    reconciler.ask()
    assert asked(wide) == expected[:PER_ROUND]
    reconciler.ask()
    assert asked(wide) == expected
    reconciler.ask()
    assert asked(wide) == expected + expected[:PER_ROUND]


def test_a_young_task_is_not_asked_about_unless_its_window_is_full(bench):
    hold(bench, 4, polled_at=time.time() - 5)
    reconciler = a_reconciler(bench)
    reconciler.ask()
    assert asked(bench) == []
    reconciler.ask(TASK_LIST_ID)
    assert len(asked(bench)) == 4


def test_a_task_that_no_worker_has_yet_is_not_asked_about(bench):
    bench.hold(published=False, polled_at=OLD)
    a_reconciler(bench).ask()
    assert asked(bench) == []


def test_a_round_ends_where_swf_is_away_and_frees_nothing(bench):
    hold(bench, 3)
    bench.swf.will("look", "failed", Unavailable("ThrottlingException"))
    assert a_reconciler(bench).ask() == 1
    assert len(asked(bench)) == 2
    assert bench.in_flight == 2


def test_a_stop_ends_a_round(bench):
    hold(bench, 3)
    reconciler = a_reconciler(bench)
    bench.swf.will("look", reconciler.stop)
    reconciler.ask()
    assert len(asked(bench)) == 1


def test_of_several_full_lists_each_has_its_turn(bench):
    lists = [("demo", name) for name in "abc"]
    slots = Slots({**dict.fromkeys(lists, 1), ("demo", "d"): 1})
    reconciler = a_reconciler(bench, task_list_ids=[*lists, ("demo", "d")], slots=slots)
    for _, name in lists:
        task = bench.hold(name, task_list=name, workflow_id=name, polled_at=an_hour_ago())
        slots.hold(("demo", name), task.id)
    rounds(bench, reconciler, until=2 + 4 + 8 + 16 + 16 + 16)
    assert sorted(asked(bench)) == ["a", "a", "b", "b", "c", "c"]


def test_an_unanswered_task_gives_its_slot_back_in_the_end(bench, caplog):
    old, young = bench.hold("old", polled_at=time.time() - 101), bench.hold("young")
    a_reconciler(bench, in_flight_timeout=100.0).expire()
    assert bench.journal.get(old.id) is None
    assert bench.journal.get(young.id)
    assert bench.in_flight == 1
    (told,) = caplog.records
    assert (told.message, told.task, told.levelname) == ("task.unanswered", old.id, "WARNING")
    assert bench.swf.calls == []


def test_a_hundred_tasks_that_time_out_are_found_out_in_a_few_rounds(wide):
    with LocalSwf() as service, aws(service.endpoint):
        swf = WaitingSwf(identity="unit", pollers=1, responders=1, read_timeout=70.0)
        ids = service.submit_many(
            [
                {
                    "domain": TASK_LIST_ID[0],
                    "taskList": TASK_LIST_ID[1],
                    "startToCloseTimeout": 0.1,
                    "count": 100,
                }
            ]
        )
        for _ in range(100):
            polled = swf.poll(*TASK_LIST_ID)
            fields = {name: getattr(polled, name) for name in ("workflow_id", "run_id")}
            task = a_task(
                polled.token,
                started_event_id=polled.started_event_id,
                polled_at=OLD,
                **fields,
            )
            assert wide.window.acquire(TASK_LIST_ID, 0)
            wide.window.fill(TASK_LIST_ID, task.id)
            wide.journal.record(task, encode_task(task))
            wide.journal.published(task.id)
        wide.journal.flush()
        assert service.wait_closed(ids)
        reconciler = a_reconciler(wide, swf)
        assert [reconciler.ask(TASK_LIST_ID) for _ in range(4)] == [PER_ROUND] * 4
        assert wide.in_flight == 0
        assert "RecordActivityTaskHeartbeat" not in service.counts()["calls"]


def test_a_window_that_stays_full_of_open_tasks_is_asked_about_less_and_less(bench):
    hold(bench, 4, polled_at=an_hour_ago())
    reconciler = a_reconciler(bench)
    assert rounds(bench, reconciler, until=46) == [2, 2 + 4, 6 + 8, 14 + 16, 30 + 16]
    bench.swf.will("look", "timed out")
    assert rounds(bench, reconciler, until=62) == [46 + 16]
    bench.hold("the next", polled_at=an_hour_ago())
    assert rounds(bench, reconciler, until=68) == [62 + 2, 64 + 4]
