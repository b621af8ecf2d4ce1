"""How `make test` spreads the tests over its workers, so that no core is idle for long.

xdist begins with the files of most tests, which leaves a file of one long test to the end, when
every other worker has nothing more to do. With pytest-xdist each worker has these hooks.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import pytest

from tests.required import leave_out_long

BUSY = ("systemd", "cluster", "faults", "hostile", "conformance", "packages", "decider")
"""Folders of tests that boot brokers and boxes, or build packages; the longest files come first."""
WAITING = ("acceptance", "integration", "contract")
"""Folders of tests that wait for most of their time."""
SHORT = ("fuzz", "examples", "unit")
"""Folders of short files: last, so that all workers end at about the same time."""
BESIDE = 2
"""How many files of WAITING are begun after each of BUSY: all at once would be slow ones."""

TOGETHER = "tests/systemd"
"""All of it runs in one worker: each would install the service and boot a box of its own."""


def unit_of_work(nodeid: str) -> str:
    """What is given to a worker as a whole: a file, or TOGETHER."""
    file = nodeid.partition("::")[0]
    return TOGETHER if file.startswith(f"{TOGETHER}/") else file


def in_order(units: Iterable[str]) -> list[str]:
    """The units of work in the order in which workers are to begin them."""
    ranks = {folder: rank for rank, folder in enumerate((*BUSY, *WAITING, *SHORT))}
    ranked = sorted(units, key=lambda unit: ranks[unit.split("/")[1]])
    others = iter([unit for unit in ranked if unit.split("/")[1] not in BUSY])
    order = []
    for unit in ranked:
        if unit.split("/")[1] in BUSY:
            order += [unit, *islice(others, BESIDE)]
    return [*order, *others]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort them in each worker; without workers they run as they were found."""
    leave_out_long(config, items)
    if hasattr(config, "workerinput"):
        units = dict.fromkeys(unit_of_work(item.nodeid) for item in items)
        places = {unit: place for place, unit in enumerate(in_order(units))}
        items.sort(key=lambda item: places[unit_of_work(item.nodeid)])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The scheduler of `--dist loadfile`, which keeps that order."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Spread(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:  # xdist's own way to say what stays together
            return unit_of_work(nodeid)

    config.option.loadscopereorder = False
    return Spread(config, log)
