"""A function in a process of its own, with a pipe to it."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

END = 10.0
"""Seconds for it to end by itself once its pipe is closed."""


class Apart:
    """`with Apart(function, *given) as it:` calls `function(*given, pipe)`, ours is `it.pipe`.

    It is started anew and not forked: this process has threads. Where its pipe ends it is to end,
    and it is killed where it does not.
    """

    def __init__(self, function: Callable[..., None], *given: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe: Connection
        self.pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=function, args=(*given, self._theirs), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pipe.close()
        self._process.join(END)
        self._process.kill()
        self._process.join()

    def told(self, seconds: float) -> Any:
        """The next that it says; TimeoutError where it says nothing, EOFError where it ended."""
        if not self.pipe.poll(seconds):
            raise TimeoutError(f"{self._process.name} says nothing within {seconds:.0f} s")
        return self.pipe.recv()
