"""Attacks by what a reply holds."""

from typing import TYPE_CHECKING

from .registry import attack

if TYPE_CHECKING:
    from .site import Site

MILLION = 10**6


@attack()
def a_reply_of_120_megabytes(site: "Site") -> None:
    """One reply whose body is `{},{},…` as far as RabbitMQ takes it."""
    site.attacker.send(b"[" + b"{}," * (40 * MILLION) + b"{}]")
