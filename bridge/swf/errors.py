"""SWF's and botocore's errors as those of ``bridge.errors``, by what is to be done about each."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from bridge.errors import BadReply, Refused, TaskClosed, Unavailable

_NOT_PERMITTED = {
    "AccessDenied",
    "AccessDeniedException",
    "DomainDeprecatedFault",
    "NotAuthorized",
    "OperationNotPermittedFault",
    "OptInRequired",
    "UnauthorizedOperation",
}
NOT_LET_IN = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
"""Credentials, or a clock, that AWS does not take: they may be others in a minute."""
_FOR_NOW = NOT_LET_IN | {
    "BandwidthLimitExceeded",
    "InternalFailure",
    "LimitExceededFault",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
}
CODES = _NOT_PERMITTED | _FOR_NOW
"""Those of which it is known what to do about them."""


TOKEN = "taskToken"  # noqa: S105 - the name of a field
_FOREIGN = (TOKEN, "result", "reason", "details")
"""The fields that a worker has filled in: no text of ours holds them."""
_READ = 128 * 1024
"""Characters of an error's text that are read: more than a call's fields and their names have."""
_TOLD = 500
"""Characters of it that are told at most."""
_CODE_TOLD = 100
"""Characters of its code: what answers may name it as it likes."""
_TELLING = 16
"""Where so many first characters of a worker's text stand in an error's, all after them is its."""

_PROBLEMS = 16
"""Problems that are told apart in an error: no call of ours has more fields."""

Fields = Mapping[str, Any]
"""What a call was made with, by SWF's names: its error may quote it."""


class NotTaken(BadReply):
    """SWF refuses the call for good; ``member`` is the field that it names, empty for none."""

    def __init__(self, code: str, detail: str, member: str = "") -> None:
        super().__init__(code, detail)
        self.member = member


def error_from(error: Exception, fields: Fields | None = None) -> Exception:
    """What botocore raised, in a call with ``fields`` or in getting credentials, as ours."""
    if isinstance(error, Unavailable):
        return error
    if not isinstance(error, ClientError):
        return Unavailable(type(error).__name__, without_values(str(error), fields))
    answer = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return error_for(str(answer.get("Code", "")), status, str(answer.get("Message", "")), fields)


def error_for(code: str, status: int, text: str, fields: Fields | None = None) -> Exception:
    """What SWF answered to a call with ``fields``, named by what is to be done about it.

    TaskClosed for a resource that it does not know, Refused where a person must mend something,
    Unavailable for what may heal, NotTaken for what never will. The error's type decides; no word
    of its text does that may be a worker's.
    """
    code, told = code[:_CODE_TOLD], without_values(text, fields)
    if code == "UnknownResourceFault":
        return TaskClosed(told)
    if code in _NOT_PERMITTED:
        return Refused(code, told)
    # A code of digits is the status of an answer that SWF did not write: a proxy's page.
    if code in _FOR_NOW or not 400 <= status < 500 or not code or code.isdigit():
        return Unavailable(code or str(status), told)
    member = _blamed(text, fields or {}) if code == "ValidationException" else ""
    return NotTaken(code, f"{code}: {told}", member)


def without_values(text: str, fields: Fields | None = None) -> str:
    """An error's text without what a worker has given, which it may quote."""
    given = fields or {}
    text = text[:_READ]
    if problems := _problems(text, given):
        told = (f"Value at '{member}'{_without(why, given)}" for member, why in problems)
        return "; ".join(told)[:_TOLD]
    if quoted := _QUOTED.search(text):
        text = f"{text[: quoted.start()]}Value '…'"
    return _without(text, given)[:_TOLD]


# --- SWF's own sentences -----------------------------------------------------------------------

_DETECTED = re.compile(r"[0-9]{1,9} validation errors? detected: ")
_ELIDED = re.compile(r"Value (?:null )?at '([A-Za-z.]{1,64})'")
_QUOTED = re.compile(r"Value '", re.IGNORECASE)
_NEXT = "; Value "


def _blamed(text: str, fields: Fields) -> str:
    """The field that SWF names in refusing a call, by its own words alone; empty for none."""
    if text.startswith("Invalid token"):
        return TOKEN
    members = [member for member, _ in _problems(text[:_READ], fields)]
    return TOKEN if TOKEN in members else next(iter(members), "")


def _problems(text: str, fields: Fields) -> list[tuple[str, str]]:
    """The fields that SWF finds fault with, and why; none where the text says it otherwise.

    Each value that it quotes has to be the one that was sent: one that holds such a sentence
    itself is read over. Beyond _PROBLEMS they are not told apart.
    """
    found: list[tuple[str, str]] = []
    quotes = [(f"Value '{value}' at '{name}'", name) for name, value in _flat(fields)]
    start = _DETECTED.match(text)
    at = start.end() if start else -1
    while at >= 0:
        member, end = _named(text, at, quotes)
        if not member:
            return []
        after = text.find(_NEXT, end) if len(found) < _PROBLEMS else -1
        found.append((member, text[end : after if after >= 0 else None]))
        at = after + len("; ") if after >= 0 else -1
    return found


def _named(text: str, at: int, quotes: list[tuple[str, str]]) -> tuple[str, int]:
    """The field that is named there, and where the sentence goes on."""
    if elided := _ELIDED.match(text, at):
        return elided[1], elided.end()
    # A value may begin with another and with what SWF says of that: the longest is the one.
    fitting = [(len(quote), name) for quote, name in quotes if text.startswith(quote, at)]
    length, member = max(fitting, default=(0, ""))
    return member, at + length


def _flat(fields: Fields) -> Iterator[tuple[str, Any]]:
    """Each field as SWF names it: ``taskList.name``."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, value


def _without(text: str, fields: Fields) -> str:
    """The text without what the fields of a worker hold, in whatever spelling it quotes them."""
    for value in (str(fields[name]) for name in _FOREIGN if fields.get(name)):
        if len(value) < _TELLING:
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text)
            continue
        for spelling in (value, json.dumps(value)[1:-1], repr(value)[1:-1]):
            before, begins, _ = text.partition(spelling[:_TELLING])
            text = f"{before}…" if begins else text
    return text
