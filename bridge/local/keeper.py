"""A process group and a temporary folder that end with their owner, even after SIGKILL."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

REMOVAL_TIMEOUT = 5.0  # seconds

# The script makes the folder and leads the process group of all spawned processes. Its standard
# input is a pipe from the owner. When the pipe closes, a process outside the group kills the group
# and removes the folder.
_SCRIPT = """
trap '' HUP INT TERM PIPE
mkdir -m 700 -- "$1" || exit
echo made && read -r _
exec setsid --fork sh -c '
  kill -s KILL -- "-$1"
  for _ in 1 2 3 4 5 6 7 8 9; do rm -rf -- "$2" && break; sleep 0.2; done
' sh $$ "$1"
"""


class Keeper:
    """A new folder, and a process group for the processes that use it; `end()` removes both.

    Both also end when the owner is interrupted at any point, exits, or is killed by SIGKILL.
    The group is in the background: a Ctrl-C on the terminal reaches only the owner.
    `with Keeper("name-") as keeper:` calls `end()` at the end of the block. Raises OSError if the
    folder cannot be made.
    """

    def __init__(self, prefix: str) -> None:
        self._spawned: list[subprocess.Popen[bytes]] = []
        self.folder = Path(tempfile.gettempdir(), f"{prefix}{secrets.token_hex(4)}")
        self._leader = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _SCRIPT, "keeper", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        assert self._leader.stdout is not None
        if not self._leader.stdout.readline():
            self._leader.wait()
            self._close_pipes()
            raise OSError(f"{self.folder} cannot be made")

    @property
    def group(self) -> int:
        """The process group that ends with the owner."""
        return self._leader.pid

    def spawn(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        output: str = "output",
    ) -> subprocess.Popen[bytes]:
        """Start a process of the group in the folder; its output goes to the file `output`."""
        with (self.folder / output).open("ab") as stream:
            process = subprocess.Popen(  # noqa: S603
                command,
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                process_group=self.group,
            )
        self._spawned.append(process)
        return process

    def end(self) -> None:
        """Kill every process of the group and remove the folder. May be called twice."""
        if self._leader.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.group, signal.SIGKILL)
        for process in (*self._spawned, self._leader):
            process.wait()
        self._close_pipes()
        self._remove_folder()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _remove_folder(self) -> None:
        """Remove the folder; retry, as dying grandchildren may still write files into it."""
        deadline = time.monotonic() + REMOVAL_TIMEOUT
        shutil.rmtree(self.folder, ignore_errors=True)
        while self.folder.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _close_pipes(self) -> None:
        pipes: tuple[IO[bytes] | None, ...] = (self._leader.stdin, self._leader.stdout)
        for pipe in pipes:
            if pipe is not None:
                pipe.close()
