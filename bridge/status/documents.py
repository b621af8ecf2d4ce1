"""Finds the documents on this machine: installed with the program, or in the clone."""

import sys
from pathlib import Path

FOLDERS = (Path(sys.prefix, "share/doc/swf-bridge"), Path(__file__).parents[2])
"""The folders of ``make install`` and of a clone that hold ``docs/``."""


def more_about(alert: str) -> str:
    """The alert and the file that explains it; the alert alone where no file is installed."""
    for folder in FOLDERS:
        if (file := folder / "docs" / "alerts.md").is_file():
            return f"{file}, {alert}"
    return f"the alert {alert}"
