"""Known vulnerabilities of the packages in a lock: `audit.py LOCK`.

Exit 1 for a known vulnerability. Where the advisory service cannot be asked, one line says so and
the exit is 0: a network that is away is no fault of the commit under test.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TIMEOUT = 120.0


def advisories(lock: str) -> list[dict[str, Any]] | None:
    """What pip-audit knows of each package; None where it could not ask."""
    pip_audit = Path(sys.executable).parent / "pip-audit"
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    try:
        done = subprocess.run(
            [pip_audit, *options, "-r", lock], capture_output=True, timeout=TIMEOUT, check=False
        )
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return found


def main(lock: str) -> int:
    """Print what was found and return the exit code."""
    packages = advisories(lock)
    if packages is None:
        print("audit: WARNING: the advisory service cannot be reached; nothing was audited")
        return 0
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    audited = len(packages) - len(skipped)
    bad = [(package, known) for package in packages for known in package.get("vulns", ())]
    for package, known in bad:
        fixed = ", ".join(known["fix_versions"]) or "none yet"
        print(f"audit: {package['name']} {package['version']}: {known['id']}, fixed in: {fixed}")
    if skipped:
        print(f"audit: WARNING: {len(skipped)} packages have no advisories to be had here")
    print(f"audit: {len(bad)} known vulnerabilities in {audited} packages audited")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
