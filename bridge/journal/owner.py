"""Checks that no other user can read the journal through a file or link prepared beforehand."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from bridge.errors import ConfigError


def check_owner(files: Iterable[Path]) -> None:
    """Check that existing files belong to this user and the folder to this user or root.

    Raises ConfigError for another owner, and for a symbolic or hard link.
    """
    for file in files:
        if why := _foreign_folder(file.parent) or _foreign(file):
            raise ConfigError([f"SWF_BRIDGE_JOURNAL: {why}"])


def _foreign(file: Path) -> str:
    try:
        found = file.lstat()
    except OSError:  # the file is missing, or opening it will raise the same error
        return ""
    if stat.S_ISLNK(found.st_mode):
        return f"{file} is a symbolic link"
    if found.st_uid != os.geteuid():
        return f"{file} belongs to another user ({found.st_uid})"
    linked = stat.S_ISREG(found.st_mode) and found.st_nlink > 1
    return f"{file} has another name, a hard link" if linked else ""


def _foreign_folder(folder: Path) -> str:
    """Why the folder is refused. ``stat`` follows links: systemd's DynamicUser makes one."""
    try:
        owner = folder.stat().st_uid
    except OSError:
        return ""
    mine = owner in (0, os.geteuid())
    return "" if mine else f"the directory {folder} belongs to another user ({owner})"
