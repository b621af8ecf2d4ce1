"""Who is measured: two baselines, and the bridge with either way to call SWF."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from bench.stand import DOMAIN, TASK_LIST, Process, Stand, until

THREADS = 8
"""Pollers of each subject, and threads that answer."""

Start = Callable[[Stand], Process]


class Subject(NamedTuple):
    """One of those that are compared."""

    name: str
    start: Start


def bridge(
    stand: Stand,
    client: str,
    *,
    pollers: int = THREADS,
    in_flight: int = 500,
    journal: str = "journal.db",
    more: Mapping[str, str] | None = None,
) -> Process:
    """The bridge as shipped: journal on disk, metrics and control socket on."""
    return stand.run(
        ["-m", "bridge", "run"],
        {
            "SWF_BRIDGE_AMQP_URL": stand.url,
            "SWF_BRIDGE_DOMAIN": DOMAIN,
            "SWF_BRIDGE_TASK_LISTS": TASK_LIST,
            "SWF_BRIDGE_POLLERS": str(pollers),
            "SWF_BRIDGE_RESPONDERS": str(THREADS),
            "SWF_BRIDGE_MAX_IN_FLIGHT": str(in_flight),
            "SWF_BRIDGE_JOURNAL": str(stand.folder / journal),
            "SWF_BRIDGE_SWF_CLIENT": client,
            "SWF_BRIDGE_HTTP": "127.0.0.1:0",
            "SWF_BRIDGE_LOG_LEVEL": "WARNING",
            **(more or {}),
        },
    )


def started(start: Start, stand: Stand, polls: int = 1) -> tuple[Process, float]:
    """The process, and the seconds from its start until so many polls were held at once."""
    process = start(stand)
    until(lambda: stand.polls() >= polls or not process.alive(), "the subject polls", every=0.002)
    if not process.alive():
        raise RuntimeError("the subject ended by itself")
    return process, time.monotonic() - process.began


SUBJECTS = (
    Subject(
        "bare boto3 loop",
        lambda s: s.run(["-m", "bench.baselines.bare", DOMAIN, TASK_LIST, str(THREADS)], {}),
    ),
    Subject(
        "afternoon bridge",
        lambda s: s.run(
            ["-m", "bench.baselines.afternoon", s.url, DOMAIN, TASK_LIST, str(THREADS)], {}
        ),
    ),
    Subject("bridge, boto3", lambda s: bridge(s, "boto3")),
    Subject("bridge, curl", lambda s: bridge(s, "curl")),
)
