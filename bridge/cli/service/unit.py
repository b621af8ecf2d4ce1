"""Run a command as a systemd unit runs the daemon: with its settings, user and sandbox.

A temporary unit copies the daemon's and replaces the command. systemd itself reads the environment
files, decrypts credentials and builds the sandbox, so nothing is guessed: an error in the unit that
stops the daemon from starting stops this command too.
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from bridge.cli import client
from bridge.cli.client import Failed
from bridge.cli.text import complain, say
from bridge.status.diagnosis.documents import more_in

RUNTIME = Path("/run/systemd/system")
"""The folder of temporary units; systemd forgets them at the next boot."""
TIMEOUT = 300
"""Seconds after which systemd ends the command (``TimeoutStartSec=``)."""
ONLY_TO_RUN = """
[Unit]
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecCondition=
ExecStartPre=
ExecStart=
ExecStart={program} {command}
ExecStartPost=
ExecStop=
ExecStopPost=
Restart=no
WatchdogSec=0
TimeoutStartSec={timeout}
User={user}
StandardOutput=truncate:{output}
StandardError=truncate:{errors}
# The daemon that runs has its control socket there.
RuntimeDirectoryPreserve=yes
"""
"""The changes to the daemon's unit. Its user stays, because it owns the journal."""
BEFORE_THE_PROGRAM = range(200, 244)
"""Exit codes of systemd if it could not execute the program (man systemd.exec)."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a unit."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--service",
        action="store_true",
        help="as swf-bridge.service sees it: its files of settings and credentials, read by"
        " systemd, its user and its sandbox; as root",
    )
    which.add_argument(
        "--instance", metavar="NAME", type=client.instance,
        help="the same for swf-bridge@NAME.service",
    )  # fmt: skip
    which.add_argument(
        "--peer", metavar="NAME", type=client.instance,
        help="the same for swf-bridge-peer@NAME.service",
    )  # fmt: skip


def asked_for(args: argparse.Namespace) -> bool:
    """Whether one of the options was given."""
    return bool(args.service or args.instance or args.peer)


def run_as(args: argparse.Namespace, *command: str) -> int:
    """Run ``swf-bridge COMMAND`` as the unit would, print its output and return its exit code.

    Raises Failed if systemd does not know the unit, or if this user is not root.
    """
    unit = client.unit(args)
    ours = unit.replace("swf-bridge", f"swf-bridge-{command[0]}", 1)
    if not shutil.which("systemctl") or os.geteuid() != 0:
        raise Failed(os.EX_UNAVAILABLE, "only root, and where systemd runs, can see what it sees")
    known = _show(unit, "LoadState", "ExecStart", "User")
    program = re.search(r"path=(\S+)", known["ExecStart"])
    if known["LoadState"] != "loaded" or program is None:
        raise Failed(os.EX_UNAVAILABLE, f"{unit} is not known to systemd ({known['LoadState']})")
    with tempfile.TemporaryDirectory(prefix="swf-bridge-", dir="/run") as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        text = _systemctl("cat", unit) + ONLY_TO_RUN.format(
            program=program[1], command=" ".join(command), timeout=TIMEOUT,
            user=known["User"], output=output, errors=errors,
        )  # fmt: skip
        file = RUNTIME / ours
        try:
            file.write_text(text)
            _systemctl("daemon-reload")
            started = subprocess.run(  # noqa: S603 - no shell
                ["systemctl", "start", ours],  # noqa: S607 - root's PATH
                capture_output=True,
                text=True,
                check=False,
            )
            ended = _show(ours, "ExecMainStatus", "Result", "AssertResult")
            for line in _lines(output):
                say(line)
            for line in _lines(errors):
                complain(line)
            if started.returncode and ended["AssertResult"] == "no":
                _tell_assertions(unit, text)
                return os.EX_CONFIG
            return _exit_code(unit, ours, started, ended)
        finally:
            file.unlink(missing_ok=True)
            _systemctl("reset-failed", ours, check=False)
            _systemctl("daemon-reload", check=False)


def _tell_assertions(unit: str, text: str) -> None:
    """Say what the unit asserts, and why: systemd's own log has neither."""
    asserts = [line for line in text.splitlines() if line.startswith("Assert")]
    say(f"✗ {unit} cannot be started by systemd: an assertion of it fails, {' or '.join(asserts)}")
    say(
        "  swf-bridge.service and instances of swf-bridge@.service do not go together; the way from"
        f" one to the other: {more_in('operations.md')}, From one account to several"
    )


def _exit_code(
    unit: str, ours: str, started: "subprocess.CompletedProcess[str]", ended: dict[str, str]
) -> int:
    code = int(ended["ExecMainStatus"])
    if started.returncode and (code == 0 or code in BEFORE_THE_PROGRAM):
        why = subprocess.run(  # noqa: S603 - no shell
            ["journalctl", "-u", ours, "-n", "5", "-o", "cat", "--no-pager"],  # noqa: S607
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        say(f"✗ {unit} cannot be started by systemd: {ended['Result']}, exit code {code}")
        for line in why.stdout.splitlines():
            say(f"  {line.replace(ours, unit)}")
        return os.EX_CONFIG
    return code


def _lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").splitlines() if file.exists() else []


def _show(unit: str, *properties: str) -> dict[str, str]:
    told = _systemctl("show", unit, f"--property={','.join(properties)}")
    return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)


def _systemctl(*args: str, check: bool = True) -> str:
    done = subprocess.run(  # noqa: S603 - no shell
        ["systemctl", "--no-pager", *args],  # noqa: S607 - root's PATH
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise Failed(os.EX_UNAVAILABLE, f"systemctl {args[0]}: {done.stderr.strip()}")
    return done.stdout
