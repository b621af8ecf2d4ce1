"""Two SWFs for one suite, moto's server and the local one; and how the bridge's own is made."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from bridge.local import LocalSwf
from tests.waiting import WaitingSwf

if TYPE_CHECKING:
    from mypy_boto3_swf import SWFClient

TASK_LIST = "activities"
PYCURL = find_spec("pycurl") is not None
MakeSwf = Callable[..., WaitingSwf]


class Side(ABC):
    """An SWF under test: boto3's client, a fresh domain, and a way to schedule a task in it."""

    client: "SWFClient"
    domain: str

    def start_over(self) -> None:
        """Leave everything behind: go on in a new domain."""
        self.domain = f"contract-{uuid.uuid4().hex}"
        self.client.register_domain(name=self.domain, workflowExecutionRetentionPeriodInDays="1")

    @abstractmethod
    def schedule(self, name: str, version: str, text: str | None, activity_id: str) -> None:
        """Schedule an activity task on TASK_LIST."""

    def poll(self) -> Any:
        return self.client.poll_for_activity_task(
            domain=self.domain, taskList={"name": TASK_LIST}, identity="contract"
        )


class LocalSide(Side):
    def __init__(self, swf: LocalSwf) -> None:
        self.swf = swf
        self.client = client_of(swf.endpoint)

    def schedule(self, name: str, version: str, text: str | None, activity_id: str) -> None:
        self.swf.submit(
            name, version, text, domain=self.domain, task_list=TASK_LIST, activity_id=activity_id
        )


class MotoSide(Side):
    """Moto schedules as SWF does: by a decision in a workflow."""

    def __init__(self, endpoint: str) -> None:
        self.client = client_of(endpoint)

    def start_over(self) -> None:
        super().start_over()
        self.client.register_workflow_type(
            domain=self.domain,
            name="decide",
            version="1",
            defaultChildPolicy="TERMINATE",
            defaultTaskList={"name": "decisions"},
            defaultTaskStartToCloseTimeout="300",
            defaultExecutionStartToCloseTimeout="3000",
        )

    def schedule(self, name: str, version: str, text: str | None, activity_id: str) -> None:
        self.client.register_activity_type(domain=self.domain, name=name, version=version)
        self.client.start_workflow_execution(
            domain=self.domain,
            workflowId=uuid.uuid4().hex,
            workflowType={"name": "decide", "version": "1"},
        )
        decision = self.client.poll_for_decision_task(
            domain=self.domain, taskList={"name": "decisions"}
        )
        attributes: dict[str, Any] = {
            "activityId": activity_id,
            "activityType": {"name": name, "version": version},
            "taskList": {"name": TASK_LIST},
            "scheduleToStartTimeout": "600",
            "scheduleToCloseTimeout": "600",
            "startToCloseTimeout": "600",
            "heartbeatTimeout": "300",
        }
        if text is not None:
            attributes["input"] = text
        self.client.respond_decision_task_completed(
            taskToken=decision["taskToken"],
            decisions=[
                {
                    "decisionType": "ScheduleActivityTask",
                    "scheduleActivityTaskDecisionAttributes": attributes,  # type: ignore[typeddict-item]
                }
            ],
        )


def client_of(endpoint: str) -> "SWFClient":
    return boto3.Session().client(
        "swf",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=75),
    )
