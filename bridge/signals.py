"""What each signal means to the daemon; ``docs/operations.md`` has the table.

Some ask it to drain. SIGQUIT has the stack of every thread logged. All others that would end a
process which does not expect them, as SIGHUP of a terminal that is closed, are logged and ignored:
to be cut off is to lose the tasks that SWF is giving to open polls.
"""

import logging
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

log = logging.getLogger(__name__)

LEAVE = frozenset({signal.SIGTERM, signal.SIGINT})
"""Ask the daemon to drain, and once it does to leave at once."""
DRAINS = signal.SIGXCPU
"""Asks it to drain, and comes each second once a limit of CPU time is used up."""
STACKS = signal.SIGQUIT
_IGNORED = {
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
    signal.SIGPWR,
    signal.SIGSTKFLT,
    *(each for each in signal.valid_signals() if each >= signal.SIGRTMIN),
}
_OF_TERMINALS = {signal.SIGTTIN, signal.SIGTTOU}
"""They would stop a daemon in the background that writes to its terminal."""
FRAMES = 20
"""The innermost ones that are told of a thread."""


def hold() -> None:
    """Let no thread be interrupted by the signals that are told here; before any thread starts.

    With a handler each, forty that come at once take more of a thread's small stack than there is:
    the kernel piles up a frame for every one.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED | {STACKS, DRAINS})
    for number in _OF_TERMINALS:
        signal.signal(number, signal.SIG_IGN)


def watch(put: Callable[[int], object]) -> None:
    """Have ``put`` called with each signal that asks for a drain; the others are told at once.

    It must not take a lock: for LEAVE it is called in the midst of whatever the main thread does.
    """
    # A handler does one thing: an Event set in one can hang for ever.
    for number in LEAVE:
        signal.signal(number, lambda number, frame: put(number))
    threading.Thread(target=_take, args=(put,), name="signals", daemon=True).start()


def _take(put: Callable[[int], object]) -> None:
    while True:
        number = signal.sigwait(_IGNORED | {STACKS, DRAINS})
        if number == DRAINS:
            put(number)
        else:
            tell(number)


def tell(number: int) -> None:
    """Carry out what a signal asks for that asks for no drain."""
    if number == STACKS:
        _tell_stacks()
    else:
        log.info("signal.ignored", extra={"signal": name_of(number)})


def name_of(number: int) -> str:
    """``SIGHUP``, or the number of one of the real-time signals that have no name."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return str(number)


def _tell_stacks() -> None:
    names = {each.ident: each.name for each in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        extra = {"of": names.get(ident, str(ident)), "at": _stack(frame)}
        log.warning("thread.stack", extra=extra)


def _stack(frame: FrameType | None) -> str:
    """The innermost frame first."""
    found: list[str] = []
    while frame is not None and len(found) < FRAMES:
        code = frame.f_code
        file = "/".join(code.co_filename.rsplit("/", 2)[-2:])
        found.append(f"{file}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " < ".join(found)
