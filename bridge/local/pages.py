"""Split lists into pages by nextPageToken, maximumPageSize and reverseOrder."""

import base64
from typing import Any

from bridge.local.errors import SwfError
from bridge.local.limits import MAX_PAGE


def page(member: str, entries: list[dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """Return the page of `entries` that the request asks for, as member `member`."""
    start = _offset(request.get("nextPageToken"))
    stop = start + (request.get("maximumPageSize") or MAX_PAGE)
    ordered = entries[::-1] if request.get("reverseOrder") else entries
    answer: dict[str, Any] = {member: ordered[start:stop]}
    if stop < len(entries):
        answer["nextPageToken"] = base64.b64encode(b"page:%d" % stop).decode("ascii")
    return answer


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        return int(base64.b64decode(token, validate=True).decode("ascii").removeprefix("page:"))
    except ValueError as error:
        raise SwfError("ValidationException", "Invalid token") from error
