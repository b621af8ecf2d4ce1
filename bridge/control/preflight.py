"""Checks of AWS and RabbitMQ before the bridge runs: reachable, and permitted what it needs.

``look`` polls, publishes, consumes and declares nothing; a result that this leaves open is marked
UNPROVEN. RabbitMQ permissions are tried with requests that change nothing, AWS permissions are
asked from IAM. Only ``declare``, for ``topology --apply``, changes anything.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import partial
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from bridge.errors import BadReply, Refused, TaskClosed, Unavailable
from bridge.rabbitmq.addresses import Address
from bridge.rabbitmq.amqp import (
    ChannelClosedByBroker,
    Tls,
    cause,
    certificates_lack,
    turned_away,
)
from bridge.rabbitmq.connection import Connection
from bridge.rabbitmq.permissions import Probe, probes
from bridge.rabbitmq.setup import Missing, Step
from bridge.rabbitmq.topology import Binding, Item, Topology
from bridge.settings.concerns import endpoint_concern
from bridge.settings.settings import Settings
from bridge.swf.aws import Aws
from bridge.swf.boto import Boto3
from bridge.swf.errors import NOT_LET_IN
from bridge.swf.policies import ANSWER, LOOK, POLL, Policies, Verdict
from bridge.swf.runner import Call

DATE_SHOWN = 40
SKEW_WARNING = 30.0
SKEW_REFUSED = 300.0
"""Seconds of clock skew: above SKEW_WARNING it is noted, above SKEW_REFUSED AWS refuses us."""


class Mark(Enum):
    """The verdict of one check: the sign that is shown, and the exit code that it causes."""

    HOLDS = ("✓", 0)
    NOTE = ("!", 0)
    UNPROVEN = ("?", 0)
    WRONG = ("✗", 78)
    UNAVAILABLE = ("✗", 69)

    @property
    def sign(self) -> str:
        """The character that begins the line."""
        return self.value[0]

    @property
    def exit_code(self) -> int:
        """The exit code of contract §6."""
        return self.value[1]


class Result(NamedTuple):
    """One line of the report."""

    mark: Mark
    text: str


def look(settings: Settings) -> Iterator[Result]:
    """Check AWS and RabbitMQ, and yield each result as it comes."""
    yield from _look_at_swf(settings)
    yield from _look_at_broker(settings)


# --- Amazon SWF ---


def _look_at_swf(settings: Settings) -> Iterator[Result]:
    aws = Aws()
    caller = Boto3(pollers=1, responders=1, read_timeout=settings.read_timeout, aws=aws)
    yield Result(Mark.HOLDS, f"SWF: {caller.endpoint} in region {caller.region}")
    if concern := endpoint_concern(caller.endpoint):
        yield Result(Mark.NOTE, f"SWF: {concern}")
    owner = ""
    try:
        owner = aws.who()
        yield Result(Mark.HOLDS, f"credentials: {owner}")
    except Unavailable as error:
        if error.code == "NoCredentialsError":
            yield Result(Mark.WRONG, "credentials: none are found")
            return
        if error.code in NOT_LET_IN:
            yield Result(Mark.WRONG, f"credentials: AWS does not take them: {error}")
        else:
            yield Result(Mark.UNPROVEN, f"credentials: whose they are is not known: {error}")
    arn = _Arn(caller.region, owner)
    for domain in dict.fromkeys(each.domain for each in settings.task_lists):
        yield _look_at_domain(caller, domain, arn)
    yield clock_result(caller.answered_at)
    yield from _look_at_policies(settings, aws, arn)


class _Arn(NamedTuple):
    """Builds ARNs of domains; ``owner`` is the caller's ARN, empty while it is unknown."""

    region: str
    owner: str

    def of(self, domain: str) -> str:
        """The domain's ARN, with ``*`` as the account while the owner is unknown."""
        _, partition, _, _, account = (self.owner or "arn:aws:::*").split(":", 5)[:5]
        return f"arn:{partition}:swf:{self.region}:{account}:/domain/{domain}"


def _look_at_policies(settings: Settings, aws: Aws, arn: _Arn) -> Iterator[Result]:
    """Ask IAM whether polls and answers are allowed: trying one could take or close a task."""
    policies = Policies(aws, arn.owner)
    domains = set()
    unknown = "" if arn.owner else "whose the credentials are is not known"
    for each in settings.task_lists:
        what = f"task list {each.shown}"
        if not unknown:
            try:
                verdicts = policies.verdicts(
                    domain=arn.of(each.domain), region=arn.region, task_list=each.name
                )
            except Unavailable as error:
                unknown = f"IAM does not tell ({error})"
        if unknown:
            yield Result(Mark.UNPROVEN, f"{what}: {_NOT_KNOWN}; {unknown}")
            continue
        yield _verdict(f"{what}: IAM's policies let it be polled", verdicts, (POLL,))
        if each.domain not in domains:
            domains.add(each.domain)
            what = f"domain {each.domain}: IAM's policies let"
            yield _verdict(f"{what} its tasks be answered", verdicts, ANSWER)
            yield _verdict(f"{what} types and histories be looked at", verdicts, LOOK, Mark.NOTE)


