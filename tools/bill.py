"""The bill of materials of an environment and the licences of all in it, into a folder.

    python tools/bill.py PYTHON OUT

OUT gets swf-bridge.cdx.json (CycloneDX) and licences.txt. Made twice of one environment, they are
equal; what has no licence ends it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FORM = ["--output-reproducible", "--spec-version=1.6", "--output-format=JSON", "--validate"]


def main() -> None:
    """Write both."""
    python, out = sys.argv[1], Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    bill = out / "swf-bridge.cdx.json"
    cyclonedx = str(Path(sys.executable).parent / "cyclonedx-py")
    made = [cyclonedx, "environment", *FORM, f"--output-file={bill}", python]
    subprocess.run(made, check=True, capture_output=True)
    components: list[dict[str, Any]] = json.loads(bill.read_text())["components"]
    rows = sorted((each["name"], each["version"], licences(each)) for each in components)
    if unknown := [name for name, _, told in rows if not told and name != "swf-bridge"]:
        sys.exit(f"no licence is told by {', '.join(unknown)}")
    (out / "licences.txt").write_text("".join(f"{n} {v}: {told}\n" for n, v, told in rows if told))


def licences(component: dict[str, Any]) -> str:
    """What it says of itself: by SPDX, else in the words of its classifiers."""
    told = [each.get("license", each) for each in component.get("licenses", ())]
    named = [each.get("expression") or each.get("id") for each in told]
    words = [each["name"].rpartition(" :: ")[2] for each in told if "name" in each]
    return ", ".join(dict.fromkeys([each for each in named if each] or words))


if __name__ == "__main__":
    main()
