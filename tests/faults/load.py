"""Keeps tasks coming: a thread that holds the number of open tasks at a level."""

import json
import random
import threading
from typing import Any

from bridge.local import LocalSwf

HEADERS = ("", "", "", "", "milliseconds", "nested", "not-utf8", "large", "odd")


def wanted(chance: random.Random) -> dict[str, Any]:
    """What the worker is to do with a task; the account holds the end against it."""
    return {
        "end": "failed" if chance.random() < 0.15 else "completed",
        "beat": chance.random() < 0.2,
        "headers": chance.choice(HEADERS),
        "seconds": round(chance.uniform(0.4, 1.2), 2),
    }


class Load(threading.Thread):
    """Submits tasks of every type in turn whenever fewer than `level` are open."""

    def __init__(self, swf: LocalSwf, types: tuple[str, ...], level: int, seed: int) -> None:
        super().__init__(name="load", daemon=True)
        self.level = level
        self.submitted = 0
        self._swf = swf
        self._types = types
        self._chance = random.Random(seed)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.05):
            counts = self._swf.counts()
            self._submit(min(50, self.level - counts["open"]))

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _submit(self, count: int) -> None:
        if count <= 0:
            return
        tasks = []
        for _ in range(count):
            self.submitted += 1
            name = self._types[self.submitted % len(self._types)]
            given = json.dumps(wanted(self._chance))
            tasks.append({"name": name, "version": "1", "input": given, "taskList": "load"})
        self._swf.submit_many(tasks)
