"""Where the documents stand on this machine: beside the program, or in the clone."""

import sys
from pathlib import Path

FOLDERS = (Path(sys.prefix, "share/doc/swf-bridge"), Path(__file__).parents[2])
"""As ``make install`` puts them, and as a clone has them."""


def more_about(alert: str) -> str:
    """Where to read what to do: a file that is there and the alert, else the alert alone."""
    for folder in FOLDERS:
        if (file := folder / "docs" / "alerts.md").is_file():
            return f"{file}, {alert}"
    return f"the alert {alert}"
