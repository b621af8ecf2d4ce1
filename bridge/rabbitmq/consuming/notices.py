"""Consumes the notices of other instances, and detects an instance with the same id.

A state directory that was copied, in an image or from a backup, gives two instances one id. They
would share a notice queue and each receive half of its notices: on a quorum queue RabbitMQ accepts
several consumers even if each asks to be exclusive. So each instance also declares an exclusive
queue whose name holds its id. RabbitMQ refuses it to a second connection, and deletes it with the
first.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from bridge.rabbitmq.amqp import ChannelClosedByBroker, Tls
from bridge.rabbitmq.consuming.consumer import Consumer
from bridge.rabbitmq.setup import OPTIONAL_TIMEOUT, Step
from bridge.rabbitmq.topology import Topology

log = logging.getLogger(__name__)

PATIENCE = 20.0
"""Seconds for which the id may be taken before we change ours. RabbitMQ takes up to two heartbeat
periods (16 s) to notice that an earlier connection of ours broke."""

_LOCKED = 405


class NoticeConsumer(Consumer):
    """The consumer of this instance's notice queue, whose name holds the instance's id.

    If another instance holds the id for longer than PATIENCE, ``take_new_id`` is called for a new
    one. The journal keeps its tasks.
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
        """Declare the exclusive queue of the id. Raises ChannelClosedByBroker if it is taken."""
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
            if error.reply_code != _LOCKED:  # not permitted: go on without the check
                return
            self._be_another()
            raise
        self._locked_since = None
        if channel.is_open:  # it is closed if the bridge was asked to stop
            channel.close()

    def _be_another(self) -> None:
        now = time.monotonic()
        if self._locked_since is None:
            self._locked_since = now
        elif now - self._locked_since > PATIENCE:
            self._locked_since = None
            self._topology.instance = self._take_new_id()
            self.declarations.need(self._topology.for_notices())
            self.subscription.queue = self._topology.notice_queue
            self.subscription.former = ""
            log.critical("instance.cloned", extra={"queue": self.subscription.queue})
