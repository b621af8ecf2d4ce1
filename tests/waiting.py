"""An SWF client whose every call can be waited for, as a test does."""

from bridge.swf.client import Swf
from bridge.swf.runner import Call, complete
from bridge.task import ActivityTask


class WaitingSwf(Swf):
    """The daemon's client, and the calls that its threads make as conversations."""

    def poll(self, domain: str, task_list: str) -> ActivityTask | None:
        return complete(self.calls.poll(domain, task_list), self.caller.call)

    def heartbeat(self, token: str, details: str | None) -> bool:
        return complete(self.calls.heartbeat(token, details), self.caller.call)

    def describe_domain(self, domain: str) -> str:
        answer = self.caller.call(Call("DescribeDomain", {"name": domain}))
        return str(answer["domainInfo"]["status"])
