"""Known vulnerabilities of the packages in a lock: `audit.py LOCK [OSV_URL]`.

Exit 1 for a known vulnerability, and for a lock that cannot be read. Where the advisory service
cannot be asked, one line says so and the exit is 0: a network that is away is no fault of the
commit under test. PyPI's advisories are asked for, or those of a service that speaks as OSV does.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TIMEOUT = 120.0
OPTIONS = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json")


class BadLock(Exception):
    """The lock cannot be read; the message says why."""


def advisories(lock: str, osv_url: str = "") -> list[dict[str, Any]] | None:
    """What pip-audit knows of each package; None where it could not ask. Raises BadLock."""
    service = ("-s", "osv", "--osv-url", osv_url) if osv_url else ()
    try:
        done = _pip_audit(*service, "-r", lock)
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        read = _pip_audit("--dry-run", "-r", lock)
        if read.returncode:
            raise BadLock(read.stderr.strip().rpartition("\n")[2]) from None
        return None
    return found


def _pip_audit(*args: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "pip-audit"
    return subprocess.run(
        [program, *OPTIONS, *args], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def main(lock: str, osv_url: str = "") -> int:
    """Print what was found and return the exit code."""
    try:
        packages = advisories(lock, osv_url)
    except BadLock as error:
        print(f"audit: {lock} cannot be read: {error}")
        return 1
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
    sys.exit(main(*sys.argv[1:]))
