"""Finds the documents on this machine: installed with the program, or in the clone."""

import sys
from collections.abc import Sequence
from pathlib import Path

FOLDERS = (Path(sys.prefix, "share/doc/swf-bridge"), Path(__file__).parents[3])
"""The folders of ``make install`` and of a clone that hold ``docs/``."""


def more_about(alert: str, folders: Sequence[Path] = FOLDERS) -> str:
    """The alert and the file that explains it; the alert alone if none of ``folders`` has it."""
    file = more_in("alerts.md", folders)
    return f"{file}, {alert}" if Path(file).is_absolute() else f"the alert {alert}"


def more_in(name: str, folders: Sequence[Path] = FOLDERS) -> str:
    """The path of a document; below the project, if none of ``folders`` has it."""
    for folder in folders:
        if (file := folder / "docs" / name).is_file():
            return str(file)
    return f"docs/{name}"
