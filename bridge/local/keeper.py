"""Processes and a folder that do not outlive their owner, however it ends."""

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
from types import TracebackType
from typing import IO, Self

REMOVAL_TIMEOUT = 5.0

# Makes the folder, then leads the process group of all that is spawned. Its standard input is a
# pipe from the owner: when that closes, a process outside the group kills the group and takes the
# folder away.
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
    """A new folder, and a process group for what works in it; `end()` ends both.

    They end as well when the owner is interrupted at any point, exits, or is killed by SIGKILL.
    The group is in the background: a Ctrl-C on the terminal reaches the owner alone.
    `with Keeper("name-") as keeper:` ends it at the end of the block. Raises OSError where no
    folder can be made.
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

    def spawn(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        output: str = "output",
    ) -> subprocess.Popen[bytes]:
        """Start a process of the group in the folder; what it prints goes to the file `output`."""
        with (self.folder / output).open("ab") as stream:
            process = subprocess.Popen(  # noqa: S603
                command,
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                process_group=self._leader.pid,
            )
        self._spawned.append(process)
        return process

    def end(self) -> None:
        """SIGKILL for every process of the group, and the folder away. May be called twice."""
        if self._leader.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._leader.pid, signal.SIGKILL)
        for process in (*self._spawned, self._leader):
            process.wait()
        self._close_pipes()
        self._remove_folder()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def _remove_folder(self) -> None:
        """Those of the group that are not our children may still write while they die."""
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
