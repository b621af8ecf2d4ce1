"""Write both locks anew from pyproject.toml, with hashes and without any address."""

import subprocess
import sys
from pathlib import Path

LOCKS = {"requirements.lock": ["fast"], "requirements-dev.lock": ["fast", "dev"]}
FORM = [
    "--quiet",
    "--upgrade",
    "--system-certs",
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
]


def main() -> None:
    """One lock after the other; an address in one ends it, and leaves the lock as it was."""
    uv = Path(sys.executable).parent / "uv"
    for name, extras in LOCKS.items():
        chosen = [f"--extra={extra}" for extra in extras]
        command = [str(uv), "pip", "compile", *FORM, *chosen, "pyproject.toml"]
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        if "://" in text or "--index" in text or "--find-links" in text:
            sys.exit(f"{name}: an address would be in the lock; look at the configuration of uv")
        Path(name).write_text(text)


if __name__ == "__main__":
    main()
