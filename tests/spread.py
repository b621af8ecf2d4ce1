"""How `make test` spreads the tests over its workers: what takes long is begun first.

xdist begins with the files of most tests, which leaves a file of one long test to the end, when
every other worker has nothing more to do. With pytest-xdist each worker has these hooks.
"""

from typing import Any

import pytest

from tests.required import leave_out_long

ROOMS = (
    "systemd",
    "cluster",
    "faults",
    "hostile",
    "conformance",
    "packages",
    "decider",
    "acceptance",
    "integration",
    "contract",
    "fuzz",
    "examples",
    "unit",
)
"""The folders of tests: those of the longest files first, those of the shortest last."""

TOGETHER = "tests/systemd"
"""All of it runs in one worker: each would install the service and boot a box of its own."""


def rank(nodeid: str) -> int:
    """The place of a test's folder among the others."""
    return ROOMS.index(nodeid.split("/")[1])


def unit_of_work(nodeid: str) -> str:
    """What is given to a worker as a whole: a file, or TOGETHER."""
    file = nodeid.partition("::")[0]
    return TOGETHER if file.startswith(f"{TOGETHER}/") else file


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort them in each worker; without workers they run as they were found."""
    leave_out_long(config, items)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))


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
