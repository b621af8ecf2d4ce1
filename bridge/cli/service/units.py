"""``swf-bridge units``: write systemd units for an installation without a package."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from bridge.cli.text import complain, say

UNITS = ("swf-bridge.service", "swf-bridge-peer@.service", "swf-bridge@.service")
SHARE = Path(__file__).parents[1] / "share"
PACKAGED = "/opt/swf-bridge/bin/swf-bridge"
HIDDEN = ("/home", "/root", "/run/user")
"""The folders that ``ProtectHome=`` in the units hides from the service."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "units",
        help="write the systemd units of this installation",
        description="Write swf-bridge.service, swf-bridge-peer@.service and swf-bridge@.service,"
        " which run this installation of swf-bridge, into DIR. systemctl daemon-reload makes them"
        " known; their settings are /etc/swf-bridge/bridge.env, for a peer also"
        " /etc/swf-bridge/peer-NAME.env, and /etc/swf-bridge/NAME.env.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="such as /etc/systemd/system")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the units; return 70 if they cannot be written, or could not start the program."""
    program = Path(sys.prefix, "bin", "swf-bridge")
    if unseen := [each for each in (sys.prefix, sys.base_prefix) if _is_hidden(Path(each))]:
        complain(
            f"{unseen[0]} is hidden from the service (ProtectHome=): install swf-bridge, and the"
            f" Python that it runs on, outside of {', '.join(HIDDEN)}"
        )
        return os.EX_SOFTWARE
    if not str(program).isascii() or any(each in str(program) for each in " %\\\"'$;"):
        complain(f"{program} cannot stand in a unit as it is: install swf-bridge elsewhere")
        return os.EX_SOFTWARE
    for name in UNITS:
        text = (SHARE / name).read_text().replace(PACKAGED, str(program))
        try:
            (args.folder / name).write_text(text)
        except OSError as error:
            complain(f"{args.folder / name}: {error.strerror}")
            return os.EX_SOFTWARE
        say(args.folder / name)
    return 0


def _is_hidden(path: Path) -> bool:
    return any(path.resolve().is_relative_to(each) for each in HIDDEN)
