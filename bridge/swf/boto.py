"""Calls of SWF by boto3's client: it can do whatever the AWS configuration asks for."""

import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from bridge.bounds import check_json, decode_json
from bridge.swf.aws import Aws
from bridge.swf.errors import error_from
from bridge.swf.runner import ANSWER_LIMIT, Answer, Call, InPlace, Wire

_CHUNK = 64 * 1024
_COMPRESSED = ("gzip", "x-gzip", "deflate")
_ANY_HEADER = 32 + zlib.MAX_WBITS
"""zlib: gzip's header or its own."""


class Boto3:
    """Calls by boto3's client: the way that can all that boto3 can. Raises ConfigError."""

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
        """The ``Date`` of the last answer, be it a refusal."""
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
        """Where the calls go."""
        return str(self._clients[False].meta.endpoint_url)

    @property
    def region(self) -> str:
        """The region that signs them."""
        return str(self._clients[False].meta.region_name)

    def call(self, call: Call) -> Answer:
        """As ``Caller`` promises."""
        try:
            client = self._clients[call.held]
            answer: Answer = getattr(client, xform_name(call.operation))(**call.fields)
        except Exception as raised:  # noqa: BLE001 - botocore's parsers raise anything over noise
            error = error_from(raised, call.fields)
            self._judged(error)
            raise error from None
        return answer

    def _note_date(self, http_response: Any, **_: Any) -> None:
        self.answered_at = http_response.headers.get("date", "")

    def wire(self, room: int, *, held: bool) -> Wire:
        """As ``Caller``; there is room for one."""
        del room, held
        return InPlace(self.call)


def _send(client: Any, limit: int, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
    """Send the request in botocore's place, which would read an answer without an end."""
    request.stream_output = True
    response: AWSResponse = client._endpoint.http_session.send(request)
    response._content = _read(response, limit)  # type: ignore[attr-defined]
    return response


def _read(response: AWSResponse, limit: int) -> bytes:
    """The body, decompressed where a proxy has compressed it. Raises ValueError over the limit."""
    compressed = response.headers.get("content-encoding", "identity").lower() in _COMPRESSED
    inflate = zlib.decompressobj(_ANY_HEADER) if compressed else None
    body, left = [], limit
    for chunk in response.raw.stream(_CHUNK):
        plain = inflate.decompress(chunk, left + 1) if inflate else chunk
        left -= len(plain)
        if left < 0:
            response.raw.close()
            raise ValueError(f"an answer of over {limit} bytes")
        body.append(plain)
    return b"".join(body)


def _refuse_depth(response_dict: Mapping[str, Any], **_: Any) -> None:
    """Raise ValueError for an answer that is nested so deep that a decoder may crash over it."""
    check_json(response_dict["body"], size=len(response_dict["body"]))


def _refuse_garbage(http_response: Any, parsed: Mapping[str, Any], **_: Any) -> None:
    """Raise ValueError for a success whose body is no JSON object: a proxy's, or cut.

    botocore takes it for an empty answer; a result that SWF never saw would count as delivered.
    """
    body = http_response.content
    if (
        body
        and not parsed.keys() - {"ResponseMetadata"}
        and not isinstance(decode_json(body, size=len(body)), dict)
    ):
        raise ValueError("the answer is no JSON object")
