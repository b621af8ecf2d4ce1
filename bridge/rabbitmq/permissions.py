"""Whether RabbitMQ permits what the bridge does, proven by requests that change nothing.

RabbitMQ looks at the permissions before anything else of a request. So each of these is refused for
the want of one, or comes to nothing: a binding or a queue is removed that nobody has, or a consumer
is wanted whose argument is none.
"""

import secrets
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from bridge.rabbitmq.topology import Topology
from bridge.settings.names import NOTICE_QUEUES

_DENIED, _REFUSALS = 403, (403, 404, 406)
_NOBODYS = "swf-bridge.check"
_NO_NUMBER = {"x-priority": "none"}


class Probe(NamedTuple):
    """One permission, and the request that tells whether we have it."""

    text: str
    names: tuple[str, ...]
    """One of them stands in RabbitMQ's refusal where it is for the want of the permission."""
    ask: Callable[[Any, Callable[..., None]], object]
    """Given a channel, and whom to call where RabbitMQ carried the request out."""
    needed: bool = True
    """Whether the daemon cannot do without."""

    def granted(self, code: int, text: str) -> bool | None:
        """What it means that RabbitMQ closed the channel so; None where it tells nothing."""
        if code == _DENIED and any(name in text for name in self.names):
            return False
        return True if code in _REFUSALS else None


def probes(topology: Topology, *, declare: bool) -> Iterator[Probe]:
    """What the daemon needs, and what its operator's commands do.

    Not among them: to declare what stands already, and permissions by routing key.
    """
    nobodys = f"{NOTICE_QUEUES}{secrets.token_hex(8)}"
    if declare:
        yield Probe(
            f"declare queue {NOTICE_QUEUES}*", (_queue(nobodys),), partial(_remove, nobodys)
        )
    for exchange in (topology.exchange, topology.cancel_exchange, topology.notice_exchange):
        yield Probe(
            f"publish to exchange {exchange}", (_exchange(exchange),), _publish_to(exchange)
        )
    yield Probe("publish to the default exchange", (_exchange("amq.default"),), _publish_to(""))
    names = (_queue(nobodys), _exchange(topology.notice_exchange))
    bind = partial(_unbind, nobodys, topology.notice_exchange)
    yield Probe(f"bind queue {NOTICE_QUEUES}* to {topology.notice_exchange}", names, bind)
    for queue in (topology.reply_queue, topology.undeliverable, nobodys):
        shown = f"{NOTICE_QUEUES}*" if queue == nobodys else queue
        yield Probe(f"consume queue {shown}", (_queue(queue),), partial(_consume, queue))
    dead = topology.dead_letter_queue
    ask = partial(_consume, dead)
    yield Probe(f"consume queue {dead}, for swf-bridge dead", (_queue(dead),), ask, needed=False)


def _queue(name: str) -> str:
    return f"queue '{name}'"


def _exchange(name: str) -> str:
    return f"exchange '{name}'"


def _publish_to(exchange: str) -> Callable[[Any, Callable[..., None]], object]:
    return partial(_unbind_exchange, exchange)


def _remove(queue: str, channel: Any, done: Callable[..., None]) -> None:
    """Needs ``configure``."""
    channel.queue_delete(queue, if_unused=True, if_empty=True, callback=done)


def _unbind_exchange(exchange: str, channel: Any, done: Callable[..., None]) -> None:
    """Needs ``write``, then ``read`` of the other: a refusal of that names that."""
    channel.exchange_unbind(exchange, "amq.topic", _NOBODYS, callback=done)


def _unbind(queue: str, exchange: str, channel: Any, done: Callable[..., None]) -> None:
    """Needs ``write`` of the queue and ``read`` of the exchange."""
    channel.queue_unbind(queue, exchange, _NOBODYS, callback=done)


def _consume(queue: str, channel: Any, done: Callable[..., None]) -> None:
    """Needs ``read``."""
    channel.basic_consume(queue, _take_nothing, arguments=_NO_NUMBER, callback=done)


def _take_nothing(*_: Any) -> None:
    """Never called: there is no consumer."""
