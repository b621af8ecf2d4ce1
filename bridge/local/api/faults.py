"""Injected faults: errors of the service, the network or the account, on demand."""

import itertools
import random
import time
from dataclasses import dataclass, field, fields
from typing import Any

from bridge.local.swf.errors import SwfError
from bridge.local.swf.limits import REQUESTS

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
"""Kinds that answer with an SWF error: its name, message and HTTP status."""

BROKEN = ("html", "garbage", "cut-before", "empty")
"""Kinds that do not carry out the call: a wrong answer, an empty poll, or none."""

SPOILS = ("cut-after", "half-body")
"""Kinds that carry out the call, but lose its answer."""

SLOW = "slow"
KINDS = (*REFUSALS, *BROKEN, *SPOILS, SLOW)


@dataclass(eq=False)
class Fault:
    """One rule: which calls fail, how often, and how."""

    kind: str
    operation: str | None = None
    domain: str | None = None
    task_list: str | None = None
    token: str | None = None
    probability: float = 1.0
    count: int | None = None
    """The number of calls that fail before the rule has no effect; None: no limit."""
    delay: float = 0.0
    """Seconds by which the call is delayed first, with any kind."""
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
        """Whether the call is carried out in spite of the fault."""
        return self.kind in SPOILS or self.kind == SLOW

    def strikes(self, call: "Call") -> bool:
        """Decide whether the rule applies to this call; count the call if so."""
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
        """Return the rule as JSON members."""
        return {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}


@dataclass(frozen=True)
class Call:
    """The parts of a call that rules match; a token's task gives domain and task list."""

    operation: str
    domain: str | None
    task_list: str | None
    token: str | None


class Faults:
    """The rules in force; the first that matches a call applies."""

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
        """Remove one rule, or with None all of them."""
        if fault_id is None:
            self._rules.clear()
        else:
            self._rules.pop(fault_id, None)

    def pick(self, call: Call) -> Fault | None:
        """Return the first rule that applies to this call, or None."""
        return next((rule for rule in self._rules.values() if rule.strikes(call)), None)

    def view(self) -> list[dict[str, Any]]:
        """Return the rules as JSON members; `struck` counts the calls that each has hit."""
        return [rule.view() for rule in self._rules.values()]
