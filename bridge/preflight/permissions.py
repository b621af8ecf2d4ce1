"""Checks the bridge's permissions in RabbitMQ by requests that change nothing.

RabbitMQ checks permissions first. So each request is refused for a missing permission, or passes
that check and has no effect: it removes a binding or queue that does not exist, or asks for a
consumer with an invalid argument.
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
    """A permission, and the request that checks it."""

    text: str
    names: tuple[str, ...]
    """RabbitMQ's refusal contains one of these if this permission is missing."""
    ask: Callable[[Any, Callable[..., None]], object]
    """Sends the request on a channel; the callback is called if RabbitMQ carries it out."""
    needed: bool = True
    """Whether the daemon needs the permission."""

    def granted(self, code: int, text: str) -> bool | None:
        """Whether the permission is granted, by RabbitMQ's reason for closing; None: unknown."""
        if code == _DENIED and any(name in text for name in self.names):
            return False
        return True if code in _REFUSALS else None


def probes(topology: Topology, *, declare: bool) -> Iterator[Probe]:
    """The permissions that the daemon and the operator's commands need.

    Not checked: declaring queues or exchanges that exist, and topic permissions.
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
    """Delete a queue. Needs ``configure``."""
    channel.queue_delete(queue, if_unused=True, if_empty=True, callback=done)


def _unbind_exchange(exchange: str, channel: Any, done: Callable[..., None]) -> None:
    """Unbind. Needs ``write`` of the exchange; a refusal for ``read`` names ``amq.topic``."""
    channel.exchange_unbind(exchange, "amq.topic", _NOBODYS, callback=done)


def _unbind(queue: str, exchange: str, channel: Any, done: Callable[..., None]) -> None:
    """Unbind. Needs ``write`` of the queue and ``read`` of the exchange."""
    channel.queue_unbind(queue, exchange, _NOBODYS, callback=done)


def _consume(queue: str, channel: Any, done: Callable[..., None]) -> None:
    """Consume with an invalid argument. Needs ``read``."""
    channel.basic_consume(queue, _take_nothing, arguments=_NO_NUMBER, callback=done)


def _take_nothing(*_: Any) -> None:
    """Receive messages. Never called: RabbitMQ refuses the consumer."""
