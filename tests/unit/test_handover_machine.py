"""The hand-over as a model: whatever happens in whatever order, no token and no slot is lost.

The journal and the window are real; SWF, RabbitMQ and the workers are the model. A crash drops both
without a word, and the next life finds what stood on disk at that moment.
"""

import os
import shutil
import tempfile
from pathlib import Path

from bridge_parts import LABEL, a_task
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from bridge.journal import Journal
from bridge.message import encode_task
from bridge.window import Window

LIMIT = 4


class HandOver(RuleBasedStateMachine):
    """One daemon's life after the other over one journal."""

    polls = Bundle("polls")
    """Polls in the air: the life in which each was sent."""
    given = Bundle("given")
    """Tasks that SWF gave to a poll and that are not recorded yet."""
    recorded = Bundle("recorded")
    """Tasks that stood in the journal once."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hand-over-"))
        self.life = 0
        self.tokens = 0
        self.in_air = 0
        self.unrecorded = set()
        self.owed = {}
        """What the model says is in hand: task by id."""
        self.confirmed = set()
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
        self.in_air, self.unrecorded, self.released = 0, set(), []
        self.window = Window({LABEL: LIMIT})
        self.journal = Journal(self.path, settled=self.release, lock_timeout=0)
        for task_id, *label in self.journal.labels():
            self.window.hold(tuple(label), task_id)

    @property
    def path(self):
        return self.folder / f"life-{self.life}" / "journal.db"

    def release(self, task_id):
        if self.window.release(task_id):
            self.released.append(task_id)

    # --- forward ---

    @rule(target=polls)
    def poll(self):
        free = LIMIT - self.in_air - len(self.unrecorded) - len(self.owed)
        took = self.window.acquire(LABEL, 0)
        assert took is (free > 0)
        self.in_air += took
        return self.life if took else multiple()

    @rule(life=consumes(polls))
    def poll_ends_empty(self, life):
        if life == self.life:
            self.window.give_back(LABEL)
            self.in_air -= 1

    @rule(target=given, life=consumes(polls))
    def poll_brings_a_task(self, life):
        if life != self.life:
            return multiple()
        self.tokens += 1
        task = a_task(f"token-{self.tokens}")
        self.window.fill(LABEL, task.id)
        self.in_air -= 1
        self.unrecorded.add(task.id)
        return (life, task)

    @rule(life=consumes(polls), known=recorded)
    def poll_brings_a_task_that_is_in_hand(self, life, known):
        if life == self.life and known.id in self.owed:
            self.window.fill(LABEL, known.id)
            self.in_air -= 1
            self.journal.record(known, encode_task(known))
        elif life == self.life:
            self.window.give_back(LABEL)
            self.in_air -= 1

    @rule(target=recorded, given=consumes(given))
    def record(self, given):
        life, task = given
        if life != self.life:
            return multiple()  # it died with the life that polled it, before its record
        self.journal.record(task, encode_task(task))
        self.unrecorded.discard(task.id)
        self.owed[task.id] = task
        return task

    @rule(task=recorded)
    def broker_confirms(self, task):
        self.journal.published(task.id)
        if task.id in self.owed:
            self.confirmed.add(task.id)

    @rule(task=recorded)
    def broker_returns_it(self, task):
        entry = self.journal.get(task.id)
        assert (entry is not None) is (task.id in self.owed)
        assert entry is None or entry.task == task

    @rule()
    def flush(self):
        self.journal.flush()

    # --- back ---

    @rule(task=recorded, times=st.integers(1, 2))
    def settle(self, task, times):
        for _ in range(times):
            self.close(task, remember=True)
        self.settled.add(task.id)

    @rule(task=recorded)
    def swf_closed_it_without_us(self, task):
        self.close(task, remember=False)

    @rule(token=st.integers(1, 50))
    def notice_of_a_task_that_was_never_here(self, token):
        unknown = a_task(f"elsewhere-{token}")
        assert self.journal.settle(unknown.id, remember=False) is None

    def close(self, task, *, remember):
        before = len(self.released)
        held = self.journal.settle(task.id, remember=remember)
        was_owed = self.owed.pop(task.id, None) is not None
        self.confirmed.discard(task.id)
        assert (held is not None) is was_owed
        assert len(self.released) - before == was_owed

    # --- death, and a disk that fails ---

    @rule()
    def disk_fails(self):
        self.journal._db.execute("PRAGMA query_only = ON")

    @rule()
    def disk_is_back(self):
        self.journal._db.execute("PRAGMA query_only = OFF")
        assert self.journal.flush()

    @rule()
    def crash(self):
        """The process is gone: what the next one finds are the files as they are now."""
        self.abandon(self.next_life)
        owed, settled = self.on_disk
        self.owed, self.settled, self.confirmed = dict(owed), set(settled), set()
        self.begin_life()
        assert {entry.task.id for entry in self.journal.owed()} <= set(self.owed)

    @rule()
    def restart(self):
        """A stop by the rules, with a disk that takes what waited."""
        self.journal._db.execute("PRAGMA query_only = OFF")
        self.journal.close()
        shutil.copytree(self.path.parent, self.next_life)
        self.begin_life()
        owed = {entry.task.id for entry in self.journal.owed()}
        assert owed == set(self.owed) - self.confirmed

    @property
    def next_life(self):
        return self.folder / f"life-{self.life + 1}"

    def abandon(self, copy_to=None):
        """Let the journal go without a word; SQLite would tidy up where it is closed."""
        if copy_to is not None:
            shutil.copytree(self.path.parent, copy_to)
        self.journal._db.close()
        os.close(self.journal._held)

    # --- what always holds ---

    @invariant()
    def a_disk_that_works_holds_everything(self):
        if self.journal is not None and self.journal.writable.is_set():
            assert not self.journal._waiting
            self.on_disk = dict(self.owed), set(self.settled)
            assert {each for each, _, _ in self.journal.labels()} == set(self.owed)

    @invariant()
    def no_token_is_forgotten(self):
        if self.journal is not None:
            for task_id, task in self.owed.items():
                entry = self.journal.get(task_id)
                assert entry is not None
                assert entry.task.token == task.token

    @invariant()
    def what_was_settled_stays_settled(self):
        if self.journal is not None:
            assert all(self.journal.get(each) is None for each in self.settled)
            assert all(self.journal.was_settled(each) for each in self.settled)

    @invariant()
    def no_slot_leaks_and_none_is_given_twice(self):
        if self.window is not None:
            tasks = len(self.owed) + len(self.unrecorded)
            assert self.window.in_flight(LABEL) == tasks
            assert tasks + self.in_air <= LIMIT
            assert self.window._polls[LABEL] == self.in_air

    @invariant()
    def no_slot_comes_back_twice(self):
        assert len(self.released) == len(set(self.released))

    def teardown(self):
        if self.journal is not None:
            self.abandon()
        shutil.rmtree(self.folder)


HandOver.TestCase.settings = settings(max_examples=60, stateful_step_count=50)
TestHandOver = HandOver.TestCase
