"""Finds the documents on this machine: installed with the program, or in the clone."""

import sys
from pathlib import Path

FOLDERS = (Path(sys.prefix, "share/doc/swf-bridge"), Path(__file__).parents[2])
"""The folders of ``make install`` and of a clone that hold ``docs/``."""


def more_about(alert: str) -> str:
    """The alert and the file that explains it; the alert alone where no file is installed."""
    file = more_in("alerts.md")
    return f"{file}, {alert}" if Path(file).is_absolute() else f"the alert {alert}"


def more_in(name: str) -> str:
    """The path of a document; below the project, where it is not installed."""
    for folder in FOLDERS:
        if (file := folder / "docs" / name).is_file():
            return str(file)
    return f"docs/{name}"
