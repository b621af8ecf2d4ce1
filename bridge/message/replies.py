"""Decodes workers' replies, and cuts them to SWF's limits (contract §3). Pure."""

from collections.abc import Mapping
from typing import Any

from bridge.bounds import SIZE, TooDeep, TooLarge, decode_json, texts_at_ends
from bridge.errors import BadReply, Rejected
from bridge.message.message import CUT_HEADER, STATUS_HEADER, TOKEN_HEADER, compact_json
from bridge.task import (
    DETAILS_LIMIT,
    HEARTBEAT_DETAILS_LIMIT,
    REASON_LIMIT,
    RESULT_LIMIT,
    TOKEN_LIMIT,
    Canceled,
    Completed,
    Failed,
    Heartbeat,
    Reply,
    cut,
    utf16_length,
)

VALUES = 65_536
"""Maximum number of commas, arrays and objects in a reply: twice what fits SWF's limit."""

TOO_LARGE = "too-large"
DEAD_LETTER_CODES = {
    "not-utf8": "the body is not UTF-8",
    "not-json": "the body is not JSON (NaN and infinities are none)",
    "not-an-object": "the body is JSON, but not an object",
    "too-deep": "the body nests arrays and objects deeper than 100 levels",
    TOO_LARGE: "the body is over 1 MiB or 65,536 values; a task that it names was failed",
    "token-missing": "neither the body nor the headers name a task token",
    "token-invalid": "the token is no string of 1 to 1,024 characters, or SWF calls it invalid",
    "status-missing": "neither the body nor the headers name a status",
    "status-unknown": "the status is none of completed, failed, canceled, heartbeat",
    "result-too-large": "the result is over SWF's limit; the task was failed",
    "refused-by-swf": "SWF refused the reply for good; the task was failed",
}
"""Every value of ``swf-bridge-error``, and what it means."""


def decode_reply(body: bytes, headers: Mapping[str, Any]) -> Reply:
    """The reply in a message, cut to SWF's limits.

    Raises BadReply for a message that is not a valid reply, and Rejected if its task must also be
    failed in SWF.
    """
    try:
        fields = object_of(body) if body else {}
    except BadReply as error:
        raise _with_task(error, body, headers) from None
    token = token_in(first_of(fields.get("taskToken"), headers.get(TOKEN_HEADER)))
    status = first_of(fields.get("status"), headers.get(STATUS_HEADER))
    match status:
        case "completed":
            return Completed(token, _result(token, _text(fields.get("result"))))
        case "failed":
            reason = _cut(fields.get("reason"), REASON_LIMIT)
            return Failed(token, reason, _cut(fields.get("details"), DETAILS_LIMIT))
        case "canceled":
            return Canceled(token, _cut(fields.get("details"), DETAILS_LIMIT))
        case "heartbeat":
            return Heartbeat(token, _cut(fields.get("details"), HEARTBEAT_DETAILS_LIMIT))
        case None:
            raise _bad("status-missing")
    raise _bad("status-unknown")


def token_of(body: bytes, headers: Mapping[str, Any]) -> str:
    """The token of a bad reply, or an empty string if none is found."""
    try:
        fields = object_of(body) if body else {}
    except BadReply as error:
        fields = texts_at_ends(body, ("taskToken",)) if error.code == TOO_LARGE else {}
    try:
        return token_in(first_of(fields.get("taskToken"), headers.get(TOKEN_HEADER)))
    except BadReply:
        return ""


def _with_task(error: BadReply, body: bytes, headers: Mapping[str, Any]) -> BadReply:
    """The error; if the reply is too large but its ends show a task that it closes, Rejected."""
    if error.code != TOO_LARGE:
        return error
    whole = headers.get(CUT_HEADER)
    size = f"{whole} bytes, over the bound of {SIZE}" if isinstance(whole, int) else error.detail
    why = f"reply is not read: {size}"
    seen = texts_at_ends(body, ("status",))
    status, token = (
        first_of(seen.get("status"), headers.get(STATUS_HEADER)),
        token_of(body, headers),
    )
    if token and status in ("completed", "failed", "canceled"):
        return Rejected(TOO_LARGE, why, token=token, reason=why)
    return BadReply(TOO_LARGE, why)


def object_of(body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises BadReply if there is none."""
    try:
        fields = decode_json(body, size=SIZE, values=VALUES)
    except TooLarge as error:
        raise BadReply(TOO_LARGE, str(error)) from None
    except UnicodeDecodeError:
        raise _bad("not-utf8") from None
    except TooDeep:
        raise _bad("too-deep") from None
    except ValueError:
        raise _bad("not-json") from None
    if not isinstance(fields, dict):
        raise _bad("not-an-object")
    return fields


def first_of(from_body: object, from_headers: object) -> object:
    """The body's value, or the headers' if that is None."""
    if from_body is not None:
        return from_body
    return from_headers


def token_in(value: object) -> str:
    """The token. Raises BadReply if the value cannot be a token."""
    if value is None:
        raise _bad("token-missing")
    if not isinstance(value, str) or not 1 <= utf16_length(value) <= TOKEN_LIMIT:
        raise _bad("token-invalid")
    return value


def _text(value: object) -> str | None:
    """The field as a string: any other value becomes compact JSON."""
    if value is None or isinstance(value, str):
        return value
    try:
        return compact_json(value)
    except ValueError:  # a number too large for a float was decoded as infinity
        raise _bad("not-json") from None


def _result(token: str, result: str | None) -> str | None:
    if result is not None and (length := utf16_length(result)) > RESULT_LIMIT:
        reason = f"result of {length} characters is over SWF's limit of {RESULT_LIMIT}"
        raise Rejected("result-too-large", reason, token=token, reason=reason)
    return result


def _cut(value: object, limit: int) -> str | None:
    text = _text(value)
    return None if text is None else cut(text, limit)


def _bad(code: str) -> BadReply:
    return BadReply(code, DEAD_LETTER_CODES[code])
