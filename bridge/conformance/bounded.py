"""A pika BlockingConnection whose `close` has a time limit, for trials, tests and benchmarks."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

import pika

CLOSE_TIMEOUT = 10.0


class BoundedConnection(pika.BlockingConnection):
    """Like pika's own, but `close` returns within `close_timeout` seconds, whatever RabbitMQ does.

    pika waits without limit for the answer to a close. RabbitMQ 4.0.5 may never send it to a
    channel whose quorum queue was deleted. After the time-out a daemon thread keeps waiting; it
    ends with RabbitMQ or with this process.
    """

    def __init__(self, parameters: Any, *, close_timeout: float = CLOSE_TIMEOUT) -> None:
        super().__init__(parameters)
        self._close_timeout = close_timeout

    def close(self, *args: Any, **named: Any) -> None:
        """Close the connection, or give up after the time-out. Raises what pika's close raises."""
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
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that called close
        ended.set_exception(error)
    else:
        ended.set_result(None)
