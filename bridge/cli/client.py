"""The client of the daemon's control socket (protocol: ``bridge/control/server.py``).

It needs no settings, so that commands work in a shell without the daemon's environment.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bridge.bounds import decode_json
from bridge.cli.text import complain, note, rewrite

RUN = Path("/run/swf-bridge")
PEERS = Path("/run/swf-bridge-peer")
TIMEOUT = 60.0
"""Seconds to wait for the daemon's next line. It reports long work every second."""
PLAIN_PROGRESS = 5.0
"""Seconds between two lines of progress when standard error is no terminal."""
UNIT_TIMEOUT = 3.0  # seconds for ``systemctl show``
INTERRUPTED = 130
EXIT_CODES = {
    "usage": os.EX_USAGE,
    "unavailable": os.EX_UNAVAILABLE,
    "busy": os.EX_UNAVAILABLE,
    "stopping": os.EX_UNAVAILABLE,
}
"""Exit code by the daemon's error code; 70 for any other error code."""

Json = dict[str, Any]


class Failed(Exception):
    """The command failed: print the message and exit with ``code``."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Gone(Failed):
    """The daemon closed the connection before its answer was complete."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that select a daemon."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--instance", metavar="NAME", type=instance,
        help="the daemon that runs as swf-bridge@NAME.service",
    )  # fmt: skip
    which.add_argument(
        "--peer", metavar="NAME", type=instance,
        help="the daemon that runs as swf-bridge-peer@NAME.service",
    )  # fmt: skip
    which.add_argument(
        "--control", metavar="PATH", type=Path,
        help="its control socket (default: $SWF_BRIDGE_CONTROL, else beside $SWF_BRIDGE_JOURNAL,"
        " else /run/swf-bridge/control.sock, else swf-bridge.sock here)",
    )  # fmt: skip


def command(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Wrap ``run``: print Failed as one line without a traceback, and return its exit code."""

    def guarded(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except Failed as error:
            complain(error)
            return error.code
        except KeyboardInterrupt:
            return INTERRUPTED

    return guarded


def socket_path(
    args: argparse.Namespace, environ: Mapping[str, str] = os.environ, run: Path = RUN
) -> Path:
    """The control socket of the selected daemon, by the rules of the daemon's own settings.

    ``run`` is the folder of the installed daemon's socket.
    """
    if args.control:
        return Path(args.control)
    if name := args.instance or args.peer:
        return (run if args.instance else PEERS) / str(name) / "control.sock"
    if given := environ.get("SWF_BRIDGE_CONTROL"):
        return Path(given)
    if runtime := environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        return Path(runtime, "control.sock")
    if journal := environ.get("SWF_BRIDGE_JOURNAL"):
        return Path(journal).parent / f"{Path(journal).stem}.sock"
    installed = run / "control.sock"
    return installed if _may_be_there(installed) else Path("swf-bridge.sock")


def ask(args: argparse.Namespace, name: str, **fields: object) -> Iterator[Json]:
    """Send a command to the daemon; yield its rows, then ``{"result": …}``.

    Returns when the daemon closes the connection; after ``drain``, when the daemon has ended.
    Progress goes to standard error. Raises Failed.
    """
    path = socket_path(args)
    request = {"command": name, **{k: v for k, v in fields.items() if v not in (None, (), [])}}
    progress = Progress()
    answered = False
    try:
        with _connect(path, args) as connection, connection.makefile("rb") as answers:
            with contextlib.suppress(BrokenPipeError):  # refused unread; the answer says why
                connection.sendall(json.dumps(request).encode() + b"\n")
            for line in answers:
                answer = decode_json(line, size=len(line))
                if "progress" in answer:
                    progress.show(answer["progress"])
                    continue
                progress.clear()
                if "error" in answer:
                    code = EXIT_CODES.get(answer["error"], os.EX_SOFTWARE)
                    raise Failed(code, answer["message"])
                answered = "result" in answer
                yield answer
    except TimeoutError:
        raise Failed(os.EX_UNAVAILABLE, f"the daemon at {path} does not answer") from None
    except (ConnectionError, ValueError):
        pass
    finally:
        progress.clear()
    if not answered:
        raise Gone(os.EX_UNAVAILABLE, f"the daemon at {path} ended before its answer did")


def unit(args: argparse.Namespace) -> str:
    """The name of the selected systemd unit."""
    if args.instance:
        return f"swf-bridge@{args.instance}.service"
    return f"swf-bridge-peer@{args.peer}.service" if args.peer else "swf-bridge.service"


def unit_state(args: argparse.Namespace) -> str:
    """The state of the daemon's unit in a phrase; empty if systemd does not know the unit."""
    if args.control or not (systemctl := shutil.which("systemctl")):
        return ""
    unit_name = unit(args)
    wanted = "LoadState,ActiveState,SubState,Result,ExecMainStatus"
    try:
        asked = subprocess.run(  # noqa: S603 - a name of systemd's, and no shell
            [systemctl, "show", unit_name, f"--property={wanted}"],
            capture_output=True, text=True, timeout=UNIT_TIMEOUT, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    told = dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
    if told.get("LoadState") != "loaded":
        return ""
    state = f"{unit_name} is {told.get('ActiveState')} ({told.get('SubState')})"
    if (status := told.get("ExecMainStatus", "0")) != "0":
        state += f", it last exited with {status}"
    return state


def result(args: argparse.Namespace, name: str, **fields: object) -> Json:
    """Send a command that has no rows and return its result. Raises Failed."""
    answers = list(ask(args, name, **fields))
    found: Json = answers[-1]["result"]
    return found


class Progress:
    """Shows the daemon's progress on standard error.

    A terminal has one line that is rewritten; elsewhere a line is printed every ``plain`` seconds.
    """

    def __init__(self, plain: float = PLAIN_PROGRESS) -> None:
        self._plain = plain
        self._rewrites = sys.stderr.isatty()
        self._shown = False
        self._next = time.monotonic() + plain

    def show(self, progress: Json) -> None:
        """Show the progress; without a terminal, only if it is time for a line."""
        text = progress.get("text") or f"{progress['done']} of {progress['total']}"
        if self._rewrites:
            rewrite(text)
            self._shown = True
        elif time.monotonic() >= self._next:
            note(text)
            self._next = time.monotonic() + self._plain

    def clear(self) -> None:
        """Clear the progress line, so that other output can be printed."""
        if self._shown:
            rewrite()
            self._shown = False


def _connect(path: Path, args: argparse.Namespace) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT)
    try:
        connection.connect(os.fspath(path))
    except PermissionError:
        connection.close()
        sentence = f"no permission to use {path}: be root, or the user that the daemon runs as"
        raise Failed(os.EX_UNAVAILABLE, sentence) from None
    except OSError as error:
        connection.close()
        sentence = f"no daemon answers at {path} ({error.strerror or error}); "
        sentence += unit_state(args) or "--instance, --peer or --control names another"
        raise Failed(os.EX_UNAVAILABLE, sentence) from None
    return connection


def _may_be_there(path: Path) -> bool:
    """Whether the file exists, or is in a folder that this user cannot read."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def instance(text: str) -> str:
    """Check the NAME of a unit ``swf-bridge@NAME``, as argparse's ``type``."""
    if not text or "/" in text or text in (".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r} is no instance of a unit")
    return text
