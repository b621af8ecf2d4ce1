"""Warns of valid settings that expose data: unencrypted connections and a public status page."""

import ipaddress
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from bridge.settings.environment import variable
from bridge.settings.settings import Settings

_ENDPOINTS = ("AWS_ENDPOINT_URL_SWF", "AWS_ENDPOINT_URL")


def concerns(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each warning, which begins with a variable's name and holds no secret."""
    plain = [url for url in settings.amqp_urls if url.startswith("amqp:")]
    hosts = dict.fromkeys(urlsplit(url).hostname or "" for url in plain)
    remote = [host for host in hosts if not is_loopback(host)]
    for host in remote:
        yield (
            f"{variable('amqp_url')}: the password and every task go to {host} in the clear;"
            " amqps:// has TLS"
        )
    if remote and len(plain) < len(settings.amqp_urls):
        yield (
            f"{variable('amqp_url')}: mixes amqps:// with amqp://; who keeps TLS from working"
            " gets the password"
        )
    for name in _ENDPOINTS:
        if concern := endpoint_concern(environ.get(name, "")):
            yield f"{name}: {concern}"
    if settings.http is not None and not is_loopback(settings.http.host):
        yield (
            f"{variable('http')}: the page has no login; whoever reaches {settings.http} reads"
            " names, counts and errors"
        )


def endpoint_concern(url: str) -> str:
    """The warning for an SWF endpoint with unencrypted HTTP; empty if there is none."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    if url.lower().startswith("http:") and not is_loopback(host):
        return f"tokens, inputs and results go to {host} in the clear; https:// has TLS"
    return ""


def is_loopback(host: str) -> bool:
    """Whether the name or address is certain to be this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
