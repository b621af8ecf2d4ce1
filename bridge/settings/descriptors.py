"""How many files and sockets the daemon has open at once, and whether the system lets it.

Each open poll is a socket. systemd's default is 1,024 for a process: fewer than a few dozen task
lists ask for. Out of descriptors no peer can be reached, so polls are held to what is left.
"""

import logging
import resource

from bridge.settings.settings import Settings

log = logging.getLogger(__name__)

BESIDE = 160
"""Those beside SWF: seven connections to RabbitMQ of five each, clients of HTTP and of the control
socket, the journal, and room for what opens a file for a moment."""
EACH_LIST = 3
"""What the thread of a task list needs beside its polls."""


def needed(settings: Settings) -> int:
    """The most that these settings ask for."""
    return _without_polls(settings) + sum(each.pollers for each in settings.task_lists)


def _without_polls(settings: Settings) -> int:
    answers = settings.responders + max(2, settings.responders // 2) + 2
    return BESIDE + answers + EACH_LIST * (len(settings.task_lists) + 2)


def most() -> int:
    """How many this process may have, once it asks for all."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if hard == resource.RLIM_INFINITY else hard


def fitted(settings: Settings) -> Settings:
    """Raise the limit to what the settings ask for; where it is lower still, hold polls to it."""
    wanted = needed(settings)
    limit = _raised(wanted)
    if wanted <= limit:
        return settings
    polls = sum(each.pollers for each in settings.task_lists)
    share = max(0, limit - _without_polls(settings)) / polls
    lists = tuple(
        each.model_copy(update={"pollers": max(1, int(each.pollers * share))})
        for each in settings.task_lists
    )
    extra = {"needed": wanted, "limit": limit, "pollers": sum(each.pollers for each in lists)}
    log.warning("descriptors.few", extra={**extra, "wanted": polls})
    return settings.model_copy(update={"task_lists": lists})


def _raised(wanted: int) -> int:
    """The limit, raised as far as ``wanted`` if it can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    asked = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if asked > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (asked, hard))
        except (OSError, ValueError):  # a sandbox may forbid even that
            return soft
        return asked
    return soft
