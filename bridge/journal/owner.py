"""Whose the journal is: who made its file beforehand, or has another name for it, would read it."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from bridge.errors import ConfigError


def check_owner(files: Iterable[Path]) -> None:
    """See that the files that are there are this user's alone, and their folder this user's.

    The folder may be root's, too. Raises ConfigError for another owner, and for a link.
    """
    for file in files:
        if why := _foreign_folder(file.parent) or _foreign(file):
            raise ConfigError([f"SWF_BRIDGE_JOURNAL: {why}"])


def _foreign(file: Path) -> str:
    try:
        found = file.lstat()
    except OSError:  # it is not there; what else it is, opening it will tell
        return ""
    if stat.S_ISLNK(found.st_mode):
        return f"{file} is a symbolic link"
    if found.st_uid != os.geteuid():
        return f"{file} belongs to another user ({found.st_uid})"
    linked = stat.S_ISREG(found.st_mode) and found.st_nlink > 1
    return f"{file} has another name, a hard link" if linked else ""


def _foreign_folder(folder: Path) -> str:
    """With systemd's DynamicUser it stands behind a link that root has made."""
    try:
        owner = folder.stat().st_uid
    except OSError:
        return ""
    mine = owner in (0, os.geteuid())
    return "" if mine else f"the directory {folder} belongs to another user ({owner})"
