"""After a poll has returned a task every path hands it over or leaves it in the journal."""

import logging
import threading
import time

import pytest

from bridge.errors import PartFailed, Refused, Unavailable
from bridge.flow.obstacle import PollerState
from bridge.flow.poller import PACE, Pollers, Source
from bridge.journal.journal import Journal
from bridge.journal.slots import Slots
from bridge.local import LocalSwf
from bridge.swf.client import Swf
from bridge.swf.runner import InPlace, Runner
from bridge.telemetry import metrics as m
from tests.unit.bridge_parts import TASK_LIST_ID, Awaited, a_task, aws, until, waits


@pytest.fixture
def ready():
    found = threading.Event()
    found.set()
    return found


class Scripted:
    """An SWF whose polls are made in place, or on the wire of a test."""

    side_by_side = False

    def __init__(self, make, wire=None):
        self.calls = Awaited()
        self._make = make
        self._wire = wire

    def runner(self, room, done, together, *, held):
        return Runner(self._wire or InPlace(self._make), done, together)


class Handed:
    """A forwarder that only notes what it is handed."""

    def __init__(self, noted):
        self.noted = noted

    def forward(self, task, body):
        self.noted.append(task)


class Brisk(Pollers):
    """Waits but a moment for what keeps its polls from beginning, unless a test says otherwise."""

    def turn(self, tick=0.02):
        super().turn(tick)


class Patient(Pollers):
    """Waits so long that only a wake ends it in time."""

    def turn(self, tick=30.0):
        super().turn(tick)


class Meanwhile(Slots):
    """Slots of which none is free at once, and something happens while a poller waits for one."""

    def __init__(self, happen):
        super().__init__({TASK_LIST_ID: 4})
        self.happen = happen

    def acquire(self, task_list_id, timeout):
        if not timeout:
            return False
        self.happen()
        return super().acquire(task_list_id, timeout)


class Ready:
    """A publisher, as far as pollers ask it."""

    def __init__(self, ready):
        self.ready = ready


@pytest.fixture
def make(bench, ready):
    def make(room=1, kind=Brisk, **given):
        source = given.pop("source", None) or Source(
            TASK_LIST_ID, publisher=Ready(ready), journal=bench.journal, pauses=bench.pauses
        )
        parts = {
            "swf": Scripted(bench.swf.make),
            "slots": bench.window,
            "journal": bench.journal,
            "keepalive": bench.keepalive,
            "forwarder": Handed(bench.handed),
            "metrics": bench.metrics,
            "read_timeout": 70.0,
        }
        return kind("poller-1", source, room, **{**parts, **given})

    bench.handed = []
    return make


def turn(part, *, due=True):
    """One turn; the seconds until the (only) poller may poll again."""
    (poller,) = part.pollers
    if due:
        poller.due = 0.0
    part.turn()
    return poller.due - time.monotonic()


def polled(bench):
    return [call for call, _ in bench.swf.calls]


def test_a_task_is_recorded_then_handed_over_and_holds_its_slot(bench, make):
    task = a_task()
    bench.swf.will("poll", task)
    seen = []

    class Sees:
        def forward(self, given, body):
            seen.append(bench.journal.get(given.id))

    part = make(forwarder=Sees())
    assert turn(part) <= 0
    (entry,) = seen
    assert entry.task == task
    assert bench.in_flight == 1
    assert bench.metrics.value(m.TASKS_POLLED, *TASK_LIST_ID) == 1
    assert bench.metrics.value(m.POLLS, *TASK_LIST_ID, "task") == 1


def test_an_empty_poll_gives_its_slot_back_and_is_paced(bench, make):
    part = make()
    for _ in range(10):
        assert 0 < turn(part) <= PACE
    assert polled(bench) == ["poll"] * 10
    assert bench.metrics.value(m.POLLS, *TASK_LIST_ID, "empty") == 10


def test_an_empty_poll_that_was_held_is_followed_at_once(bench, make):
    def hold(call):
        time.sleep(PACE)
        return bench.swf.make(call)

    assert turn(make(swf=Scripted(hold))) <= 0


def test_no_poll_begins_while_the_list_is_paused_and_it_says_why(bench, make):
    part = make()
    bench.pauses.pause([TASK_LIST_ID], seconds=None, uid=7, reason="moving")
    turn(part)
    (poller,) = part.pollers
    assert polled(bench) == []
    assert (poller.state, poller.text) == (PollerState.PAUSED, "paused by uid 7: moving")
    bench.pauses.resume([TASK_LIST_ID], uid=7)
    turn(part)
    assert polled(bench) == ["poll"]


def test_a_list_that_is_paused_while_its_poller_waits_for_a_slot_is_not_polled(bench, make):
    slots = Meanwhile(lambda: bench.pauses.pause([TASK_LIST_ID], seconds=None, uid=0, reason=""))
    turn(make(slots=slots))
    assert polled(bench) == []
    assert slots.polls(TASK_LIST_ID) == 0


