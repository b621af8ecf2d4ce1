"""The command line: which commands there are, and how a wrong one is told."""

import argparse
import os
import sys
from typing import NoReturn

from bridge import __revision__, __version__
from bridge.cli import (
    check,
    config,
    conformance,
    dead,
    drain,
    local,
    pause,
    resume,
    run,
    status,
    tasks,
    topology,
)
from bridge.cli.text import printable

COMMANDS = (
    run,
    check,
    config,
    status,
    tasks,
    dead,
    pause,
    resume,
    drain,
    topology,
    local,
    conformance,
)


class Parser(argparse.ArgumentParser):
    """Tells a wrong command line in the usage and one line more, and exits 64 (``sysexits.h``)."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and exit."""
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {printable(message)}\n")


def build() -> Parser:
    """Make the parser of every command; each sets ``run`` to what carries it out."""
    parser = Parser(
        prog="swf-bridge",
        description="Hands Amazon SWF activity tasks to RabbitMQ workers in any language and takes"
        " their answers back.",
        epilog="Settings are environment variables: swf-bridge config shows them all.",
    )
    version = f"%(prog)s {__version__} (revision {__revision__})"
    parser.add_argument(
        "--version", action="version", version=version, help="show version and revision, and exit"
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser
