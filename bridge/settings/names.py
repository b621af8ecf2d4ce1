"""Which names in RabbitMQ must differ: from each other, and from those that the bridge makes.

A reply must not be taken for a dead letter, nor a task for a notice. Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.settings.environment import variable

NOTICE_QUEUES = "swf.bridge."
"""How the names of the instances' notice queues begin."""
NOTICES = ".notices"
"""How the exchange of notices is called, after the reply queue."""

QUEUES = ("reply_queue", "dead_letter_queue", "undeliverable")
EXCHANGES = ("exchange", "cancel_exchange", "undeliverable")


def apart(field: str, name: str, above: Mapping[str, Any]) -> str:
    """Accept a name that no other has; ``above`` are the settings that are known by now.

    Raises ValueError with a sentence that follows the name of a variable.
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
    """Accept a queue that cannot be one of the bridge's notices."""
    if name.startswith(NOTICE_QUEUES):
        raise ValueError(f"must not begin with {NOTICE_QUEUES}, as queues of the bridge's own do")
    return name


def _rivals(field: str) -> Iterable[str]:
    """The other settings that must not have the same name: they are of the same kind."""
    for kind in (QUEUES, EXCHANGES):
        if field in kind:
            yield from (each for each in kind if each != field)
