"""A function in a process of its own, with a pipe to it."""

from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from types import TracebackType
from typing import Any, Self

LOADED = ("tests.hostile.every", "tests.hostile.good", "tests.hostile.site")
"""What every such process needs; it is loaded once."""

END = 10.0
"""Seconds for it to end by itself once its pipe is closed."""


class Apart:
    """`with Apart(function, *given) as it:` calls `function(*given, pipe)`, ours is `it.pipe`.

    It is forked from a process that has loaded what it needs, and has no threads as this one has.
    Where its pipe ends it is to end, and it is killed where it does not.
    """

    def __init__(self, function: Callable[..., None], *given: Any) -> None:
        context = ForkServerContext()
        context.set_forkserver_preload(list(LOADED))
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
