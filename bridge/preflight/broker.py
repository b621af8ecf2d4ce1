"""Checks of RabbitMQ: reachable, and permitted what the bridge needs.

``look_at_broker`` publishes, consumes and declares nothing; what that leaves open is marked
UNPROVEN. Permissions are tried with requests that change nothing. Only ``declare``, for
``topology --apply``, changes anything.
"""

from collections.abc import Iterator
from functools import partial
from urllib.parse import unquote, urlsplit

from bridge.preflight.permissions import Probe, probes
from bridge.preflight.result import Mark, Result
from bridge.rabbitmq.amqp import (
    ChannelClosedByBroker,
    Tls,
    cause,
    certificates_lack,
    refusal,
)
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.nodes import Address
from bridge.rabbitmq.setup import Missing, Step
from bridge.rabbitmq.topology import Binding, Item, Topology
from bridge.settings.settings import Settings


def vhost_of(settings: Settings) -> str:
    """The virtual host of the first address."""
    return unquote(urlsplit(settings.amqp_urls[0]).path[1:]) or "/"


def declare(settings: Settings) -> Iterator[Result]:
    """Declare the exchanges and queues that all instances share, at the first address."""
    yield from _Look(settings, settings.amqp_urls[0], declare=True).findings()


def look_at_broker(settings: Settings) -> Iterator[Result]:
    """Check RabbitMQ at each address, and yield each result as it comes."""
    for url in settings.amqp_urls:
        yield from _Look(settings, url, declare=False).findings()
    text = "RabbitMQ: a publish is not tried; permissions by routing key stay unproven"
    yield Result(Mark.UNPROVEN, text)


class _Look(Connection):
    """Checks for, or declares, each item of the topology that all instances share; then closes."""

    def __init__(self, settings: Settings, url: str, *, declare: bool) -> None:
        tls = Tls(settings.amqp_ca_file, settings.amqp_cert_file, settings.amqp_key_file)
        super().__init__("check", [url], tls, (), declare=declare)
        self._address = Address(url)
        topology = Topology.of(settings)
        self._wanted = topology.shared()
        self._only_looks = not declare
        self._will_declare = settings.declare
        self._probes = [] if declare else [*probes(topology, declare=settings.declare)]
        self._found: list[Result] = []
        self._arrived = False
        self._finished = False

    def findings(self) -> list[Result]:
        """Connect once, check, close, and return the results."""
        self.live(self._address)
        if not self._arrived:
            error = self._error or TimeoutError("no answer")
            mark = Mark.WRONG if refusal(error) else Mark.UNAVAILABLE
            told = f"RabbitMQ at {self._address.shown}: {cause(error)}"
            if lack := certificates_lack(error):
                told += f"; {lack}"
            return [Result(mark, told)]
        if not self._finished:
            told = f"RabbitMQ at {self._address.shown}: lost before all was checked: {self._why()}"
            return [*self._found, Result(Mark.UNAVAILABLE, told)]
        return self._found

    async def _setup(self) -> None:
        self._arrived = True
        version = self._connection.server_properties.get("version", "of an unknown version")
        vhost = self._connection.params.virtual_host
        told = f"RabbitMQ at {self._address.shown}: {version}, vhost {vhost}"
        self._found.append(Result(Mark.HOLDS, told))
        for item in self._wanted:
            if isinstance(item, Binding) and self._only_looks:
                self._found.append(Result(Mark.UNPROVEN, f"{item}: AMQP cannot ask for it"))
                continue
            try:
                refusals = await self.declarations.stand_all(self._open_channel, [item])
                self._found.append(_declared(item, refusals.get(item)))
            except Missing as error:
                self._found.append(self._missing(item, error))
            except ChannelClosedByBroker as error:
                told = f"{item}: {error.reply_code} {error.reply_text}"
                self._found.append(Result(Mark.UNAVAILABLE, told))
        for probe in self._probes:
            channel = await self._open_channel()
            try:
                await Step(f"ask whether we may {probe.text}", partial(probe.ask, channel))
                channel.close()
                self._found.append(Result(Mark.HOLDS, f"permitted: {probe.text}"))
            except ChannelClosedByBroker as error:
                self._found.append(_permitted(probe, error))
        self._finished = True

    def _missing(self, item: Item, error: Missing) -> Result:
        if not self._only_looks:
            wrong = error.absent or error.forbidden
            return Result(Mark.WRONG if wrong else Mark.UNAVAILABLE, str(error))
        if not error.absent:
            return Result(Mark.UNPROVEN, str(error))
        if self._will_declare:
            return Result(Mark.NOTE, f"{item}: is missing; the bridge declares it when it starts")
        return Result(Mark.WRONG, f"{item}: is missing, and SWF_BRIDGE_DECLARE is false")

    def _work(self) -> None:
        """Close: ``_setup`` has checked everything."""
        self._stopping.set()

    def _tick(self) -> None:
        """Do nothing."""

    def _lost(self, error: BaseException | None) -> None:
        """Do nothing: no publish is outstanding."""


def _declared(item: Item, refusal: str | None) -> Result:
    if refusal is None:
        return Result(Mark.HOLDS, f"{item}: is there")
    if isinstance(item, Binding):  # AMQP cannot ask for it
        return Result(Mark.WRONG, f"{item}: declaring it was refused: {refusal}")
    return Result(Mark.NOTE, f"{item}: is there; declaring it was refused: {refusal}")


def _permitted(probe: Probe, error: ChannelClosedByBroker) -> Result:
    match probe.granted(error.reply_code, error.reply_text):
        case True:
            return Result(Mark.HOLDS, f"permitted: {probe.text}")
        case False:
            mark = Mark.WRONG if probe.needed else Mark.NOTE
            told = f"not permitted: {probe.text}: {error.reply_text}"
            return Result(mark, f"{told}; swf-bridge topology prints what is needed")
    return Result(Mark.UNPROVEN, f"{probe.text}: {error.reply_code} {error.reply_text}")
