"""Translates errors of SWF and botocore into those of ``bridge.errors``, and names their codes."""

import builtins
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import botocore.exceptions
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
"""AWS refuses the credentials or our clock: either may be corrected, so calls are retried."""
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
"""The codes that are handled by name."""


TOKEN = "taskToken"  # noqa: S105 - the name of a field
_FOREIGN = (TOKEN, "result", "reason", "details")
"""The fields that a worker fills in: their values are removed from every text."""
_READ = 128 * 1024
"""Characters of an error's text that are read: more than all fields of a call have together."""
_TOLD = 500
"""Characters of an error's text that are kept at most."""
_CODE_TOLD = 100
"""Characters of an error's code that are kept: any server may have written the code."""
_TELLING = 16
"""Leading characters of a worker's text at which an error's text that holds them is cut off."""

_PROBLEMS = 16
"""Problems of one error that are parsed: no call of ours has more fields."""

Fields = Mapping[str, Any]
"""The fields of a call, under SWF's names; its error may quote their values."""


class NotTaken(BadReply):
    """A permanent refusal by SWF; ``member`` is the field that it names, empty for none."""

    def __init__(self, code: str, detail: str, member: str = "") -> None:
        super().__init__(code, detail)
        self.member = member


def error_from(error: Exception, fields: Fields | None = None) -> Exception:
    """Translate an exception of botocore, in a call with ``fields`` or in finding credentials."""
    if isinstance(error, Unavailable):
        return error
    if not isinstance(error, ClientError):
        return Unavailable(type(error).__name__, without_values(str(error), fields))
    answer = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return error_for(str(answer.get("Code", "")), status, str(answer.get("Message", "")), fields)


def error_for(code: str, status: int, text: str, fields: Fields | None = None) -> Exception:
    """The exception for SWF's error answer to a call with ``fields``.

    TaskClosed for an unknown resource, Refused if the operator must change something, Unavailable
    if a retry may succeed, NotTaken for a permanent refusal. The code decides, with the HTTP
    status; no word of the text that a worker may have written does.
    """
    code, told = code[:_CODE_TOLD], without_values(text, fields)
    if code == "UnknownResourceFault":
        return TaskClosed(told)
    if code in _NOT_PERMITTED:
        return Refused(code, told)
    # A code of digits is the HTTP status of an answer that SWF did not write: a proxy's page.
    if code in _FOR_NOW or not 400 <= status < 500 or not code or code.isdigit():
        return Unavailable(code or str(status), told)
    member = _blamed(text, fields or {}) if code == "ValidationException" else ""
    return NotTaken(code, f"{code}: {told}", member)


def without_values(text: str, fields: Fields | None = None) -> str:
    """An error's text without the worker's values that it may quote."""
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
    """The field that SWF blames, found only in SWF's own words; empty for none."""
    if text.startswith("Invalid token"):
        return TOKEN
    members = [member for member, _ in _problems(text[:_READ], fields)]
    return TOKEN if TOKEN in members else next(iter(members), "")


def _problems(text: str, fields: Fields) -> list[tuple[str, str]]:
    """The fields that SWF finds invalid, each with its reason; none if the form is not SWF's.

    A quoted value must equal the value sent, so a value that contains such a sentence itself is
    skipped as a whole. After _PROBLEMS problems the rest counts as the last one's reason.
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
    """The field named at position ``at``, empty for none, and the position after its name."""
    if elided := _ELIDED.match(text, at):
        return elided[1], elided.end()
    # One value may begin with another and SWF's words after it: the longest match is right.
    fitting = [(len(quote), name) for quote, name in quotes if text.startswith(quote, at)]
    length, member = max(fitting, default=(0, ""))
    return member, at + length


def _flat(fields: Fields) -> Iterator[tuple[str, Any]]:
    """Each field under the name that SWF's errors use: ``taskList.name``."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, value


def _without(text: str, fields: Fields) -> str:
    """The text without the values of a worker's fields, plain, in JSON or as ``repr``."""
    for value in (str(fields[name]) for name in _FOREIGN if fields.get(name)):
        if len(value) < _TELLING:
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text)
            continue
        for spelling in (value, json.dumps(value)[1:-1], repr(value)[1:-1]):
            before, begins, _ = text.partition(spelling[:_TELLING])
            text = f"{before}…" if begins else text
    return text


_NEVER = {
    "DefaultUndefinedFault",
    "InvalidAction",
    "InvalidParameterCombination",
    "InvalidParameterValue",
    "MalformedHttpRequestException",
    "MalformedQueryString",
    "MissingAction",
    "MissingParameter",
    "RequestAbortedException",
    "RequestEntityTooLargeException",
    "ResponseParserError",
    "SerializationException",
    "TypeDeprecatedFault",
    "UnknownOperationException",
    "UnknownResourceFault",
    "ValidationError",
    "ValidationException",
}
_RAISED = {"JSONDecodeError", "ProtocolError", "TooDeep", "TooLarge"}
"""Exceptions of decoding an answer that neither Python nor botocore defines."""
_OURS = {"ConnectionFailed", "GarbledAnswer"}
_KNOWN = CODES | _NEVER | _RAISED | _OURS
OTHER = "other"


def known_code(error: Exception) -> str:
    """The error's code, from a bounded set of about 1,300, whatever a server answers.

    An exception without a code is named by its class. A code that is not in AWS, HTTP, Python,
    botocore or this package is OTHER.
    """
    code = getattr(error, "code", None)
    if code is None:
        return type(error).__name__
    is_status = len(code) == 3 and code.isascii() and code.isdigit()
    is_class = any(hasattr(module, code) for module in (botocore.exceptions, builtins))
    return code if code in _KNOWN or is_status or is_class else OTHER
