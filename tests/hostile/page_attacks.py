"""Attacks by who reaches the daemon's page."""

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from .registry import attack

if TYPE_CHECKING:
    from .site import Site


@attack(quick=True, before="/metrics starves")
def idle_connections_to_the_page(site: "Site") -> None:
    """24 connections that say nothing, opened anew whenever the daemon has closed them; `/metrics`
    must answer within 2 s.
    """
    host, _, port = site.page.rpartition(":")
    with ExitStack() as stack:
        while site.attacking(every=0.5):
            for _ in range(24):
                stack.enter_context(socket.create_connection((host, int(port)), 5))
            site.page_answers()


@attack()
def requests_to_the_page_that_never_end(site: "Site") -> None:
    """64 connections that send a header line a second; `/metrics` must answer within 2 s."""
    host, _, port = site.page.rpartition(":")
    with ExitStack() as stack:
        open_ones: list[socket.socket] = []
        while site.attacking(every=1.0):
            for each in list(open_ones):
                try:
                    each.sendall(b"X-More: x\r\n")
                except OSError:
                    open_ones.remove(each)
            while len(open_ones) < 64:
                made = stack.enter_context(socket.create_connection((host, int(port)), 5))
                made.sendall(b"GET /metrics HTTP/1.1\r\n")
                open_ones.append(made)
            site.page_answers()


@attack(before="500 with a traceback")
def strange_wishes_to_the_page(site: "Site") -> None:
    """Requests for formats, hosts and paths that there are not: none is an error of the page's."""
    wishes = (
        "text/plain;version=x",
        "text/plain;version=",
        "application/openmetrics-text;version=\u00e9",
        "text/plain; escaping=x; version=1.0.0",
        "application/openmetrics-text; version=9.9.9; charset=utf-8; escaping=allow-utf-8",
        ";;;=,=,=;q=nan",
        "x" * 30_000,
    )
    while site.attacking(every=0.2):
        for wish in wishes:
            told = site.page_answers(Accept=wish)
            assert "swf_bridge_polls_total" in told, f"no metrics for Accept: {wish[:40]}"
