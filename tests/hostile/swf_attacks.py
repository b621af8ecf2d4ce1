"""Attacks by an endpoint that answers otherwise than SWF does."""

import gzip
from collections.abc import Iterator
from itertools import repeat
from typing import TYPE_CHECKING, BinaryIO

from .registry import attack

if TYPE_CHECKING:
    from .site import Site

POLL = "PollForActivityTask"
BLOCK = b"x" * 1024 * 1024


def _endless(head: bytes, blocks: Iterator[bytes], out: BinaryIO) -> None:
    out.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n" + head + b"\r\n")
    for block in blocks:
        out.write(block)


@attack(lying=True, SWF_BRIDGE_SWF_CLIENT="curl", before="6 GB in 30 s")
def a_poll_that_is_answered_without_end(site: "Site") -> None:
    """A poll's answer is a string that never ends, as fast as the network takes it."""
    site.liar.lie(POLL, b'"attacked"', lambda out: _endless(b"", repeat(BLOCK), out))
    while site.attacking(every=0.2):
        pass


@attack(lying=True, SWF_BRIDGE_SWF_CLIENT="boto3")
def a_poll_that_is_answered_without_end_to_boto3(site: "Site") -> None:
    """The same, where boto3 calls SWF."""
    a_poll_that_is_answered_without_end(site)


@attack(lying=True, SWF_BRIDGE_SWF_CLIENT="boto3")
def a_poll_that_is_answered_by_a_bomb(site: "Site") -> None:
    """A poll's answer is 10 MB of gzip that hold 10 GB, where boto3 calls SWF."""
    one = gzip.compress(b" " * 100_000_000)

    def bomb(out: BinaryIO) -> None:
        _endless(b"Content-Encoding: gzip\r\n", repeat(one, 100), out)

    site.liar.lie(POLL, b'"attacked"', bomb)
    while site.attacking(every=0.2):
        pass


@attack(lying=True)
def headers_of_swf_without_end(site: "Site") -> None:
    """A poll's answer is one header after the other."""

    def headers(out: BinaryIO) -> None:
        out.write(b"HTTP/1.1 200 OK\r\n")
        for _ in repeat(None):
            out.write(b"X-More: " + b"x" * 8000 + b"\r\n")

    site.liar.lie(POLL, b'"attacked"', headers)
    while site.attacking(every=0.2):
        pass


@attack(lying=True, before="/metrics 500 for good")
def errors_of_swf_with_names_of_their_own(site: "Site") -> None:
    """Every poll is refused with another error code, one of them with half a surrogate pair; the
    page must go on, and not grow with them.
    """
    count = iter(range(10**9))

    def refuse(out: BinaryIO) -> None:
        body = b'{"__type": "a#Fault%d\\ud800", "message": "\\ud800"}' % next(count)
        head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\n"
        out.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    site.liar.lie(POLL, b'"attacked"', refuse)
    while site.attacking(every=1.0):
        told = site.page_answers()
    codes = [line for line in told.splitlines() if line.startswith("swf_bridge_swf_requests_total")]
    assert not [line for line in codes if "Fault1" in line], "codes of the endpoint are labels"
