"""The permissions that the operations page gives to the bridge and to a worker, as data."""

import shlex
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/operations.md"


def documented(user: str) -> dict[str, str]:
    """The permissions of the operations page, as `rabbitmqctl set_permissions` has them."""
    (line,) = [each for each in _commands("set_permissions") if user in each]
    return dict(zip(("configure", "write", "read"), line[5:], strict=True))


def documented_topics(user: str) -> tuple[str, str, str]:
    """Exchange, write and read of the page's `rabbitmqctl set_topic_permissions`."""
    found = [each for each in _commands("set_topic_permissions") if each[4] == user]
    ((exchange, write, read),) = [line[5:] for line in found]
    return exchange, write, read


def _commands(name: str) -> list[list[str]]:
    page = PAGE.read_text().splitlines()
    return [shlex.split(each) for each in page if each.startswith(f"rabbitmqctl {name} ")]
