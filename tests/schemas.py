"""The contract as files: the JSON Schemas of config/schemas and their examples."""

import json
import sys
from pathlib import Path
from typing import Any

# jsonschema would compile the grammar of IRIs when it is imported, which takes two seconds in each
# process of the tests. It makes do without where that is missing, and no schema asks for a format.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

from jsonschema import Draft202012Validator  # noqa: E402 - after that

CONFIG = Path(__file__).parents[1] / "config"
FOLDER = CONFIG / "schemas"
NAMES = sorted(file.stem for file in FOLDER.glob("*.json"))


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((FOLDER / f"{name}.json").read_text()))


def examples(kind: str, *names: str) -> list[tuple[str, str, Any]]:
    """Schema, name and value of each example that is `valid` or `invalid`."""
    found = []
    for name in names or NAMES:
        for file in sorted((FOLDER / "examples" / name / kind).glob("*.json")):
            found.append((name, file.stem, json.loads(file.read_text())))
    return found


def assert_valid(name: str, value: Any) -> None:
    errors = [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(value)]
    assert not errors, f"not a {name}: {errors}"
