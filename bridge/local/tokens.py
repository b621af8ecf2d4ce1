"""Task tokens: opaque to a client, as long as the service's, told apart from noise by a checksum.

A token of a task that this process no longer knows (it was cleared, or belongs to an earlier
life) is still a token: SWF answers it with UnknownResourceFault, and noise with a
ValidationException. The scheduled event's id in it serves that answer.
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
    """Return a fresh token of `length` characters, rounded down to a multiple of four."""
    size = length // 4 * 3
    body = _HEAD + _EVENT.pack(scheduled_event_id)
    body += os.urandom(size - len(body) - _EVENT.size)
    return base64.b64encode(body + _EVENT.pack(zlib.crc32(body))).decode("ascii")


def scheduled_event_of(token: str) -> int | None:
    """Return the scheduled event's id of a token, or None where it is no token of an SWF."""
    try:
        raw = base64.b64decode(token, validate=True)
    except (ValueError, binascii.Error):
        return None
    body, check = raw[: -_EVENT.size], raw[-_EVENT.size :]
    if not body.startswith(_HEAD) or check != _EVENT.pack(zlib.crc32(body)):
        return None
    return int(_EVENT.unpack_from(body, len(_HEAD))[0])
