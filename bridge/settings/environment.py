"""The variables behind the settings: which are set, where, and what to say of a wrong one.

A setting is a variable of the environment or a systemd credential, a file of that name in lower
case in ``$CREDENTIALS_DIRECTORY``. No sentence made here repeats a value: it may be secret.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, get_args

from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

PREFIX = "SWF_BRIDGE_"


def variable(field: str) -> str:
    """Name the environment variable that sets a field."""
    return PREFIX + field.upper()


class Found(NamedTuple):
    """A field that is set: its value, the variable to blame for it, and where that stands."""

    field: str
    value: str
    variable: str
    source: str
    file: Path | None = None


def read(
    environ: Mapping[str, str], fields: Iterable[str], problems: list[str]
) -> dict[str, Found]:
    """Collect what is set, the environment over the files; add what is misspelt to ``problems``."""
    variables = {variable(field): field for field in fields}
    directory = environ.get("CREDENTIALS_DIRECTORY")
    given = [
        Found("sentry_dsn", environ.get("SENTRY_DSN", ""), "SENTRY_DSN", "environment: SENTRY_DSN"),
        *(_credentials(Path(directory), variables, problems) if directory else ()),
        *_environment(environ, variables, problems),
    ]
    for each in given:
        if not _is_utf8(each.value):
            problems.append(f"{each.variable}: is not valid UTF-8")
    return {each.field: each for each in given if each.value and _is_utf8(each.value)}


def _environment(
    environ: Mapping[str, str], variables: Mapping[str, str], problems: list[str]
) -> Iterator[Found]:
    for name in sorted(name for name in environ if name.upper().startswith(PREFIX)):
        if name in variables:
            yield Found(variables[name], environ[name], name, "environment")
        else:
            problems.append(
                f"{_plain(name)}: no such setting; did you mean {_nearest(name, variables)}?"
            )


def _credentials(
    directory: Path, variables: Mapping[str, str], problems: list[str]
) -> Iterator[Found]:
    names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    for name in (name for name in names if name.upper().startswith(PREFIX)):
        field = variables.get(name.upper())
        if field is None or name != name.lower():
            nearest = _nearest(name, variables).lower()
            problems.append(f"{_plain(name)}: no such credential; did you mean {nearest}?")
            continue
        try:
            text = (directory / name).read_text("utf-8", "surrogateescape").rstrip("\r\n")
        except OSError as error:
            problems.append(f"{name.upper()}: its credential cannot be read: {error.strerror}")
        else:
            yield Found(field, text, name.upper(), f"credential: {name}", directory / name)


def _nearest(name: str, variables: Iterable[str]) -> str:
    """Find the most similar variable; what they all begin with does not count."""
    tails = [each.removeprefix(PREFIX) for each in variables]
    return PREFIX + get_close_matches(name.upper().removeprefix(PREFIX), tails, n=1, cutoff=0)[0]


def _plain(name: str) -> str:
    """Keep a name on its line, whatever is in it."""
    return ascii(name)[1:-1]


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quoted(environ: Mapping[str, str], found: Iterable[Found]) -> list[str]:
    """The variables whose value begins and ends with the same quote, ours and those of AWS.

    A shell and systemd take quotes away; ``docker --env-file`` makes them part of the value.
    """
    names = {each.variable for each in found if is_quoted(each.value)}
    theirs = (name for name, value in environ.items() if is_quoted(value))
    return sorted(names.union(name for name in theirs if name.startswith("AWS_")))


def is_quoted(value: str) -> bool:
    """Whether quotes stand around it."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"


def sentence(
    error: ErrorDetails, found: Mapping[str, Found], model: type[BaseModel], entry: type[BaseModel]
) -> str:
    """Turn an error of pydantic's into a line for the operator.

    ``model`` holds the settings, ``entry`` is what a field with several entries consists of.
    """
    field, *inner = error["loc"]
    name = found[str(field)].variable if field in found else variable(str(field))
    if not inner:
        around = field in found and is_quoted(found[str(field)].value)
        more = "; the quotes around it are part of the value" if around else ""
        return f"{name}: {_reason(error, model.model_fields[str(field)])}{more}"
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
