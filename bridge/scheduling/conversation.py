"""Conversations: coroutines that await one request to a peer after the other.

A conversation reads as if each request blocked, and holds no thread while it waits. Its requests
are whatever its peer takes: calls of SWF (``swf.runner``), requests to RabbitMQ
(``rabbitmq.setup``). Each thread waits for its own peer in the loop that its library brings,
libcurl's or pika's, and calls ``advance`` with each answer. An asyncio loop for each thread would
add an adapter for both libraries; what it costs beside that stands in ``swf.runner``.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Request = TypeVar("Request")

Conversation = Coroutine[Any, Any, T]
"""A conversation with any peer, and its result."""


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """A conversation has ended with a result."""

    result: T


def advance(
    conversation: Coroutine[Request, Any, T], answer: Any, run: Callable[..., Any] | None = None
) -> Request | Ended[T]:
    """Go on with an answer, or raise it in the conversation if it is an exception.

    Returns the next request, or Ended. Raises what the conversation raises. ``answer`` is None at
    the beginning. ``run`` calls in the conversation's own context (contextvars.Context.run).
    """
    resume = conversation.throw if isinstance(answer, BaseException) else conversation.send
    try:
        request: Request = resume(answer) if run is None else run(resume, answer)
    except StopIteration as end:
        return Ended(end.value)
    return request
