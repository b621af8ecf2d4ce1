"""Calls to SWF through boto3's client, which supports every AWS configuration."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http.client import HTTPResponse
from typing import Any

from botocore import xform_name
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPSConnection,
    AWSPreparedRequest,
    AWSResponse,
)

from bridge.bounds import check_json, decode_json
from bridge.swf.aws import Aws
from bridge.swf.errors import error_from
from bridge.swf.runner import ANSWER_LIMIT, Answer, Call, InPlace, Wire

_CHUNK = 64 * 1024
_COMPRESSED = ("gzip", "x-gzip", "deflate")
_MOST_CODINGS = 3
_SWITCHING = 101
_MOST_INTERIM = 20
_LINE = 64 * 1024


class Boto3:
    """A ``Caller`` that uses boto3's client. The constructor raises ConfigError."""

    side_by_side = False

    def __init__(
        self, *, pollers: int, responders: int, read_timeout: float, aws: Aws | None = None
    ) -> None:
        aws = aws or Aws()
        self._judged = aws.credentials.judged
        self._clients = {
            True: aws.make_client(connections=pollers, read_timeout=read_timeout),
            False: aws.make_client(connections=responders),
        }
        self.answered_at = ""
        """The ``Date`` header of the last answer, also of a refusal; empty if it had none."""
        for held, client in self._clients.items():
            send = partial(_send, client, ANSWER_LIMIT[held])
            client.meta.events.register("before-send.swf", send)
            client.meta.events.register("before-parse.swf", _refuse_depth)
            client.meta.events.register("after-call.swf", self._note_date)
            client.meta.events.register("after-call.swf", _refuse_garbage)

    def __repr__(self) -> str:
        return f"<Boto3 to {self.endpoint}>"

    @property
    def endpoint(self) -> str:
        """The URL that calls are sent to."""
        return str(self._clients[False].meta.endpoint_url)

    @property
    def region(self) -> str:
        """The region that calls are signed for."""
        return str(self._clients[False].meta.region_name)

    def call(self, call: Call) -> Answer:
        """Implement ``Caller.call``."""
        try:
            client = self._clients[call.held]
            answer: Answer = getattr(client, xform_name(call.operation))(**call.fields)
        except Exception as raised:  # noqa: BLE001 - botocore's parsers raise anything on garbage
            error = error_from(raised, call.fields)
            self._judged(error)
            raise error from None
        return answer

    def _note_date(self, http_response: Any, **_: Any) -> None:
        self.answered_at = http_response.headers.get("date", "")

    def wire(self, room: int, *, held: bool) -> Wire:
        """Implement ``Caller.wire``; this wire carries one call at a time."""
        del room, held
        return InPlace(self.call)


def _send(client: Any, limit: int, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
    """Send the request in place of botocore, which reads answers of unlimited length."""
    request.stream_output = True
    response: AWSResponse = client._endpoint.http_session.send(request)
    response._content = _read(response, limit)  # type: ignore[attr-defined]
    return response


def _read(response: AWSResponse, limit: int) -> bytes:
    """The body, decompressed if a proxy compressed it. Raises ValueError over ``limit`` bytes."""
    if response.status_code < 200:
        raise ValueError(f"no answer came after an interim {response.status_code}")
    inflates = _inflates(response.headers.get("content-encoding", ""))
    body, left = [], limit
    for chunk in response.raw.stream(_CHUNK):
        plain = chunk
        for inflate in inflates:
            plain = inflate(plain, left + 1)
        left -= len(plain)
        if left < 0:
            response.raw.close()
            raise ValueError(f"an answer of over {limit} bytes")
        body.append(plain)
    return b"".join(body)


def _inflates(encoding: str) -> Sequence[Callable[[bytes, int], bytes]]:
    """The functions that undo a body's content codings, in the order in which to call them."""
    codings = [each.strip().lower() for each in encoding.split(",")]
    found = [_Inflate(each).more for each in reversed(codings) if each in _COMPRESSED]
    if len(found) > _MOST_CODINGS:
        raise ValueError("an answer that is compressed too often")
    return found


class _Inflate:
    """Decompresses one body. "deflate" is read with zlib's header or, as is common, without."""

    def __init__(self, coding: str) -> None:
        self._bits = zlib.MAX_WBITS if coding == "deflate" else 16 + zlib.MAX_WBITS
        self._inflate: Any = None

    def more(self, data: bytes, most: int) -> bytes:
        """Decompress the next chunk of the body, to ``most`` bytes at most."""
        if self._inflate is None and data:
            if self._bits == zlib.MAX_WBITS and data[0] & 0x0F != zlib.DEFLATED:
                self._bits = -zlib.MAX_WBITS
            self._inflate = zlib.decompressobj(self._bits)
        return bytes(self._inflate.decompress(data, most)) if data else b""


class _Response(HTTPResponse):
    """Skips interim answers such as 103. http.client skips only 100.

    http.client would take a 103 for the answer and leave the real one, perhaps a task, unread.
    """

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MOST_INTERIM):
            told: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not _SWITCHING < told[1] < 200:
                break
            while self.fp.readline(_LINE).strip():
                pass
        return told


for _each in (AWSHTTPConnection, AWSHTTPSConnection):
    _each.response_class = _Response  # type: ignore[assignment]


def _refuse_depth(response_dict: Mapping[str, Any], **_: Any) -> None:
    """Raise ValueError for an answer nested so deeply that a JSON decoder may crash on it."""
    check_json(response_dict["body"], size=len(response_dict["body"]))


def _refuse_garbage(http_response: Any, parsed: Mapping[str, Any], **_: Any) -> None:
    """Raise ValueError for a 2xx answer whose body is no JSON object: a proxy's page, or cut off.

    botocore treats it as an empty answer, so a result that SWF never got would seem delivered.
    """
    body = http_response.content
    if (
        body
        and not parsed.keys() - {"ResponseMetadata"}
        and not isinstance(decode_json(body, size=len(body)), dict)
    ):
        raise ValueError("the answer is no JSON object")
