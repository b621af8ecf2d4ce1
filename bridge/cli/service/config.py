"""``swf-bridge config``: print the effective settings and the source of each."""

import argparse
from pathlib import Path
from typing import Any

from bridge.cli import client
from bridge.cli.service import unit
from bridge.cli.text import say, say_json

EXAMPLE = Path(__file__).parents[1] / "share" / "bridge.env.example"


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "config",
        help="show the effective settings and where each comes from",
        description="Show every setting with the value in effect and where it comes from."
        " Passwords and keys show as ***.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object by variable")
    parser.add_argument(
        "--example", action="store_true",
        help="print every setting with its default, commented, for /etc/swf-bridge/bridge.env",
    )  # fmt: skip
    unit.add_options(parser)
    parser.set_defaults(run=client.command(run))


def run(args: argparse.Namespace) -> int:
    """Print the settings. Raises ConfigError for wrong settings."""
    if args.example:
        for line in EXAMPLE.read_text().splitlines():
            say(line)
        return 0
    from bridge.settings.environment import variable  # noqa: PLC0415
    from bridge.settings.settings import Settings  # noqa: PLC0415 — slow to load

    if unit.asked_for(args):
        return unit.run_as(args, "config", *(["--json"] if args.json else []))
    settings = Settings.load(lists_needed=False)
    sources, shown = settings.sources(), settings.shown()
    rows = [(variable(name), value, sources[name]) for name, value in shown.items()]
    if args.json:
        table = {name: {"value": value, "source": source} for name, value, source in rows}
        say_json(table, indent=2)
        return 0
    names, origins = (max(len(row[i]) for row in rows) for i in (0, 2))
    for name, value, source in rows:
        say(f"{name:{names}}  {source:{origins}}  {value}".rstrip())
    return 0
