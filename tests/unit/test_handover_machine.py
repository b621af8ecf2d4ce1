"""The hand-over as a model: whatever happens in whatever order, no token and no slot is lost.

The journal and the window are real; SWF, RabbitMQ and the workers are the model. A crash drops both
without a word, and the next life finds what stood on disk at that moment.
"""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from bridge.journal.journal import Journal
from bridge.journal.slots import Slots
from bridge.message.message import encode_task
from bridge.task import task_id
from tests.unit.bridge_parts import TASK_LIST_ID, a_task
from tests.unit.failing_disk import Disk

DISK = Disk()
LIMIT = 4
WHICH = st.integers(0, LIMIT)


def pick(tasks, which):
    return list(tasks.values())[which % len(tasks)]


class NotedSlots(Slots):
    """Slots that note, in order, which tasks gave theirs back."""

    def __init__(self, released):
        super().__init__({TASK_LIST_ID: LIMIT})
        self.noted = released

    def release(self, task_id):
        held = super().release(task_id)
        if held:
            self.noted.append(task_id)
        return held


class HandOver(RuleBasedStateMachine):
    """One daemon's life after the other over one journal."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hand-over-"))
        self.life = 0
        self.tokens = 0
        self.in_air = 0
        """Polls that SWF holds."""
        self.unrecorded = []
        """Tasks that a poll has brought, between its answer and the journal."""
        self.owed = {}
        """What the model says is in hand: task by id."""
        self.confirmed = set()
        self.perhaps_confirmed = set()
        """Confirmed in a life that crashed, so that the disk may not know it."""
        self.closed = {}
        """Tasks that were in hand once."""
        self.settled = set()
        self.on_disk = {}, set()
        """What a crash leaves: the tasks in hand, and those known as settled."""
        self.released = []
        self.journal = self.window = None

    @initialize()
    def start(self):
        (self.folder / "life-1").mkdir()
        self.begin_life()

    def begin_life(self):
        self.life += 1
        self.in_air, self.unrecorded, self.released = 0, [], []
        self.window = NotedSlots(self.released)
        self.journal = Journal(self.path, slots=self.window, lock_timeout=0)

    @property
    def path(self):
        return self.folder / f"life-{self.life}" / "journal.db"

    # --- forward ---

    @rule()
    def poll(self):
        free = LIMIT - self.in_air - len(self.unrecorded) - len(self.owed)
        took = self.window.acquire(TASK_LIST_ID, 0)
        assert took is (free > 0)
        self.in_air += took

    @precondition(lambda self: self.in_air)
    @rule()
    def poll_ends_empty(self):
        self.window.give_back(TASK_LIST_ID)
        self.in_air -= 1

    @precondition(lambda self: self.in_air)
    @rule()
    def poll_brings_a_task(self):
        self.tokens += 1
        task = a_task(f"token-{self.tokens}")
        self.window.fill(TASK_LIST_ID, task.id)
        self.in_air -= 1
        self.unrecorded.append(task)

    @rule(count=st.integers(1, LIMIT))
    def tasks_come(self, count):
        for _ in range(count):
            self.poll()
            if self.in_air:
                self.poll_brings_a_task()
                self.record()

    @precondition(lambda self: self.in_air and self.owed)
    @rule(which=WHICH)
    def poll_brings_a_task_that_is_in_hand(self, which):
        task = pick(self.owed, which)
        self.window.fill(TASK_LIST_ID, task.id)
        self.in_air -= 1
        self.journal.record(task, encode_task(task))

    @precondition(lambda self: self.unrecorded)
    @rule()
    def record(self):
        task = self.unrecorded.pop()
        self.journal.record(task, encode_task(task))
        self.owed[task.id] = task

    @precondition(lambda self: self.owed)
    @rule(which=WHICH)
    def broker_confirms(self, which):
        task = pick(self.owed, which)
        self.journal.published(task.id)
        self.confirmed.add(task.id)

    @precondition(lambda self: self.closed)
    @rule(which=WHICH)
    def broker_confirms_or_returns_what_is_closed(self, which):
        task = pick(self.closed, which)
        self.journal.published(task.id)
        assert self.journal.get(task.id) is None

    @precondition(lambda self: self.confirmed)
    @rule()
    def flush(self):
        self.journal.flush()

    # --- back ---

    @precondition(lambda self: self.owed)
    @rule(which=WHICH, remember=st.booleans())
    def settle(self, which, remember):
        self.close(pick(self.owed, which), remember=remember)

    def close(self, task, *, remember=True):
        assert self.journal.settle(task.id, remember=remember).polled_at == task.polled_at
        assert self.released[-1] == task.id
        del self.owed[task.id]
        if task.id in self.confirmed:  # should it come back, the disk may know of the confirm
            self.confirmed.remove(task.id)
            self.perhaps_confirmed.add(task.id)
        self.closed[task.id] = task
        if remember:
            self.settled.add(task.id)

    @precondition(lambda self: self.owed)
    @rule(data=st.data(), count=st.integers(0, LIMIT), dies=st.booleans())
    def one_turn(self, data, count, dies):
        """Some are answered and others come, with one commit, before which it may die."""
        answered = data.draw(st.lists(st.sampled_from(sorted(self.owed)), unique=True))
        with self.journal.together():
            for each in answered:
                self.close(self.owed[each])
            self.tasks_come(count)
            if dies:
                self.leave_files()
        if dies:
            self.abandon()
            self.come_back()

    @precondition(lambda self: self.closed)
    @rule(which=WHICH)
    def settle_again(self, which):
        task = pick(self.closed, which)
        before = list(self.released)
        assert self.journal.settle(task.id) is None
        assert self.released == before
        self.settled.add(task.id)

    @precondition(lambda self: self.owed)
    @rule(number=st.integers(1, 50))
    def notice_of_a_task_that_was_never_here(self, number):
        assert self.journal.settle(task_id(f"elsewhere-{number}"), remember=False) is None

    # --- death, and a disk that fails ---

    @precondition(lambda self: self.owed)
    @rule()
    def disk_fails(self):
        DISK.fail()

    @precondition(lambda self: not self.journal.writable.is_set())
    @rule()
    def disk_is_back(self):
        DISK.mend()
        assert self.journal.flush()

    @precondition(lambda self: len(self.owed) + len(self.unrecorded) > 1)
    @rule()
    def crash(self):
        """The process is gone: what the next one finds are the files as they are now."""
        self.leave_files()
        self.abandon()
        self.come_back()

    def come_back(self):
        owed, settled = self.on_disk
        self.owed, self.settled = dict(owed), set(settled)
        self.perhaps_confirmed |= self.confirmed
        self.confirmed = set()
        self.closed = {each: task for each, task in self.closed.items() if each not in owed}
        self.begin_life()
        assert {entry.task.id for entry in self.journal.owed()} <= set(self.owed)

    @precondition(lambda self: len(self.owed) + len(self.unrecorded) > 1)
    @rule()
    def restart(self):
        """A stop by the rules, with a disk that takes what waited."""
        DISK.mend()
        self.journal.close()
        self.leave_files()
        self.begin_life()
        owed = {entry.task.id for entry in self.journal.owed()}
        assert owed | self.perhaps_confirmed >= set(self.owed) - self.confirmed
        assert owed <= set(self.owed) - self.confirmed

    @property
    def next_life(self):
        return self.folder / f"life-{self.life + 1}"

    def leave_files(self):
        """What stands on disk is what the next life finds."""
        DISK.mend()  # for the copy; nothing that comes after it counts
        shutil.copytree(self.path.parent, self.next_life)

    def abandon(self):
        """Let the journal go without a word; SQLite would tidy up where it is closed."""
        DISK.mend()
        self.journal.commits.close()

    # --- what always holds ---

    @invariant()
    def a_disk_that_works_holds_everything(self):
        if self.journal is not None and self.journal.writable.is_set():
            assert not self.journal.commits.waiting
            self.on_disk = dict(self.owed), set(self.settled)
            assert {each for each, _, _ in self.journal.in_hand()} == set(self.owed)

    @invariant()
    def no_token_is_forgotten(self):
        if self.journal is not None:
            for each, task in self.owed.items():
                entry = self.journal.get(each)
                assert entry is not None
                assert entry.task.token == task.token

    @invariant()
    def what_was_settled_stays_settled(self):
        if self.journal is not None:
            assert all(self.journal.get(each) is None for each in self.closed)
            assert all(self.journal.was_settled(each) for each in self.settled)

    @invariant()
    def no_slot_leaks_and_none_is_given_twice(self):
        if self.window is not None:
            tasks = len(self.owed) + len(self.unrecorded)
            assert self.window.in_flight(TASK_LIST_ID) == tasks
            assert tasks + self.in_air <= LIMIT
            assert self.window.polls(TASK_LIST_ID) == self.in_air

    @invariant()
    def no_slot_comes_back_twice(self):
        assert len(self.released) == len(set(self.released))

    def teardown(self):
        if self.journal is not None:
            self.abandon()
        shutil.rmtree(self.folder)


HandOver.TestCase.settings = settings(max_examples=80, stateful_step_count=30)
TestHandOver = HandOver.TestCase
