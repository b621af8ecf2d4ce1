"""Consume the notices of other instances, and notice an instance that has the same id.

A state directory that was copied, with an image or from a backup, makes two instances of one: each
would get half of the notices that are meant for both, for RabbitMQ lets several consume a quorum
queue even where each asks to be the only one. So each holds a queue that is exclusive to its
connection, by the name of its id: it is gone with the connection, and no other can have it.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from bridge.rabbitmq.amqp import ChannelClosedByBroker, Tls
from bridge.rabbitmq.consumer import Consumer
from bridge.rabbitmq.declarations import OPTIONAL_TIMEOUT
from bridge.rabbitmq.setup import Step
from bridge.rabbitmq.topology import Topology

log = logging.getLogger(__name__)

PATIENCE = 20.0
"""Seconds for which the id may be another's: a connection of our own that broke is so long known to
RabbitMQ, which waits for two heartbeats."""

_LOCKED = 405


class NoticeConsumer(Consumer):
    """The consumer of this instance's queue of notices, whose name holds the instance's id.

    Where another instance has the same for longer than PATIENCE, it takes another: by
    ``take_new_id``, which returns it. What the journal has in hand stays there.
    """

    def __init__(
        self,
        urls: Iterable[str],
        tls: Tls,
        *,
        topology: Topology,
        take_new_id: Callable[[], str],
        declare: bool,
        **options: Any,
    ) -> None:
        super().__init__(
            urls,
            tls,
            topology.for_notices(),
            queue=topology.notice_queue,
            former=topology.old_notice_queue,
            name="notices",
            exclusive=True,
            declare=declare,
            **options,
        )
        self._claims = declare
        self._topology = topology
        self._take_new_id = take_new_id
        self._locked_since: float | None = None

    async def _setup(self) -> None:
        if self._claims:
            await self._claim()
        await super()._setup()

    async def _claim(self) -> None:
        """Hold the id. Raises ChannelClosedByBroker where another has it."""
        name = self._topology.notice_lock
        channel = await self._open_channel()
        try:
            await Step(
                f"declare queue {name}",
                lambda done: channel.queue_declare(name, exclusive=True, callback=done),
                OPTIONAL_TIMEOUT,
            )
        except TimeoutError:
            return
        except ChannelClosedByBroker as error:
            if error.reply_code != _LOCKED:  # not permitted: it goes without
                return
            self._be_another()
            raise
        self._locked_since = None
        if channel.is_open:  # not where the bridge is asked to stop meanwhile
            channel.close()

    def _be_another(self) -> None:
        now = time.monotonic()
        if self._locked_since is None:
            self._locked_since = now
        elif now - self._locked_since > PATIENCE:
            self._locked_since = None
            self._topology.instance = self._take_new_id()
            self._declarations.need(self._topology.for_notices())
            self._subscription.queue = self._topology.notice_queue
            self._subscription.former = ""
            log.critical("instance.cloned", extra={"queue": self._subscription.queue})
