"""Write both locks anew from pyproject.toml, with hashes and without any address.

Each is then resolved, without installing anything, for every Python that is supported.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = {"requirements.lock": ["fast"], "requirements-dev.lock": ["fast", "dev"]}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
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
    for name in LOCKS:
        for python in PYTHONS:
            try_on(uv, name, python)


def try_on(uv: Path, lock: str, python: str) -> None:
    """Ends it where this Python cannot have what the lock names."""
    with tempfile.TemporaryDirectory() as nowhere:
        chosen = ["--system-certs", "--dry-run", "--require-hashes", f"--target={nowhere}"]
        command = [str(uv), "pip", "install", "--quiet", *chosen, f"--python-version={python}"]
        if subprocess.run([*command, "--requirement", lock], check=False).returncode:
            sys.exit(f"{lock}: Python {python} cannot have all of it")


if __name__ == "__main__":
    main()
