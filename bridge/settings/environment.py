"""Sources of the settings, and the error messages for wrong ones.

A setting is an environment variable or a systemd credential: a file with the variable's name in
lower case in ``$CREDENTIALS_DIRECTORY``. No message repeats a value, as it may be secret.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, get_args

from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import SecretsSettingsSource

PREFIX = "SWF_BRIDGE_"
PLAIN_DSN = "SENTRY_DSN"
"""The variable that Sentry's own SDKs read; ours takes precedence."""
_NO_NAME = re.compile(r"[^A-Za-z0-9_].*", re.DOTALL)


def variable(field: str) -> str:
    """Name the environment variable that sets a field."""
    return PREFIX + field.upper()


class Credentials(SecretsSettingsSource):
    """Reads the files of ``$CREDENTIALS_DIRECTORY`` like environment variables.

    An empty file counts as unset; line ends at the end are removed. pydantic-settings would fail at
    the first unreadable file. Here the error becomes the field's value, so that the settings report
    it with all other problems.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """Read the file of one field; None if there is none or it is empty."""
        file = _credential(field_name)
        return (file and _read(file)) or None, variable(field_name), False


def credentials_directory() -> Path | None:
    """The directory of systemd's credentials; None if there is none."""
    directory = Path(os.environ.get("CREDENTIALS_DIRECTORY") or os.devnull)
    return directory if directory.is_dir() else None


def _credential(field: str) -> Path | None:
    directory = credentials_directory()
    file = directory and directory / variable(field).lower()
    return file if file and os.path.lexists(file) else None


def _read(file: Path) -> str | ValueError:
    try:
        return file.read_text("utf-8", "surrogateescape").rstrip("\r\n")
    except OSError as error:
        return ValueError(f"its credential cannot be read: {error.strerror}")


class Origin(NamedTuple):
    """The source of a field's value, and the variable to name in errors."""

    variable: str
    source: str
    quoted: bool = False
    file: Path | None = None


def origin(field: str) -> Origin:
    """Find a field's source: environment, then credential file, then Sentry's own variable."""
    name = variable(field)
    if text := os.environ.get(name):
        return Origin(name, "environment", is_quoted(text))
    if (file := _credential(field)) and (found := _read(file)):
        return Origin(name, f"credential: {file.name}", is_quoted(str(found)), file)
    if field == "sentry_dsn" and (text := os.environ.get(PLAIN_DSN)):
        return Origin(PLAIN_DSN, f"environment: {PLAIN_DSN}", is_quoted(text))
    return Origin(name, "default")


def misspelt(fields: Iterable[str]) -> Iterator[str]:
    """Report each variable and credential that begins like ours but is no setting."""
    variables = [variable(field) for field in fields]
    for name in _ours(os.environ):
        if name not in variables:
            nearest = _nearest(name, variables)
            yield f"{_name_of(name)}: no such setting; did you mean {nearest}?"
    directory = credentials_directory()
    for name in _ours(os.listdir(directory) if directory else ()):
        if name != name.lower() or name.upper() not in variables:
            nearest = _nearest(name, variables).lower()
            yield f"{_name_of(name)}: no such credential; did you mean {nearest}?"


def _ours(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.upper().startswith(PREFIX))


def _nearest(name: str, variables: Iterable[str]) -> str:
    """Find the most similar variable, compared without the common prefix."""
    tails = [each.removeprefix(PREFIX) for each in variables]
    return PREFIX + get_close_matches(name.upper().removeprefix(PREFIX), tails, n=1, cutoff=0)[0]


def _name_of(given: str) -> str:
    """The name up to a character that no setting's has: behind it a value may stand by mistake."""
    name = _NO_NAME.sub("", given)
    return name if name == given else f"{name}..."


def _plain(name: str) -> str:
    """Escape line ends and other special characters in a name."""
    return ascii(name)[1:-1]


def quoted(origins: Iterable[Origin]) -> list[str]:
    """The variables, ours and AWS's, whose value begins and ends with the same quote.

    A shell and systemd remove quotes; ``docker --env-file`` makes them part of the value.
    """
    theirs = (name for name, value in os.environ.items() if is_quoted(value))
    names = {each.variable for each in origins if each.quoted}
    return sorted(names.union(name for name in theirs if name.startswith("AWS_")))


def is_quoted(value: str) -> bool:
    """Whether the value is enclosed in quotes."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"


def sentence(
    error: ErrorDetails,
    origins: Mapping[str, Origin],
    model: type[BaseModel],
    entry: type[BaseModel],
) -> str:
    """Turn an error of pydantic into a line for the operator.

    ``model`` is the class of the settings, ``entry`` the class of an entry of a list in them.
    """
    alias, *inner = error["loc"]
    field = str(alias).removeprefix(PREFIX).lower()
    name = origins[field].variable
    if not inner:
        more = "; the quotes around it are part of the value" if origins[field].quoted else ""
        return f"{name}: {_reason(error, model.model_fields[field])}{more}"
    position = f"entry {int(inner[0]) + 1}"
    if len(inner) == 1:
        return f"{name}: {position} must be a name or an object"
    key = str(inner[1])
    if error["type"] == "extra_forbidden":
        nearest = get_close_matches(key, entry.model_fields, n=1, cutoff=0)[0]
        return f'{name}: {position} has an unknown key "{_plain(key)}"; did you mean "{nearest}"?'
    if error["type"] == "missing" and key in model.model_fields:
        return f"{variable(key)}: is not set, and {position} of {name} has no {key} of its own"
    return f"{name}: {position}: {key} {_reason(error, entry.model_fields[key])}"


def _reason(error: ErrorDetails, field: FieldInfo) -> str:
    match error["type"].partition("_")[0]:
        case "value":
            return str(error["ctx"]["error"])
        case "missing":
            return "is not set"
        case "literal":
            return f"must be one of {' '.join(get_args(field.annotation))}"
        case "bool":
            return "must be true or false"
        case "int" | "float" | "finite" | "greater" | "less":
            return f"must be {_range(field)}"
    return "must be text" if "ctx" not in error else "is too long"


def _range(field: FieldInfo) -> str:
    low = next(each.ge for each in field.metadata if isinstance(each, Ge))
    high = next(each.le for each in field.metadata if isinstance(each, Le))
    kind = "a whole number" if field.annotation is int else "a number"
    return f"{kind} from {low} to {high}"
