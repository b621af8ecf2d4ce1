"""Every attack by name, with the settings of the daemon that it is made on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .site import Site

PROMISE = 2.0
"""Within so many seconds 99 of 100 good tasks are settled: from their submission to SWF's close,
which is more than from their reply."""

Body = Callable[["Site"], None]


@dataclass(frozen=True)
class Attack:
    """One attack: it runs once, beside good work, and may end before its time is over."""

    name: str
    sentence: str
    run: Body
    settings: Mapping[str, str]
    tracing: bool
    lying: bool
    quick: bool
    before: str = ""
    """What the first version did, where that was measured."""
    control: bool = False
    """Nothing of it comes to the bridge: what it costs is RabbitMQ's and this machine's."""


ATTACKS: dict[str, Attack] = {}


def attack(
    *,
    tracing: bool = False,
    lying: bool = False,
    quick: bool = False,
    before: str = "",
    control: bool = False,
    **settings: str,
) -> Callable[[Body], Body]:
    """Register a function that attacks a site for as long as `site.attacking()` says.

    `tracing`: the daemon sends to a Sentry. `lying`: SWF is reached through `site.liar`. `quick`:
    it belongs to the short form. `before`, `control`: as in Attack. It raises AssertionError where
    a promise beside the good replies is broken.
    """

    def register(body: Body) -> Body:
        sentence = " ".join((body.__doc__ or "").split())
        assert sentence, f"{body.__name__} says in no docstring what it does"
        made = Attack(
            body.__name__, sentence, body, settings, tracing, lying, quick, before, control
        )
        ATTACKS[body.__name__] = made
        return body

    return register


@attack()
def nothing(site: "Site") -> None:
    """No attack: what the machine itself costs good work, to hold the others against."""
