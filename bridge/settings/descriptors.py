"""Fits the number of pollers to the file descriptors that the process may have.

Each open poll needs a socket; systemd's soft limit of 1,024 is enough for 168 task lists with two
pollers each. The limit is raised as needed, up to the hard limit. Beyond that pollers are reduced,
because without free descriptors no peer can be reached.
"""

import logging
import resource

from bridge.settings.settings import Settings

log = logging.getLogger(__name__)

BESIDE = 160
"""Descriptors for all but SWF: seven connections to RabbitMQ with five each, clients of HTTP and of
the control socket, the journal, and a reserve for files that are open only briefly."""
EACH_LIST = 3
"""Descriptors that a task list's thread needs beside its polls."""


def needed(settings: Settings) -> int:
    """The number of descriptors that these settings need at most."""
    return _without_polls(settings) + sum(each.pollers for each in settings.task_lists)


def _without_polls(settings: Settings) -> int:
    answers = settings.responders + max(2, settings.responders // 2) + 2
    return BESIDE + answers + EACH_LIST * (len(settings.task_lists) + 2)


def most() -> int:
    """The highest limit that this process may set for itself (the hard limit)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if hard == resource.RLIM_INFINITY else hard


def fitted(settings: Settings) -> Settings:
    """Raise the limit to what the settings need; if it stays lower, reduce pollers to fit it."""
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
    """Raise the limit towards ``wanted`` as far as allowed. Returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    asked = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if asked > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (asked, hard))
        except (OSError, ValueError):  # a sandbox may forbid any change
            return soft
        return asked
    return soft