_NOT_KNOWN = (
    "whether it may be polled is not known, for a poll may be given a task and is not tried"
    " (swf-bridge status tells once the daemon runs)"
)


def _verdict(
    what: str, verdicts: Mapping[str, Verdict], actions: Sequence[str], wrong: Mark = Mark.WRONG
) -> Result:
    """One result for actions that the daemon needs together."""
    told = {action: verdicts[action] for action in actions if action in verdicts}
    if len(told) < len(actions):
        return Result(Mark.UNPROVEN, f"{what}: not known, IAM's answer lacks some of it")
    keys = sorted({key for each in told.values() for key in each.depends_on})
    if keys:
        return Result(Mark.UNPROVEN, f"{what}: not known, it depends on {', '.join(keys)}")
    if denied := [action for action, each in told.items() if not each.allowed]:
        what = what.replace("policies let", "policies do not let", 1)
        return Result(wrong, f"{what}: {', '.join(denied)} is denied; see config/iam")
    return Result(Mark.HOLDS, what)


def _look_at_domain(caller: Boto3, domain: str, arn: _Arn) -> Result:
    what = f"domain {domain}"
    try:
        answer = caller.call(Call("DescribeDomain", {"name": domain}))
        status = str(answer["domainInfo"]["status"])
    except TaskClosed:
        return Result(Mark.WRONG, f"{what}: does not exist in region {caller.region}")
    except (Refused, BadReply) as error:
        statement = (
            f'{{"Effect": "Allow", "Action": "swf:DescribeDomain", "Resource": "{arn.of(domain)}"}}'
        )
        told = f"{what}: may not be looked at ({error.code}); this would allow it: {statement}"
        return Result(Mark.UNPROVEN, told)
    except Unavailable as error:
        mark = Mark.WRONG if error.code in NOT_LET_IN else Mark.UNAVAILABLE
        return Result(mark, f"{what}: {error}")
    except (KeyError, TypeError):
        return Result(Mark.UNAVAILABLE, f"{what}: what answers at {caller.endpoint} is no SWF")
    return Result(Mark.HOLDS if status == "REGISTERED" else Mark.WRONG, f"{what}: {status}")


def clock_result(told: str) -> Result:
    """Compare our clock with the ``Date`` of SWF's last answer, even of one that refuses us."""
    if not told:
        return Result(Mark.UNPROVEN, "clock: SWF did not tell its own")
    try:
        seconds = abs(parsedate_to_datetime(told).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError, OSError):
        return Result(Mark.UNPROVEN, f"clock: SWF told none that can be read: {told[:DATE_SHOWN]}")
    mark = Mark.HOLDS
    if seconds > SKEW_WARNING:
        mark = Mark.WRONG if seconds > SKEW_REFUSED else Mark.NOTE
    return Result(mark, f"clock: {seconds:.0f} s from that of SWF")


# --- RabbitMQ ---


def vhost_of(settings: Settings) -> str:
    """The virtual host of the first address."""
    return unquote(urlsplit(settings.amqp_urls[0]).path[1:]) or "/"


def declare(settings: Settings) -> Iterator[Result]:
    """Declare the exchanges and queues that all instances share, at the first address."""
    yield from _Look(settings, settings.amqp_urls[0], declare=True).findings()


def _look_at_broker(settings: Settings) -> Iterator[Result]:
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
            mark = Mark.WRONG if turned_away(error) else Mark.UNAVAILABLE
            told = f"RabbitMQ at {self._address.shown}: {cause(error)}"
            if lack := certificates_lack(error):
                told += f"; {lack}"
            return [Result(mark, told)]
        if not self._finished:
            why = cause(self._error) if self._error else "closed"
            told = f"RabbitMQ at {self._address.shown}: lost before all was checked: {why}"
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
                await self.declarations.stand_all(self._open_channel, [item])
                self._found.append(Result(Mark.HOLDS, f"{item}: is there"))
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


def _permitted(probe: Probe, error: ChannelClosedByBroker) -> Result:
    match probe.granted(error.reply_code, error.reply_text):
        case True:
            return Result(Mark.HOLDS, f"permitted: {probe.text}")
        case False:
            mark = Mark.WRONG if probe.needed else Mark.NOTE
            told = f"not permitted: {probe.text}: {error.reply_text}"
            return Result(mark, f"{told}; swf-bridge topology prints what is needed")
    return Result(Mark.UNPROVEN, f"{probe.text}: {error.reply_code} {error.reply_text}")
