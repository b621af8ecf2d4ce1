"""A Python that has loaded the bridge and its libraries, forked for each process that is asked for.

A program of its own, which tests.forked starts and talks to. It has loaded the modules, called
nothing of ours, and has one thread. A process differs from one that was begun by exec only in that
the modules are there already, which is four fifths of a start. That each module loads what it
needs is held by the tests that begin by exec.
"""

import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

import botocore_data

PROBE = """
import sys
from bridge import __main__, daemon
from bridge.cli.service import check
from bridge.cli.service import run
from bridge.cli.service import topology
from bridge.swf.client import Swf
Swf(identity="", pollers=1, responders=1, read_timeout=70, way="auto")
print(*(name for name in sys.modules if name not in ("__main__", "bridge.__main__")))
"""
"""Names what a daemon has loaded by the time it starts, without the program itself."""


def load_modules(root: str) -> None:
    """Load what a daemon loads, in its order, and the files that botocore reads for it."""
    probe = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=root,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "AWS_REGION": "eu-west-1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    sys.path[0] = root
    for name in probe.stdout.split():
        with suppress(ImportError):  # a module that its package makes itself
            import_module(name)
    botocore_data.read_once()
    session = import_module("botocore.session").Session()
    session.create_client(
        "swf", region_name="eu-west-1", aws_access_key_id="", aws_secret_access_key=""
    )


class Server:
    """Takes requests from one socket until it is closed, and tells of each child on its own."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)
        self._children: dict[int, tuple[int, socket.socket]] = {}
        """By the descriptor that tells a child's end: its pid, and who is told."""

    def serve(self) -> Any:
        """The request, in the child that it asks for; None once nobody asks any more."""
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._forget(key.data)
                    continue
                if key.fileobj is not self._requests:
                    self._tell(key.fd)
                    continue
                request, descriptors = self._request()
                if request is None:
                    return None
                if self._fork(descriptors, request["group"]):
                    become(request, descriptors)
                    return request

    def _request(self) -> tuple[Any, list[int]]:
        size, descriptors, _, _ = socket.recv_fds(self._requests, 4, 4)
        if not size:
            return None, []
        body, wanted = b"", int.from_bytes(size, "big")
        while len(body) < wanted:
            body += self._requests.recv(wanted - len(body))
        return json.loads(body), descriptors

    def _fork(self, descriptors: list[int], group: int | None) -> bool:
        """Fork; whether this is the child. The last descriptor is the socket of who asked."""
        assert len(os.listdir("/proc/self/task")) == 1, "a thread would not be in the child"
        client = socket.socket(fileno=descriptors.pop())
        if pid := os.fork():
            if group is not None:
                try:
                    os.setpgid(pid, group)
                except OSError:  # it has ended, and so have all that were to end with it
                    os.kill(pid, signal.SIGKILL)
            for descriptor in descriptors:
                os.close(descriptor)
            end = os.pidfd_open(pid)
            self._children[end] = pid, client
            self._selector.register(end, selectors.EVENT_READ)
            client.sendall(pid.to_bytes(4, "big"))
            return False
        # Each is closed as the object that it is: one that closed its number later, when it is
        # collected, would close a file of the daemon's.
        self._selector.close()
        self._requests.close()
        client.close()
        for end, (_, other) in self._children.items():
            os.close(end)
            other.close()
        self._children.clear()
        return True

    def _tell(self, end: int) -> None:
        """Tell how the child ended; like any zombie it keeps its pid until that was taken."""
        pid, client = self._children[end]
        self._selector.unregister(end)
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        self._selector.register(client, selectors.EVENT_READ, end)
        with suppress(OSError):  # nobody waits for it
            client.sendall(code.to_bytes(4, "big", signed=True))

    def _forget(self, end: int) -> None:
        """The exit code was taken, or whoever started the child is gone."""
        pid, client = self._children[end]
        self._selector.unregister(client)
        os.waitpid(pid, 0)
        os.close(end)
        client.close()
        del self._children[end]


def become(request: Any, descriptors: list[int]) -> None:
    """Be what exec would have made of this process."""
    # Python itself has set LC_CTYPE where no variable named a language.
    coerced = {"LC_CTYPE": os.environ["LC_CTYPE"]} if "LC_CTYPE" in os.environ else {}
    os.environ.clear()
    os.environ.update(coerced | request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        if descriptor > 2:
            os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        setattr(sys, name, reopened(getattr(sys, name), mode))
        setattr(sys, f"__{name}__", getattr(sys, name))


def reopened(stream: Any, mode: str) -> Any:
    """A stream of the same descriptor, which may be a pipe now: it has to learn what it can do."""
    new: Any = open(  # noqa: SIM115 - it stays open
        stream.fileno(), mode, encoding=stream.encoding, errors=stream.errors, closefd=False
    )
    new.reconfigure(line_buffering=stream.line_buffering or new.isatty())
    return new


def run(module: str, *, taken_apart: bool) -> None:
    """Run it as `python -m` does. Taken apart: Python then frees all modules, one by one.

    That costs more than the whole of a short command, for each page that this process shares with
    the server is copied first.
    """
    code: object = None
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
        if taken_apart or not isinstance(code, int | None):
            raise
    if not taken_apart:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code or 0)


def main() -> None:
    root, descriptor = sys.argv[1], int(sys.argv[2])
    gc.disable()
    load_modules(root)
    gc.freeze()  # or each child would walk, and so copy, all that it shares with the others
    gc.enable()
    with suppress(KeyboardInterrupt):
        request = Server(socket.socket(fileno=descriptor)).serve()
        if request is None:
            return
    module, *sys.argv[1:] = request["args"]
    run(module, taken_apart=request["takenApart"])


if __name__ == "__main__":
    main()
