"""``swf-bridge check``: check whether the daemon can start with these settings."""

import argparse
import os
import stat
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.cli import client
from bridge.cli.service import unit
from bridge.cli.text import say, say_results

if TYPE_CHECKING:
    from bridge.settings.settings import Settings

FOLDER = Path("/etc/swf-bridge")
"""The folder with the environment files of the systemd units."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "check",
        help="check the settings",
        description="Check the settings, and exit 78 with a line for each that is wrong: those of"
        " this shell, or with --service, --instance or --peer those of the service, as it sees"
        " them.",
        epilog="Marks: ✓ holds, ✗ wrong, ! to be noted, ? not proven.",
    )
    parser.add_argument(
        "--connect",
        action="store_true",
        help="ask AWS and RabbitMQ too: credentials, each domain, clock, what IAM's policies allow,"
        " broker, topology, permissions; nothing is polled, published or declared",
    )
    unit.add_options(parser)
    parser.set_defaults(run=client.command(run))


def run(args: argparse.Namespace) -> int:
    """Print a line for each check. Raises ConfigError for wrong settings."""
    from bridge.settings.settings import Settings  # noqa: PLC0415 — slow to load
    from bridge.swf.aws import Aws  # noqa: PLC0415

    if unit.asked_for(args):
        code = unit.run_as(args, "check", *(["--connect"] if args.connect else []))
        for line in _exposures():  # the unit's user cannot read the folder
            say(f"! {line}")
        return code
    settings = Settings.load()
    _check_authorities(os.environ)
    region = Aws().make_client().meta.region_name
    worst = 0
    for mark, line in [*_findings(settings), ("✓", f"region: {region}")]:
        say(f"{mark} {line}")
        worst = max(worst, os.EX_CONFIG if mark == "✗" else 0)
    if not args.connect:
        say("? credentials, SWF domains, RabbitMQ: not tried; --connect tries them")
        return worst
    return max(worst, _connect(settings))


def _connect(settings: "Settings") -> int:
    """Check AWS and RabbitMQ, print a line for each check and return the worst exit code."""
    from bridge.preflight.broker import look_at_broker  # noqa: PLC0415 — slow to load
    from bridge.preflight.swf import look_at_swf  # noqa: PLC0415

    return say_results(chain(look_at_swf(settings), look_at_broker(settings)))


def _findings(settings: "Settings") -> Iterator[tuple[str, str]]:
    """Yield a mark and a line for each check: ✓ correct, ✗ wrong, ! a warning."""
    from bridge.settings.concerns import concerns  # noqa: PLC0415 — slow to load

    sources, shown = settings.sources(), settings.shown()
    count = sum(source != "default" for source in sources.values())
    yield "✓", f"settings: {count} given, {len(sources) - count} by default"
    for each in settings.task_lists:
        yield "✓", f"task list {each.shown}: {each.pollers} pollers, {each.max_in_flight} in flight"
        if each.pollers > each.max_in_flight:
            yield "!", f"task list {each.shown}: more pollers than tasks that may be in flight"
    yield "✓", f"replies: {settings.reply_memory} MiB in hand at most"
    yield "✓", f"RabbitMQ: {shown['amqp_url']}"
    for field in ("journal", "control", "http"):
        yield "✓", f"{field}: {shown[field]}"
    yield _descriptors(settings)
    for name in settings.quoted():
        yield "!", f"{name}: begins and ends with quotes, which are part of the value"
    for path in (settings.journal, settings.control):
        if not _may_be_written(path):
            yield "✗", f"{path} cannot be written by this user"
    for line in (*concerns(settings, os.environ), *_exposures()):
        yield "!", line


def _descriptors(settings: "Settings") -> tuple[str, str]:
    from bridge.settings.descriptors import most, needed  # noqa: PLC0415 — slow to load

    wanted, limit = needed(settings), most()
    if wanted <= limit:
        return "✓", f"open files: at most {wanted}, which is allowed"
    return "!", (
        f"open files: {wanted} are needed and {limit} allowed, so fewer polls are opened: raise"
        " LimitNOFILE= (ulimit -n), or lower SWF_BRIDGE_POLLERS"
    )


def _may_be_written(path: Path) -> bool:
    """Whether this user can write the file, and can create it and SQLite's files beside it."""
    return os.access(path.parent, os.W_OK | os.X_OK) and (
        not path.exists() or os.access(path, os.W_OK)
    )


def _exposures() -> Iterator[str]:
    for path in exposed(FOLDER):
        yield f"{path} can be read by others than its owner: chmod go= {path}"


def _check_authorities(environ: Mapping[str, str]) -> None:
    """Raise ConfigError if the CA bundle for AWS is unreadable: every call would fail."""
    from bridge.errors import ConfigError  # noqa: PLC0415 — as its neighbour
    from bridge.settings import files  # noqa: PLC0415 — slow to load

    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        if path := environ.get(name):
            try:
                files.readable(Path(path))
            except ValueError as error:
                raise ConfigError([f"{name}: {error}"]) from None
            return


def exposed(folder: Path) -> list[Path]:
    """The files in ``folder`` that group or others can read; they may hold credentials."""
    try:
        if not folder.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH):
            return []
        found = sorted(each for each in folder.iterdir() if each.suffix != ".example")
        return [each for each in found if each.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]
    except OSError:  # no such folder, or no permission to list it
        return []
