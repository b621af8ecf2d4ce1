"""The command line: which commands there are, and how a wrong one is told."""

import argparse
import os
import sys
import textwrap
from typing import Any, NoReturn

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
    units,
)
from bridge.cli.examples import USAGES
from bridge.cli.text import printable

NAME = "swf-bridge"
WIDTH = 78
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
    units,
    local,
    conformance,
)


class Formatter(argparse.HelpFormatter):
    """Breaks the lines of a text that has none of its own, and leaves others as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """Has examples and exit codes below its options; exits 64 where the command line is wrong.

    Those of a command's own commands are of this kind too.
    """

    def __init__(self, *, prog: str, epilog: str = "", **given: Any) -> None:
        usage = USAGES.get(prog.removeprefix(NAME).strip())
        below = [textwrap.fill(epilog, WIDTH), str(usage or "")]
        super().__init__(
            prog=prog,
            epilog="\n\n".join(filter(None, below)),
            formatter_class=Formatter,
            **given,
        )

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and exit."""
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {printable(message)}\n")


def build() -> Parser:
    """Make the parser of every command; each sets ``run`` to what carries it out."""
    parser = Parser(
        prog=NAME,
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
