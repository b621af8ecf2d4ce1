"""`python -m bridge …` as a process of its own, forked from one that has loaded its modules.

Most of what a start costs is imports. A process from here has its own pid, environment, folder,
descriptors and signals. A daemon's start takes 0.1 s of CPU and 0.5 s by exec, `status` 0.02 s and
0.2 s. With `TESTS_EXEC=1` all begin by exec, as do those that are given a variable which Python or
a library reads when it is loaded.
"""

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parents[1]
SERVER = Path(__file__).with_name("forkserver.py")
SHELL = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

_READ_AT_START = ("LANG", "LC_", "LD_", "MALLOC_", "OPENSSL_", "PYDANTIC_", "PYTHON", "SSL_")
"""Variables that Python or a library reads when it is loaded."""


class Process(Protocol):
    """The part of subprocess.Popen that both have."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...


class Forked:
    """A child of the server's; several threads may poll it."""

    def __init__(self, args: Sequence[str], told: socket.socket) -> None:
        self.args = args
        self.pid = _number(told)
        self.returncode: int | None = None
        self._told = told
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        with self._lock:
            if self.returncode is None:
                self.returncode = self._exit_code(timeout)
            return self.returncode

    def _exit_code(self, timeout: float | None) -> int:
        self._told.settimeout(timeout)
        try:
            code = _number(self._told)
        except (TimeoutError, BlockingIOError):
            raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
        self._told.settimeout(None)
        self._told.shutdown(socket.SHUT_WR)
        self._told.recv(1)  # its pid is free
        self._told.close()
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def python(
    args: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    cwd: Path = ROOT,
    group: int | None = None,
    taken_apart: bool = True,
) -> Process:
    """Begin `python ARGS`, in a process group if one is given.

    The streams are descriptors, which the caller closes, or DEVNULL. One that is not taken apart
    ends without Python's freeing of all modules, if it is forked.
    """
    read = {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}
    usual = read in ({}, {"LANG": SHELL["LANG"]})
    if os.environ.get("TESTS_EXEC") or args[0] != "-m" or not usual:
        return subprocess.Popen(
            [sys.executable, *args],
            env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, process_group=group,
        )  # fmt: skip
    request = {"args": list(args[1:]), "env": dict(env), "cwd": str(cwd), "group": group}
    request["takenApart"] = taken_apart
    with open(os.devnull, "r+b", buffering=0) as null:
        streams = [null.fileno() if each < 0 else each for each in (stdin, stdout, stderr)]
        return Forked(args, _server(**read).ask(request, streams))


def run(
    args: Sequence[str], *, env: Mapping[str, str] = SHELL, timeout: float = 30, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run `python ARGS` to its end, without standard input; a daemon is begun by `python`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        streams = {"stdout": out.fileno(), "stderr": err.fileno()}
        process = python(args, env=env, cwd=cwd, taken_apart=False, **streams)
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        told = [_text(stream) for stream in (out, err)]
    return subprocess.CompletedProcess(args, code, *told)


class _Server:
    def __init__(self, language: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, SERVER, str(ROOT), str(theirs.fileno())],
                env={"PATH": SHELL["PATH"], **language},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._close)

    def ask(self, request: Any, descriptors: Sequence[int]) -> socket.socket:
        """Where the new process' pid and then its exit code are told."""
        body = json.dumps(request).encode()
        told, theirs = socket.socketpair()
        with theirs, self._lock:
            size = len(body).to_bytes(4, "big")
            socket.send_fds(self._requests, [size], [*descriptors, theirs.fileno()])
            self._requests.sendall(body)
        return told

    def _close(self) -> None:
        self._requests.close()
        self._process.wait()


_servers: dict[tuple[int, bool], _Server] = {}
_starting = threading.Lock()


def _server(**language: str) -> _Server:
    """This process' own, with LANG or without; begun when it is first asked for."""
    with _starting:
        key = os.getpid(), bool(language)
        if key not in _servers:
            _servers[key] = _Server(language)
        return _servers[key]


def _number(told: socket.socket) -> int:
    number = told.recv(4)
    if len(number) != 4:
        raise ChildProcessError("the server that forks processes has ended")
    return int.from_bytes(number, "big", signed=True)


def _text(stream: Any) -> str:
    stream.seek(0)
    text: str = stream.read().decode()
    return text
