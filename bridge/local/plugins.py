"""The plugins of a private RabbitMQ node: links to those that run, and to all libraries.

Erlang looks for each module in one folder of the code path after the other. RabbitMQ puts all
plugins into it that are installed. Without those that do not run, a node boots in 3 s, not in 5.
"""

import re
from collections.abc import Iterable
from pathlib import Path

PLUGIN = "rabbitmq_"
"""The names of plugins begin so; all else that stands beside them is a library."""

_APPLICATIONS = re.compile(r"\{\s*applications\s*,\s*\[([^]]*)\]")
_NAME = re.compile(r"\w+")


def link_plugins(installed: Path, folder: Path, running: Iterable[str]) -> None:
    """Make ``folder`` with links to what RabbitMQ and the ``running`` plugins need.

    Links all of ``installed`` if it is not told what one of them needs, as in an archive (`.ez`).
    """
    paths = {path.name.partition("-")[0]: path for path in installed.iterdir()}
    try:
        needed = _needed(paths, ["rabbit", *running])
    except OSError:
        needed = set(paths)
    folder.mkdir(parents=True)
    for name, path in paths.items():
        if name in needed or not name.startswith(PLUGIN):
            (folder / path.name).symlink_to(path)


def _needed(paths: dict[str, Path], names: list[str]) -> set[str]:
    """These applications and those that they need, directly or through others.

    Raises OSError if one of them does not tell.
    """
    needed: set[str] = set()
    while names:
        name = names.pop()
        if name in paths and name not in needed:
            needed.add(name)
            description = (paths[name] / "ebin" / f"{name}.app").read_text()
            for applications in _APPLICATIONS.findall(description):
                names += _NAME.findall(applications)
    return needed
