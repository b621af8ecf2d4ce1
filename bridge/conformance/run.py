"""Runs one trial: starts bridge, local SWF and worker, and carries out the checks in order."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing

from bridge.conformance.amqp import DEAD_LETTERS, REPLIES, UNDELIVERABLE, Broker
from bridge.conformance.checks import CHECKS, Check
from bridge.conformance.report import FAILED, PASSED, SKIPPED, UNSEEN, Finding
from bridge.conformance.trial import Plan, Trial, Unmet, Unseen
from bridge.conformance.worker import WorkerProcess
from bridge.local import LocalSwf
from bridge.local.daemon import Daemon
from bridge.local.keeper import Keeper

SETTINGS = {
    "SWF_BRIDGE_REPLY_QUEUE": REPLIES,
    "SWF_BRIDGE_DEAD_LETTER_QUEUE": DEAD_LETTERS,
    "SWF_BRIDGE_UNDELIVERABLE": UNDELIVERABLE,
}
Tell = Callable[[Finding], object]


def run(
    url: str,
    plan: Plan,
    tell: Tell,
    *,
    command: str | None = None,
    queue: str | None = None,
    skip: Collection[str] = (),
    restart_broker: Callable[[], object] | None = None,
) -> list[Finding]:
    """Test the worker at the broker `url`, or start `command`; call `tell` with each finding.

    `queue` is declared and bound for a worker that declares none. `restart_broker` restarts the
    broker; None where that is not allowed.
    Raises BrokerAway without a broker, and DaemonError if the bridge does not start.
    """
    with ExitStack() as ends:
        broker = ends.enter_context(closing(Broker(url)))
        keeper = ends.enter_context(Keeper("conformance-"))
        swf = ends.enter_context(LocalSwf(hold=1.0))
        bridge = Daemon(keeper, swf.endpoint, url, SETTINGS)
        ends.callback(bridge.kill)
        if queue:
            broker.bind(queue, [role.key for role in plan.roles()])
        worker = None
        if command:
            environment = {"AMQP_URL": url, "REPLY_QUEUE": REPLIES}
            worker = WorkerProcess(command, {**environment, **({"QUEUE": queue} if queue else {})})
            ends.callback(worker.kill)
            worker.start()
        findings = []
        for finding in _findings(Trial(plan, swf, broker, bridge, worker, restart_broker), skip):
            findings.append(finding)
            tell(finding)
        return findings


def _findings(trial: Trial, skip: Collection[str]) -> Iterator[Finding]:
    stopped_at, bridge_runs = "", False
    for check in (each.of(trial.plan) for each in CHECKS):
        why = _obstacle(trial, check, skip) or stopped_at
        if why:
            yield Finding(check, SKIPPED, why, 0.0)
            continue
        if not (check.without_bridge or bridge_runs):
            trial.bridge.start()
            bridge_runs = True
        finding = _tried(trial, check)
        if finding.mark == FAILED and check.first:
            stopped_at = f"{check.name} failed"
        yield finding


def _obstacle(trial: Trial, check: Check, skip: Collection[str]) -> str:
    if check.name in skip:
        return "left out by --skip"
    for need in check.needs.split():
        if need == "worker" and trial.worker is None:
            return "needs --worker, to end and start it"
        if need != "worker" and getattr(trial.plan, need) is None:
            return f"there is no --{need} activity"
    return ""


def _tried(trial: Trial, check: Check) -> Finding:
    begun = time.monotonic()
    try:
        check.attempt(trial)
    except Unmet as unmet:
        seconds = time.monotonic() - begun
        trial.clear_up()
        return Finding(check, FAILED, str(unmet), seconds)
    except Unseen as unseen:
        return Finding(check, UNSEEN, str(unseen), time.monotonic() - begun)
    return Finding(check, PASSED, "", time.monotonic() - begun)
