"""Refuse requests that a web page of another site made its reader's browser send.

A browser names that site in ``Origin`` or ``Sec-Fetch-Site``. In a DNS rebinding attack ``Host``
is the attacker's name. A browser sends JSON to another site only after a CORS preflight.
"""

import ipaddress
import socket
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

JSON = "application/json"
_LOCAL_ENDS = (".localhost", ".internal", ".local")
"""Suffixes that public DNS does not have; like names without a dot, containers use them."""


def refusal(headers: Mapping[str, str], *, wants_json: bool) -> tuple[int, str]:
    """HTTP status and reason to refuse a request that another site's page may have sent.

    The status is 0 for a request to accept. ``headers`` are keyed by lower-case name. With
    ``wants_json`` the request must have a JSON body.
    """
    host = headers.get("host", "")
    if not _is_local(host):
        return (
            421,
            f"no host {host[:80]!r} here; ask by address, or by a name of this machine",
        )
    origin = headers.get("origin")
    if origin is not None and _netloc(origin) != host:
        return 403, "a page of another site asks for this"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return 403, "a page of another site asks for this"
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if wants_json and kind != JSON:
        return 415, f"the body wants Content-Type: {JSON}"
    return 0, ""


@lru_cache(maxsize=64)
def _is_local(host: str) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if "." not in name and ":" not in name:
        return True
    if name.endswith(_LOCAL_ENDS) or name == socket.gethostname().casefold():
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _netloc(origin: str) -> str:
    """Host and port of an origin; empty if it has none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