def test_a_list_that_is_resumed_is_polled_at_once(bench, make):
    bench.pauses.pause([TASK_LIST_ID], seconds=None, uid=0, reason="")
    part = make()
    thread = threading.Thread(target=part.turn, args=(30.0,))
    thread.start()
    until(lambda: waits(thread))
    bench.pauses.resume([TASK_LIST_ID], uid=0)
    thread.join(5)
    assert not thread.is_alive()
    assert polled(bench) == ["poll"]


def test_another_list_is_polled_while_one_is_paused(bench, make):
    bench.pauses.pause([("demo", "other")], seconds=None, uid=0, reason="")
    turn(make())
    assert polled(bench) == ["poll"]


def test_the_same_task_given_twice_holds_one_slot(bench, make):
    bench.swf.will("poll", a_task(), a_task())
    part = make()
    turn(part)
    turn(part)
    assert bench.in_flight == 1
    assert len(bench.handed) == 2


@pytest.mark.parametrize("error", [PartFailed("damaged"), MemoryError()])
def test_a_task_that_cannot_be_recorded_is_handed_over_all_the_same(bench, make, tmp_path, error):
    class Damaged(Journal):
        def record(self, task, body):
            raise error

    damaged = Damaged(tmp_path / "damaged.db")
    bench.swf.will("poll", a_task())
    with pytest.raises(type(error)):
        turn(make(journal=damaged))
    assert len(bench.handed) == 1
    damaged.close()


def test_a_task_is_in_the_journal_whatever_breaks_behind_it(bench, make):
    class Broken:
        def forward(self, *_):
            raise RuntimeError

        watch = forward

    for number, how in enumerate([{"forwarder": Broken()}, {"keepalive": Broken()}]):
        bench.swf.will("poll", task := a_task(f"token-{number}"))
        with pytest.raises(RuntimeError):
            turn(make(**how))
        assert bench.journal.get(task.id)
        assert bench.in_flight == number + 1


# --- errors ------------------------------------------------------------------------------------


def test_a_poll_that_fails_gives_its_slot_back_and_backs_off(bench, make, caplog):
    part = make()
    bench.swf.will("poll", *[Unavailable("ThrottlingException")] * 40)
    waits = [turn(part) for _ in range(40)]
    assert all(-1 <= wait <= 30 for wait in waits)
    assert max(waits[10:]) > 5
    assert bench.in_flight == 0
    assert bench.window.acquire(TASK_LIST_ID, 0)
    assert [each.message for each in caplog.records] == ["poll.failing"]
    assert bench.metrics.value(m.POLLS, *TASK_LIST_ID, "error") == 40


def test_a_poll_that_is_refused_names_list_action_and_cause(bench, make, caplog):
    part = make()
    bench.swf.will("poll", *[Refused("UnknownResourceFault", "Unknown domain: demo")] * 40)
    waits = [turn(part) for _ in range(40)]
    assert max(waits) > 30
    assert max(waits) <= 60
    (told,) = caplog.records
    assert (told.message, told.domain, told.task_list) == ("poll.refused", *TASK_LIST_ID)
    assert told.action == "swf:PollForActivityTask"
    assert "Unknown domain" in told.error
    assert part.pollers[0].state is PollerState.REFUSED
    assert "Unknown domain" in part.pollers[0].text


def test_a_poll_that_works_again_is_told_and_begins_the_back_off_anew(bench, make, caplog):
    caplog.set_level(logging.INFO)
    part = make()
    bench.swf.will("poll", *[Unavailable("InternalFailure")] * 20, None, Unavailable("x"))
    for _ in range(21):
        turn(part)
    assert [each.message for each in caplog.records] == ["poll.failing", "poll.back"]
    assert turn(part) <= 0.5


