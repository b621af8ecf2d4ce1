"""config/iam/ against the code: the policies allow what is called, and nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

import bridge
from bridge.preflight.policies import ANSWER, LOOK, POLL
from tests import code_objects

ROOT = Path(__file__).parents[2]
IAM = ROOT / "config/iam"
POLICIES = sorted(IAM.glob("*.json"))
OPERATIONS = frozenset(
    boto3.session.Session(region_name="eu-west-1")
    .client("swf", aws_access_key_id="none", aws_secret_access_key="none")
    .meta.service_model.operation_names
)
DOMAIN = "arn:aws:swf:REGION:ACCOUNT:/domain/DOMAIN"
ASKED_OF_IAM = ["iam:GetRole", "iam:SimulatePrincipalPolicy"]
"""What `check --connect` asks beside SWF, of the role that it looks at."""

OF_A_TASK_LIST = {
    "CountPendingActivityTasks",
    "CountPendingDecisionTasks",
    "PollForActivityTask",
    "PollForDecisionTask",
    "StartWorkflowExecution",
}
"""The actions of SWF that know the condition key swf:taskList.name (Service Authorization
Reference). A statement that names the key for any other never applies."""


def statements(*policies: Path) -> Iterator[dict[str, Any]]:
    for policy in policies:
        yield from json.loads(policy.read_text())["Statement"]


def actions(*policies: Path) -> list[str]:
    found: list[str] = []
    for each in statements(*policies):
        given = each["Action"]
        found += [given] if isinstance(given, str) else given
    return found


ALONE = ("bridge.local", "bridge.conformance")
CALLED = {
    name: named
    for name, code in code_objects.modules(bridge)
    if not name.startswith(ALONE) and (named := OPERATIONS & code_objects.texts(code))
}
"""The operations of SWF that each module names."""
CLIENT, CHECK = "bridge.swf.client", "bridge.preflight.swf"


def test_the_daemon_may_do_what_it_calls_and_nothing_else() -> None:
    daemon = CALLED[CLIENT]
    assert sorted(actions(IAM / "bridge.json")) == sorted(f"swf:{each}" for each in daemon)


def test_the_check_before_the_start_may_do_what_it_calls_and_nothing_else() -> None:
    allowed = actions(IAM / "check.json")
    assert allowed == [f"swf:{each}" for each in CALLED[CHECK]] + ASKED_OF_IAM


def test_iam_is_asked_about_each_action_of_the_daemon() -> None:
    assert sorted([POLL, *ANSWER, *LOOK]) == sorted(actions(IAM / "bridge.json"))


def test_no_other_module_calls_swf() -> None:
    assert CALLED.keys() == {CLIENT, CHECK}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)
def test_a_policy_is_one_that_iam_reads(policy: Path) -> None:
    document = json.loads(policy.read_text())
    assert set(document) == {"Version", "Statement"}
    assert document["Version"] == "2012-10-17"
    sids = [each["Sid"] for each in document["Statement"]]
    assert len(set(sids)) == len(sids)
    for each in document["Statement"]:
        assert re.fullmatch("[A-Za-z0-9]+", each["Sid"])
        assert set(each) - {"Condition"} == {"Sid", "Effect", "Action", "Resource"}
        assert each["Effect"] == "Allow"
    for action in actions(policy):
        assert action in ASKED_OF_IAM or action.removeprefix("swf:") in OPERATIONS
    assert len(policy.read_text()) < 6144, "the most that IAM takes of a managed policy"


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)
def test_a_policy_is_for_one_domain_and_where_that_can_be_for_one_task_list(policy: Path) -> None:
    for each in statements(policy):
        if each["Action"] == ASKED_OF_IAM:
            assert each["Resource"] == "arn:aws:iam::ACCOUNT:role/ROLE"
            continue
        assert each["Resource"] == DOMAIN
        given = [each["Action"]] if isinstance(each["Action"], str) else each["Action"]
        knows = {action.removeprefix("swf:") in OF_A_TASK_LIST for action in given}
        assert len(knows) == 1, "a condition holds for every action of its statement"
        only = {"StringEquals": {"swf:taskList.name": "TASK_LIST"}} if knows == {True} else None
        assert each.get("Condition") == only


def test_the_docs_name_every_policy_and_its_page_every_statement() -> None:
    page, operations = (IAM / "README.md").read_text(), (ROOT / "docs/operations.md").read_text()
    for policy in POLICIES:
        assert f"`{policy.name}`" in page
        assert f"`config/iam/{policy.name}`" in operations
    told = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    assert told == {each["Sid"] for each in statements(*POLICIES)}
