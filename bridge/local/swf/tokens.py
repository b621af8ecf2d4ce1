"""Task tokens: opaque, as long as the service's, with a checksum that tells them from noise.

A valid token of an unknown task (deleted, or of an earlier process) gets UnknownResourceFault, as
in SWF; an invalid token gets ValidationException. The token contains the id of the scheduled event,
which the message of that fault names.
"""

import base64
import binascii
import os
import struct
import zlib

_HEAD = b"\0\0\0\x2a\0\0\0\x02"
_EVENT = struct.Struct(">I")
SHORTEST = 100


def new_token(scheduled_event_id: int, length: int) -> str:
    """Return a new random token; `length` is rounded down to a multiple of four."""
    size = length // 4 * 3
    body = _HEAD + _EVENT.pack(scheduled_event_id)
    body += os.urandom(size - len(body) - _EVENT.size)
    return base64.b64encode(body + _EVENT.pack(zlib.crc32(body))).decode("ascii")


def scheduled_event_of(token: str) -> int | None:
    """Return the scheduled event's id of a token, or None if the token is invalid."""
    try:
        raw = base64.b64decode(token, validate=True)
    except (ValueError, binascii.Error):
        return None
    body, check = raw[: -_EVENT.size], raw[-_EVENT.size :]
    if not body.startswith(_HEAD) or check != _EVENT.pack(zlib.crc32(body)):
        return None
    return int(_EVENT.unpack_from(body, len(_HEAD))[0])
