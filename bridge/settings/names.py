"""Checks that names of queues and exchanges differ from each other and from the bridge's own.

Otherwise a reply could be taken for a dead letter, or a task for a notice. Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.settings.environment import variable

NOTICE_QUEUES = "swf.bridge."
"""Prefix of the names of the instances' notice queues."""
NOTICES = ".notices"
"""Suffix to the reply queue's name that makes the name of the exchange of notices."""

QUEUES = ("reply_queue", "dead_letter_queue", "undeliverable")
EXCHANGES = ("exchange", "cancel_exchange", "undeliverable")


def apart(field: str, name: str, above: Mapping[str, Any]) -> str:
    """Accept a name that clashes with no other; ``above`` holds the settings checked before it.

    Raises ValueError with a sentence to be printed after the name of the variable.
    """
    if field in QUEUES:
        worker_queue(name)
        queues = [each.queue for each in above.get("task_lists", ())]
        if name in queues:
            raise ValueError(f"must differ from the queues in {variable('task_lists')}")
    for rival in _rivals(field):
        if above.get(rival) == name:
            raise ValueError(f"must differ from {variable(rival)}")
    reply_queue = name if field == "reply_queue" else above.get("reply_queue")
    exchanges = [above.get(each) for each in EXCHANGES]
    exchanges += [name] if field in EXCHANGES else []
    if reply_queue is not None and f"{reply_queue}{NOTICES}" in exchanges:
        what = "" if field == "reply_queue" else f"{variable('reply_queue')} with "
        raise ValueError(
            f"clashes with {what}{NOTICES}, which the bridge calls an exchange of its own"
        )
    return name


def worker_queue(name: str) -> str:
    """Accept a queue's name that is not reserved for the bridge's notice queues."""
    if name.startswith(NOTICE_QUEUES):
        raise ValueError(f"must not begin with {NOTICE_QUEUES}, as queues of the bridge's own do")
    return name


def _rivals(field: str) -> Iterable[str]:
    """The other settings that name a queue, or an exchange, as ``field`` does."""
    for kind in (QUEUES, EXCHANGES):
        if field in kind:
            yield from (each for each in kind if each != field)
