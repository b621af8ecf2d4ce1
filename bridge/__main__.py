"""The entry point: parses the arguments, runs the command, and returns its exit code."""

import io
import os
import sys
from collections.abc import Sequence

from bridge.cli.parsing import parser
from bridge.errors import ConfigError, PartFailed
from bridge.telemetry.logs import print_errors


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (``sysexits.h``)."""
    commands = parser.build()
    args = commands.parse_args(argv)
    if args.command is None:
        commands.print_help(sys.stderr)
        return os.EX_USAGE
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # no locale may make a ✓ fatal
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except ConfigError as error:
        print_errors(*error.problems)
        return os.EX_CONFIG
    except PartFailed as error:
        print_errors(f"swf-bridge: {error}")
        return os.EX_SOFTWARE
    except BrokenPipeError:
        # The reader closed the pipe (… | head). Discard the output, that of the flush at exit too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


if __name__ == "__main__":
    sys.exit(main())
