"""What a web page of another site can make its reader's browser send, and must not get done here.

A browser names the site in ``Origin`` or ``Sec-Fetch-Site``; a page that rebinds a name of its own
to this address names that in ``Host``; and without being asked first it sends no JSON.
"""

import ipaddress
import socket
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

JSON = "application/json"
_LOCAL_ENDS = (".localhost", ".internal", ".local")
"""Names that nobody can have in the public DNS, as one without a dot: containers use them."""


def refusal(headers: Mapping[str, str], *, wants_json: bool) -> tuple[int, str]:
    """The HTTP status and the reason for a request that another site's page may have sent.

    0 for any other. ``headers`` by their names in lower case; ``wants_json`` where the request is
    to have a body of JSON.
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
    """Host and port; nothing where the origin has none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
