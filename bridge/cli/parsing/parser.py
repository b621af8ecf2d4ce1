"""The command-line parser: its commands, and how it reports a wrong command line."""

import argparse
import os
import sys
import textwrap
from typing import Any, NoReturn

from bridge import __revision__, __version__
from bridge.cli.local import conformance, local
from bridge.cli.parsing.examples import USAGES
from bridge.cli.running import dead, drain, pause, resume, status, tasks
from bridge.cli.service import check, config, run, topology, units
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
    """Wraps a text of one line, and leaves a text that has line breaks unchanged."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Wrap the help of an option; break no path or option at its hyphens."""
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """Prints examples and exit codes below the options; exits 64 for a wrong command line.

    argparse uses the same class for subcommands.
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

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, and take optional arguments that follow an option as well.

        argparse gives all arguments of ``?`` and ``*`` what stands before the first option, be it
        nothing, and calls what comes later unrecognized.
        """
        found, rest = super().parse_known_args(args, namespace)
        if rest[:1] == ["--"]:
            rest = rest[1:]
        elif any(each.startswith("-") and each != "-" for each in rest):
            return found, rest  # an unknown option, and perhaps its value
        for action in self._get_positional_actions():
            given = getattr(found, action.dest, None)
            if action.nargs == "*":
                setattr(found, action.dest, [*(given or []), *rest])
                rest = []
            elif action.nargs == "?" and given is None and rest:
                setattr(found, action.dest, rest.pop(0))
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit 64."""
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {printable(message)}\n")


def build() -> Parser:
    """Build the parser of all commands. The parsed ``run`` is the function to call."""
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
