"""`swf-bridge check --connect`: what IAM's policies say of polls and answers, which are not tried.

The policies are those of config/iam/, filled in for one domain and one task list.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.local import LocalSwf
from tests import forked
from tests.acceptance.harness import ROOT, settings
from tests.brokers import Vhost
from tests.iam_service import ROLE, SESSION, USER, Document, Identity, serving

LISTS = "images,emails"
NOT_KNOWN = (
    "whether it may be polled is not known, for a poll may be given a task and is not tried"
    " (swf-bridge status tells once the daemon runs)"
)
Check = Callable[[Identity], tuple[int, list[str]]]


def policy(name: str = "bridge") -> Document:
    """A policy of config/iam/, as an administrator fills it in."""
    text = (ROOT / f"config/iam/{name}.json").read_text()
    filled = {"REGION": "eu-west-1", "ACCOUNT": "123456789012", "DOMAIN": "demo"}
    for word, value in {**filled, "TASK_LIST": "images"}.items():
        text = text.replace(word, value)
    document: Document = json.loads(text)
    return document


def without(*actions: str) -> Document:
    """The policy without the statements that allow these."""
    whole = policy()
    kept = [each for each in whole["Statement"] if not {*actions} & {*_actions(each)}]
    return {**whole, "Statement": kept}


def _actions(statement: Document) -> list[str]:
    given = statement["Action"]
    return [given] if isinstance(given, str) else given


@pytest.fixture
def check(swf: LocalSwf, vhost: Vhost, tmp_path: Path) -> Iterator[Check]:
    """The exit code and the lines about task lists and their domain."""

    def check(identity: Identity) -> tuple[int, list[str]]:
        with serving(identity):
            given = settings(
                swf, vhost.url, tmp_path, task_lists=LISTS, AWS_REGION="eu-west-1",
                AWS_ENDPOINT_URL_STS=identity.endpoint, AWS_ENDPOINT_URL_IAM=identity.endpoint,
            )  # fmt: skip
            ended = forked.run(
                ["-m", "bridge", "check", "--connect"], env={**forked.SHELL, **given}, timeout=100
            )
        assert ended.stderr == ""
        lines = ended.stdout.splitlines()
        begin = next(at for at, line in enumerate(lines) if "clock: " in line) + 1
        end = next(at for at, line in enumerate(lines) if "RabbitMQ at" in line)
        return ended.returncode, lines[begin:end]

    yield check
    calls = {operation for operation, counts in swf.counts()["calls"].items() if counts}
    assert calls == {"DescribeDomain"}, "it polled, or more"


@pytest.mark.parametrize(("owner", "source"), [(USER, USER), (SESSION, ROLE)])
def test_a_list_that_the_policies_deny_is_named_and_ends_with_a_failure(
    check: Check, owner: str, source: str
) -> None:
    code, lines = check(Identity(owner, source, [policy()]))
    assert lines == [
        "✓ task list demo/images: IAM's policies let it be polled",
        "✓ domain demo: IAM's policies let its tasks be answered",
        "✓ domain demo: IAM's policies let types and histories be looked at",
        "✗ task list demo/emails: IAM's policies do not let it be polled:"
        " swf:PollForActivityTask is denied; see config/iam",
    ]
    assert code == 78


def test_answers_that_are_denied_are_wrong_and_looks_into_histories_are_noted(
    check: Check,
) -> None:
    few = without("swf:RespondActivityTaskFailed", "swf:GetWorkflowExecutionHistory")
    code, lines = check(Identity(policies=[few]))
    assert lines[1:3] == [
        "✗ domain demo: IAM's policies do not let its tasks be answered:"
        " swf:RecordActivityTaskHeartbeat, swf:RespondActivityTaskCanceled,"
        " swf:RespondActivityTaskCompleted, swf:RespondActivityTaskFailed is denied;"
        " see config/iam",
        "! domain demo: IAM's policies do not let types and histories be looked at:"
        " swf:GetWorkflowExecutionHistory is denied; see config/iam",
    ]
    assert code == 78


def test_what_depends_on_the_moment_of_the_call_is_not_known(check: Check) -> None:
    code, lines = check(Identity(policies=[policy()], missing=["aws:SourceVpce"]))
    assert lines[0] == (
        "? task list demo/images: IAM's policies let it be polled: not known,"
        " it depends on aws:SourceVpce"
    )
    assert not [line for line in lines if line[0] != "?"]
    assert code == 0


@pytest.mark.parametrize("denied", ["SimulatePrincipalPolicy", "GetRole"])
def test_where_iam_may_not_be_asked_it_is_said_that_polls_are_not_known_to_be_permitted(
    check: Check, denied: str
) -> None:
    identity = Identity(SESSION, ROLE, [policy()], denied=[denied])
    code, lines = check(identity)
    assert [line.partition(NOT_KNOWN)[0] for line in lines] == [
        "? task list demo/images: ",
        "? task list demo/emails: ",
    ]
    assert all("IAM does not tell (AccessDenied: " in line for line in lines)
    assert all(f"not authorized to perform: iam:{denied}" in line for line in lines)
    assert identity.asked.count(denied) == 1, "once is enough"
    assert code == 0


def test_an_owner_without_policies_of_its_own_leaves_polls_unproven(check: Check) -> None:
    root = "arn:aws:iam::123456789012:root"
    code, lines = check(Identity(root, root))
    assert all(line.startswith("? ") and NOT_KNOWN in line for line in lines)
    assert "is neither a user nor a role of IAM" in lines[0]
    assert code == 0
