"""Asks IAM what the owner of the credentials may do; used only by ``check --connect``.

A trial poll could receive a task. IAM evaluates the policies of a user or role without any call
(SimulatePrincipalPolicy), including conditions on the name of a task list.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from bridge.errors import Unavailable
from bridge.swf.aws import Aws
from bridge.swf.errors import error_from

POLL = "swf:PollForActivityTask"
ANSWER = (
    "swf:RecordActivityTaskHeartbeat",
    "swf:RespondActivityTaskCanceled",
    "swf:RespondActivityTaskCompleted",
    "swf:RespondActivityTaskFailed",
)
LOOK = ("swf:DescribeActivityType", "swf:GetWorkflowExecutionHistory")
"""Actions that the daemon can do without."""
_ROLE, _USER = "assumed-role/", "user/"


class Verdict(NamedTuple):
    """Whether the policies allow one action."""

    allowed: bool
    depends_on: tuple[str, ...] = ()
    """Condition keys whose values only a real call has; these may change the verdict."""


class Policies:
    """The policies of the user or role that owns the credentials.

    IAM evaluates the policies of the identity, its permissions boundary and its organization, but
    not those of a session or a VPC endpoint.
    """

    def __init__(self, aws: Aws, owner: str) -> None:
        self._aws = aws
        self._owner = owner
        self._iam: Any = None
        self._source = ""

    def verdicts(self, *, domain: str, region: str, task_list: str) -> Mapping[str, Verdict]:
        """The verdict on each of the daemon's actions in ``domain``, an ARN.

        Raises Unavailable if IAM gives no verdict.
        """
        try:
            self._iam = self._iam or self._aws.client("iam")
            self._source = self._source or self._find_source()
            answer = self._iam.simulate_principal_policy(
                PolicySourceArn=self._source,
                ActionNames=[POLL, *ANSWER, *LOOK],
                ResourceArns=[domain],
                ContextEntries=[
                    _known("swf:taskList.name", task_list),
                    _known("aws:RequestedRegion", region),
                ],
            )
            return {each["EvalActionName"]: _verdict(each) for each in answer["EvaluationResults"]}
        except Unavailable:
            raise
        except Exception as raised:  # noqa: BLE001 - botocore's parsers raise anything on garbage
            error = error_from(raised)
            code = getattr(error, "code", type(raised).__name__)
            raise Unavailable(code, str(error)) from None

    def _find_source(self) -> str:
        """The ARN of the user or role. A session's ARN holds only its role's name, not the path."""
        kind = self._owner.split(":", 5)[-1]
        if self._owner.split(":")[2] == "iam" and kind.startswith(_USER):
            return self._owner
        if kind.startswith(_ROLE):
            name = kind.removeprefix(_ROLE).split("/")[0]
            return str(self._iam.get_role(RoleName=name)["Role"]["Arn"])
        raise Unavailable("NoUserOrRole", f"{self._owner} is neither a user nor a role of IAM")


def _known(key: str, value: str) -> dict[str, Any]:
    return {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}


def _verdict(told: Mapping[str, Any]) -> Verdict:
    organization = told.get("OrganizationsDecisionDetail", {})
    allowed = told["EvalDecision"] == "allowed"
    return Verdict(
        allowed and organization.get("AllowedByOrganizations", True),
        tuple(told.get("MissingContextValues", ())),
    )
