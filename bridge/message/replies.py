"""Decodes workers' replies, and cuts them to SWF's limits (contract §3). Pure."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bridge.bounds import SIZE, TooDeep, TooLarge, decode_json, texts_at_ends
from bridge.errors import BadReply, Rejected
from bridge.message.message import CUT_HEADER, STATUS_HEADER, TOKEN_HEADER, compact_json_parts
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

ENOUGH = 2048
"""Parts of a field that is no string which are encoded, even if fewer are over its limit."""

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
        name_token(error, body, headers)
        raise (_too_large(error, body, headers) if error.code == TOO_LARGE else error) from None
    token = token_in(first_of(fields.get("taskToken"), headers.get(TOKEN_HEADER)))
    try:
        return _reply(token, first_of(fields.get("status"), headers.get(STATUS_HEADER)), fields)
    except BadReply as error:
        error.token = token
        raise


def _reply(token: str, status: object, fields: Mapping[str, Any]) -> Reply:
    match status:
        case "completed":
            return Completed(token, _result(token, fields.get("result")))
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


def name_token(error: BadReply, body: bytes, headers: Mapping[str, Any]) -> None:
    """Give the error about a body that is not decoded the token of its ends or its headers."""
    seen = texts_at_ends(body, ("taskToken",)) if error.code == TOO_LARGE else {}
    with suppress(BadReply):
        error.token = token_in(first_of(seen.get("taskToken"), headers.get(TOKEN_HEADER)))


def _too_large(error: BadReply, body: bytes, headers: Mapping[str, Any]) -> BadReply:
    """The error about a reply that is too large: Rejected if its ends show a task it closes."""
    whole = headers.get(CUT_HEADER)
    size = f"{whole} bytes, over the bound of {SIZE}" if isinstance(whole, int) else error.detail
    why = f"reply is not read: {size}"
    status = first_of(texts_at_ends(body, ("status",)).get("status"), headers.get(STATUS_HEADER))
    if error.token and status in ("completed", "failed", "canceled"):
        return Rejected(TOO_LARGE, why, token=error.token, reason=why)
    return BadReply(TOO_LARGE, why, token=error.token)


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


def _text(value: object, limit: int) -> str | None:
    """The field as a string: any other value becomes compact JSON.

    That of a value of over ENOUGH parts may end anywhere over ``limit``.
    """
    if value is None or isinstance(value, str):
        return value
    parts: list[str] = []
    length = 0
    try:
        for part in compact_json_parts(value):
            parts.append(part)
            length += len(part)
            if length > limit and len(parts) > ENOUGH:
                break
    except ValueError:  # a number too large for a float was decoded as infinity
        raise _bad("not-json") from None
    return "".join(parts)


def _result(token: str, value: object) -> str | None:
    result = _text(value, RESULT_LIMIT)
    if result is not None and (length := utf16_length(result)) > RESULT_LIMIT:
        size = length if isinstance(value, str) else f"at least {length}"
        reason = f"result of {size} characters is over SWF's limit of {RESULT_LIMIT}"
        raise Rejected("result-too-large", reason, token=token, reason=reason)
    return result


def _cut(value: object, limit: int) -> str | None:
    text = _text(value, limit)
    return None if text is None else cut(text, limit)


def _bad(code: str) -> BadReply:
    return BadReply(code, DEAD_LETTER_CODES[code])
