"""The options that ``tasks`` and ``dead`` share, for listing and for changing."""

import argparse
from collections.abc import Mapping

from bridge.cli.text import count


def add_listing(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that lists."""
    parser.add_argument("--limit", metavar="N", type=count, default=100, help="default 100")
    parser.add_argument("--json", action="store_true", help="print JSON lines")


def add_changing(parser: argparse.ArgumentParser, *, every: str, first: str) -> None:
    """Add the options of a command that changes items selected by ID, filters or --all."""
    parser.add_argument("ids", metavar="ID", nargs="*")
    parser.add_argument("--all", action="store_true", help=every)
    parser.add_argument("--limit", metavar="N", type=count, help=first)
    parser.add_argument("--dry-run", action="store_true", help="change nothing, say what would be")
    parser.add_argument("--json", action="store_true", help="print JSON lines")


def changed(
    args: argparse.Namespace, filters: Mapping[str, object], things: str
) -> dict[str, object]:
    """The request's fields. Exit with the usage if no ID, filter or --all is given."""
    given = [value for name, value in filters.items() if name != "limit" and value is not None]
    if not (args.ids or given or args.all):
        args.usage_error(f"name {things} by ID or by filters, or say --all")
    ids = [each.lower() for each in args.ids]
    return {**filters, "ids": ids, "all": args.all, "dry_run": args.dry_run}
