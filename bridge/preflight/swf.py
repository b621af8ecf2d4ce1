"""Checks of AWS: reachable, and permitted what the bridge needs.

Nothing is polled, because a poll may be given a task. Permissions are asked from IAM, and what that
leaves open is marked UNPROVEN.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from bridge.errors import BadReply, Refused, TaskClosed, Unavailable
from bridge.preflight.policies import ANSWER, LOOK, POLL, Policies, Verdict
from bridge.preflight.result import Mark, Result
from bridge.settings.concerns import endpoint_concern
from bridge.settings.settings import Settings
from bridge.swf.aws import Aws
from bridge.swf.boto import Boto3
from bridge.swf.errors import NOT_LET_IN
from bridge.swf.runner import Call

DATE_SHOWN = 40
SKEW_WARNING = 30.0
SKEW_REFUSED = 300.0
"""Seconds of clock skew: above SKEW_WARNING it is noted, above SKEW_REFUSED AWS refuses us."""


def look_at_swf(settings: Settings) -> Iterator[Result]:
    """Check AWS, and yield each result as it comes."""
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
