"""The daemon's signal handling; ``docs/operations.md`` has the table.

SIGTERM, SIGINT and SIGXCPU start a drain. SIGQUIT logs the stack of every thread. Other signals
that end a process by default, such as SIGHUP of a closed terminal, are logged and ignored: a
sudden end would lose the tasks that SWF is giving to open polls.
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
"""The first starts a drain, the second ends the process at once."""
DRAINS = signal.SIGXCPU
"""Starts a drain. The kernel repeats it every second once the CPU time limit is reached."""
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
"""By default they stop a background process that uses its terminal."""
FRAMES = 20
"""Maximum number of frames logged for a thread, the innermost ones."""


def hold() -> None:
    """Block the signals that the ``signals`` thread takes. Call this before any thread starts.

    Handlers are not used for them: forty signals at once would overflow a thread's small stack,
    because the kernel pushes a frame for each.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED | {STACKS, DRAINS})
    for number in _OF_TERMINALS:
        signal.signal(number, signal.SIG_IGN)


def watch(put: Callable[[int], object]) -> None:
    """Call ``put`` with each signal that asks for a drain; log the others.

    ``put`` must not take a lock: for LEAVE it is called in a handler that interrupts main.
    """
    # The handler only calls ``put``: setting an Event in a handler can hang for ever.
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
    """Handle a signal that does not start a drain."""
    if number == STACKS:
        _tell_stacks()
    else:
        log.info("signal.ignored", extra={"signal": name_of(number)})


def name_of(number: int) -> str:
    """The name of a signal, such as ``SIGHUP``; its number if it has no name."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return str(number)


def _tell_stacks() -> None:
    names = {each.ident: each.name for each in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        extra = {"of": names.get(ident, str(ident)), "at": _stack(frame)}
        log.warning("thread.stack", extra=extra)


def _stack(frame: FrameType | None) -> str:
    """At most FRAMES frames as text, the innermost first."""
    found: list[str] = []
    while frame is not None and len(found) < FRAMES:
        code = frame.f_code
        file = "/".join(code.co_filename.rsplit("/", 2)[-2:])
        found.append(f"{file}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " < ".join(found)