def test_an_error_that_nobody_expects_gives_the_slot_back_and_ends_the_part(bench, make):
    bench.swf.will("poll", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        turn(make())
    assert all(bench.window.acquire(TASK_LIST_ID, 0) for _ in range(4))


# --- gates -------------------------------------------------------------------------------------


def test_nothing_is_polled_while_rabbitmq_is_away(bench, make, ready):
    ready.clear()
    part = make()
    turn(part)
    assert polled(bench) == []
    assert part.pollers[0].state is PollerState.BROKER_AWAY


def test_nothing_is_polled_while_the_journal_cannot_be_written(bench, make):
    bench.journal.writable.clear()
    part = make()
    turn(part)
    assert polled(bench) == []
    assert part.pollers[0].state is PollerState.JOURNAL
    bench.journal.writable.set()
    turn(part)
    assert polled(bench) == ["poll"]


def test_nothing_is_polled_beyond_the_window(bench, make):
    for number in range(4):
        bench.hold(f"token-{number}")
    part = make()
    turn(part)
    assert polled(bench) == []
    assert part.pollers[0].state is PollerState.WINDOW_FULL


def test_a_gate_that_closed_while_a_slot_was_waited_for_gives_the_slot_back(bench, make, ready):
    slots = Meanwhile(ready.clear)
    turn(make(slots=slots))
    assert polled(bench) == []
    assert slots.polls(TASK_LIST_ID) == 0


# --- the thread --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["boto3", "curl"])
def test_a_stop_lets_open_polls_end_and_hands_their_tasks_over(bench, make, way):
    if way == "curl":
        pytest.importorskip("pycurl")
    with LocalSwf(hold=30.0) as service, aws(service.endpoint):
        swf = Swf(identity="unit", pollers=3, responders=1, read_timeout=70.0, way=way)
        room = 3 if swf.side_by_side else 1
        part = make(room, swf=swf)
        thread = threading.Thread(target=part.run)
        thread.start()
        until(lambda: service.counts()["polls"] == room)
        assert {poller.state for poller in part.pollers} == {PollerState.POLLING}
        part.stop()
        part.stop()
        for _ in range(room):
            service.submit(domain=TASK_LIST_ID[0], task_list=TASK_LIST_ID[1])
        thread.join(10)
        assert not thread.is_alive()
        assert len(bench.handed) == room
        assert service.counts()["calls"]["PollForActivityTask"] == {"task": room}
    assert {poller.state for poller in part.pollers} == {PollerState.STOPPED}


def test_a_stop_ends_a_back_off_at_once(bench, make):
    part = make(kind=Patient)
    part.pollers[0].due = time.monotonic() + 60.0
    thread = threading.Thread(target=part.run)
    thread.start()
    until(lambda: waits(thread))
    part.stop()
    thread.join(5)
    assert not thread.is_alive()


# --- side by side ------------------------------------------------------------------------------


class Held:
    """A wire whose calls end when the test says so."""

    def __init__(self):
        self.open = []
        self.over = []
        self.woken = 0

    def begin(self, call, whom):
        self.open.append(whom)

    def ended(self, timeout):
        over, self.over = self.over, []
        return over

    def wake(self):
        self.woken += 1

    def answer(self, answer):
        self.over.append((self.open.pop(0), answer))


@pytest.fixture
def held(bench, make):
    wire = Held()
    wire.part = make(6, swf=Scripted(bench.swf.make, wire))
    return wire


def test_as_many_polls_are_opened_as_there_are_pollers_and_slots(bench, held):
    held.part.turn()
    assert len(held.open) == 4
    states = {poller.state for poller in held.part.pollers}
    assert states == {PollerState.POLLING, PollerState.WINDOW_FULL}
    held.answer(None)
    held.part.turn()  # paced: another poller takes the slot
    held.part.turn()
    assert len(held.open) == 4


def test_a_slot_that_comes_free_while_polls_are_open_is_taken_at_once(bench, held):
    task = bench.hold()
    held.part.turn()
    assert (len(held.open), held.woken) == (3, 0)
    bench.journal.settle(task.id)
    assert held.woken == 1
    held.part.turn()
    assert len(held.open) == 4


def test_tasks_that_come_together_are_recorded_in_one_commit_and_then_handed_over(
    bench, make, tmp_path
):
    commits, on_disk = [], []

    class Notes:
        def forward(self, task, body):
            on_disk.append(len(commits))

    held = Held()
    journal = Journal(tmp_path / "observed.db", slots=bench.window, observe=commits.append)
    scripted = Scripted(bench.swf.make, held)
    held.part = make(6, swf=scripted, journal=journal, forwarder=Notes())
    held.part.turn()
    for number in range(3):
        held.answer(a_task(f"token-{number}"))
    held.part.turn()
    assert len(commits) == 1
    assert on_disk == [1, 1, 1]
    assert bench.in_flight == 3
    journal.close()


def test_what_breaks_one_poll_leaves_no_other_task_behind(bench, held):
    held.part.turn()
    held.answer(ZeroDivisionError())
    held.answer(a_task())
    with pytest.raises(ZeroDivisionError):
        held.part.turn()
    assert len(bench.handed) == 1
    assert bench.journal.get(a_task().id)


def test_polls_that_are_open_when_the_part_ends_by_an_error_are_waited_for(bench, held):
    held.part.turn()
    held.answer(ZeroDivisionError())
    held.answer(None)
    ended, calls = held.ended, []

    def late(timeout):
        calls.append(timeout)
        if len(calls) > 1 and held.open:  # the first brings the error, which ends the part
            held.answer(a_task(f"token-{len(held.open)}"))
        return ended(timeout)

    held.ended = late
    with pytest.raises(ZeroDivisionError):
        held.part.run()
    assert len(bench.handed) == 2
    assert bench.window.polls(TASK_LIST_ID) == 0


def test_a_poller_that_fails_keeps_no_other_from_polling(bench, held):
    held.part.turn()
    held.answer(Unavailable("ThrottlingException"))
    held.part.turn()
    held.part.pollers[0].due = time.monotonic() + 60.0
    held.part.turn()
    assert len(held.open) == 4
    assert held.part.pollers[0].state is PollerState.FAILING
