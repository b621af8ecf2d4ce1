"""Conversations: coroutines that await requests to a peer, one after the other.

A conversation reads as if each request blocked, and holds no thread while it waits. Requests are
calls of SWF (``swf.runner``) or requests to RabbitMQ (``rabbitmq.setup``). Each thread runs the
event loop of its peer's library, libcurl's or pika's, and calls ``advance`` with each answer.
asyncio would need an adapter for each library; ``swf.runner`` tells its other costs.
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
    """Resume a conversation with an answer, or raise it there if it is an exception.

    Returns the next request, or Ended. Raises what the conversation raises. ``answer`` is None at
    the beginning. ``run`` calls in the conversation's own context (contextvars.Context.run).
    """
    resume = conversation.throw if isinstance(answer, BaseException) else conversation.send
    try:
        request: Request = resume(answer) if run is None else run(resume, answer)
    except StopIteration as end:
        return Ended(end.value)
    return request
