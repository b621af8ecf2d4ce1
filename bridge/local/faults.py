"""Faults on demand: what a service, a network or an account does to a call now and then."""

import itertools
import random
import time
from dataclasses import dataclass, field, fields
from typing import Any

from bridge.local.errors import SwfError
from bridge.local.limits import REQUESTS

_SIGNED = (
    "Signature expired: 20150101T000000Z is now earlier than {now} (5 min.). "
    "Check that the clock of this machine is right."
)

REFUSALS: dict[str, tuple[str, str, int]] = {
    "throttled": ("ThrottlingException", "Rate exceeded", 400),
    "limit-exceeded": ("LimitExceededFault", "Too many pollers on this task list", 400),
    "internal": ("InternalFailure", "Internal failure", 500),
    "unavailable": ("ServiceUnavailableException", "Service is unavailable", 503),
    "expired-token": (
        "ExpiredTokenException",
        "The security token included in the request is expired",
        400,
    ),
    "unrecognized-client": (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        400,
    ),
    "access-denied": ("AccessDeniedException", "User is not authorized to do this", 400),
    "not-permitted": ("OperationNotPermittedFault", "Caller is not permitted to do this", 400),
    "clock-skew": ("InvalidSignatureException", _SIGNED, 400),
    "request-expired": ("RequestExpired", "Request has expired", 400),
    "invalid-token": ("ValidationException", "Invalid token", 400),
    "error": ("InternalFailure", "As asked for", 400),
}
"""Kinds that are an answer of SWF's: error name, message, status. `error` takes its own."""

BROKEN = ("html", "garbage", "cut-before", "empty")
"""Kinds that answer otherwise, or not at all, and do not carry the call out."""

SPOILS = ("cut-after", "half-body")
"""Kinds that carry the call out; then its answer gets lost."""

SLOW = "slow"
KINDS = (*REFUSALS, *BROKEN, *SPOILS, SLOW)


@dataclass(eq=False)
class Fault:
    """One rule: which calls it strikes, how often, and how."""

    kind: str
    operation: str | None = None
    domain: str | None = None
    task_list: str | None = None
    token: str | None = None
    probability: float = 1.0
    count: int | None = None
    """How many calls it strikes before it is spent; None: no end."""
    delay: float = 0.0
    """Seconds that the call waits first, with any kind."""
    seed: int | None = None
    code: str | None = None
    message: str | None = None
    status: int | None = None
    struck: int = 0
    id: str = ""
    _chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}: there are {', '.join(KINDS)}")
        if self.operation is not None and self.operation not in REQUESTS:
            raise ValueError(f"no operation {self.operation!r} to break")
        if not 0 <= self.probability <= 1:
            raise ValueError("probability wants 0 to 1")
        if not 0 <= self.delay < 1e8:
            raise ValueError("delay wants seconds")
        self._chance.seed(self.seed)

    @property
    def acts(self) -> bool:
        """Whether the call is carried out all the same."""
        return self.kind in SPOILS or self.kind == SLOW

    def strikes(self, call: "Call") -> bool:
        """Decide whether this call is struck, and count it."""
        if self.count is not None and self.struck >= self.count:
            return False
        if self.kind == "empty" and call.operation != "PollForActivityTask":
            return False
        for wanted, given in (
            (self.operation, call.operation),
            (self.domain, call.domain),
            (self.task_list, call.task_list),
            (self.token, call.token),
        ):
            if wanted is not None and wanted != given:
                return False
        if self._chance.random() >= self.probability:
            return False
        self.struck += 1
        return True

    def refusal(self) -> SwfError:
        """Return the error of a kind in REFUSALS."""
        code, message, status = REFUSALS[self.kind]
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        return SwfError(
            self.code or code, self.message or message.format(now=now), self.status or status
        )

    def view(self) -> dict[str, Any]:
        """Return the rule for a reader."""
        return {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}


@dataclass(frozen=True)
class Call:
    """What a fault may look at: of a respond, domain and task list are those of its task."""

    operation: str
    domain: str | None
    task_list: str | None
    token: str | None


class Faults:
    """The rules in force, the first that strikes wins."""

    def __init__(self) -> None:
        self._rules: dict[str, Fault] = {}
        self._ids = itertools.count(1)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def add(self, **rule: Any) -> str:
        """Put a rule in force and return its id; raises ValueError or TypeError."""
        fault = Fault(**rule)
        fault.id = str(next(self._ids))
        self._rules[fault.id] = fault
        return fault.id

    def remove(self, fault_id: str | None = None) -> None:
        """Take one rule away, or all."""
        if fault_id is None:
            self._rules.clear()
        else:
            self._rules.pop(fault_id, None)

    def pick(self, call: Call) -> Fault | None:
        """Return the rule that strikes this call."""
        return next((rule for rule in self._rules.values() if rule.strikes(call)), None)

    def view(self) -> list[dict[str, Any]]:
        """Return the rules for a reader, with how often each struck."""
        return [rule.view() for rule in self._rules.values()]
