"""Calls to SWF through libcurl, which signs them: a tenth of the CPU of boto3's client.

boto3 still resolves region, endpoint, credentials, proxies and CA file (``aws``). A runner's calls
go side by side on the runner's thread (``curl_wire``); ``call`` makes one call and blocks.

A call is one attempt, with one exception: if a reused connection turns out to be closed before the
first byte of the answer, libcurl sends the request again on a new connection.
"""

import threading
from functools import partial
from typing import Any

from bridge import __version__
from bridge.swf.aws import ANSWER_TIMEOUT, Aws, KeptCredentials, proxy_for
from bridge.swf.curl_wire import AGENT, CurlWire, Handle, Multi, Target, obstacle
from bridge.swf.runner import Answer, Call

USER_AGENT = f"swf-bridge/{__version__} {AGENT}"


class Impossible(Exception):
    """The AWS configuration needs what this libcurl cannot do: use boto3's client."""


class Curl:
    """A ``Caller`` that uses PycURL. The constructor raises ConfigError and Impossible."""

    side_by_side = True

    def __init__(self, aws: Aws, *, read_timeout: float) -> None:
        client = aws.make_client()
        if reason := _obstacle(aws, client.meta.config):
            raise Impossible(reason)
        self.endpoint: str = client.meta.endpoint_url
        """The URL that calls are sent to."""
        # libcurl's time-out runs from the start of the call, boto3's from the last byte received.
        timeout = {True: aws.connect_timeout + read_timeout, False: ANSWER_TIMEOUT}
        signing = client.meta.service_model.signing_name
        self._targets = {
            held: Target(
                self.endpoint,
                f"aws:amz:{client.meta.region_name}:{signing}",
                USER_AGENT,
                aws.connect_timeout,
                timeout[held],
                proxy_for(self.endpoint),
                aws.authorities(),
            )
            for held in timeout
        }
        self._judged = aws.credentials.judged
        self._credentials = KeptCredentials(aws.credentials)
        self._own = threading.local()

    def __repr__(self) -> str:
        return f"<Curl to {self.endpoint}>"

    def call(self, call: Call) -> Answer:
        """Implement ``Caller.call``."""
        name = "poll" if call.held else "answer"
        handle: Handle | None = getattr(self._own, name, None)
        if handle is None:
            handle = self._handle(call.held)
            setattr(self._own, name, handle)
        handle.prepare(call, self._credentials.now())
        try:
            return handle.answer(handle.perform())
        except Exception as error:
            self._judged(error)
            raise

    def wire(self, room: int, *, held: bool) -> CurlWire:
        """Implement ``Caller.wire``."""
        multi = Multi(room, self._targets[held].timeout)
        make = partial(self._handle, held)
        return CurlWire(multi, make, self._credentials.current, self._judged)

    def _handle(self, held: bool) -> Handle:
        return Handle(self._targets[held])


def _obstacle(aws: Aws, config: Any) -> str:
    """Why libcurl cannot serve this AWS configuration; empty if it can."""
    if reason := obstacle():
        return reason
    if config.signature_version != "v4":
        return f"signature version {config.signature_version}"
    return "client-side monitoring or plugins" if aws.monitored() else ""
