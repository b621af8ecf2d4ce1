"""A blocking connection of pika whose end is bounded, for workers in trials, tests and benches."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

import pika

CLOSE_TIMEOUT = 10.0


class BoundedConnection(pika.BlockingConnection):
    """As pika's own, but `close` comes back within `close_timeout` seconds, whatever RabbitMQ does.

    pika waits for the answer to a close for ever, and RabbitMQ 4.0.5 may owe it to a channel whose
    quorum queue was deleted meanwhile. Where it does, the connection is left to a thread of its
    own, which ends with RabbitMQ or with this process.
    """

    def __init__(self, parameters: Any, *, close_timeout: float = CLOSE_TIMEOUT) -> None:
        super().__init__(parameters)
        self._close_timeout = close_timeout

    def close(self, *args: Any, **named: Any) -> None:
        """End the connection, or give up on its end; raises what pika's own close raises."""
        ended: Future[None] = Future()
        close = super().close

        def carry_out() -> None:
            _resolve(ended, lambda: close(*args, **named))

        threading.Thread(target=carry_out, name="close", daemon=True).start()
        if wait([ended], self._close_timeout).done:
            ended.result()


def _resolve(ended: "Future[None]", close: Callable[[], None]) -> None:
    try:
        close()
    except BaseException as error:  # noqa: BLE001 - it is raised where the close was asked for
        ended.set_exception(error)
    else:
        ended.set_result(None)
