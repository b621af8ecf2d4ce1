"""The errors of Amazon SWF in their HTTP form (API reference, "Common Errors")."""

import json

_SWF = "com.amazonaws.swf.base.model#"
_CORAL = "com.amazon.coral."

TYPES = {
    "UnknownResourceFault": _SWF,
    "OperationNotPermittedFault": _SWF,
    "LimitExceededFault": _SWF,
    "DomainAlreadyExistsFault": _SWF,
    "DomainDeprecatedFault": _SWF,
    "TypeAlreadyExistsFault": _SWF,
    "ValidationException": _CORAL + "validate#",
    "ThrottlingException": _CORAL + "availability#",
    "ServiceUnavailableException": _CORAL + "availability#",
    "SerializationException": _CORAL + "service#",
    "UnknownOperationException": _CORAL + "service#",
    "InternalFailure": _CORAL + "service#",
    "ExpiredTokenException": _CORAL + "service#",
    "UnrecognizedClientException": _CORAL + "service#",
    "AccessDeniedException": _CORAL + "service#",
    "InvalidSignatureException": _CORAL + "service#",
    "RequestExpired": _CORAL + "service#",
}
"""The prefix of each error's name in the member `__type`, by name."""


class SwfError(Exception):
    """A refusal of a call: `code` is the error's name, `status` its HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def body(self) -> bytes:
        """Return the JSON body of the answer."""
        return json.dumps(
            {"__type": TYPES.get(self.code, "") + self.code, "message": self.message}
        ).encode()


def unknown_resource(what: str) -> SwfError:
    """Return the fault for a domain, type, execution or activity that does not exist."""
    return SwfError("UnknownResourceFault", f"Unknown {what}")


def unknown_activity(scheduled_event_id: int) -> SwfError:
    """Return the fault for the token of a task that is closed."""
    return unknown_resource(f"activity, scheduledEventId = {scheduled_event_id}")


def unknown_execution(workflow_id: str, run_id: str | None) -> SwfError:
    """Return the fault for an execution that is closed or was never started."""
    if run_id is None:
        return unknown_resource(f"execution, workflowId = {workflow_id}")
    return unknown_resource(
        f"execution: WorkflowExecution=[workflowId={workflow_id}, runId={run_id}]"
    )


def invalid(problems: list[str]) -> SwfError:
    """Return the error for members that break a constraint; it never contains their values."""
    noun = "error" if len(problems) == 1 else "errors"
    return SwfError(
        "ValidationException", f"{len(problems)} validation {noun} detected: {'; '.join(problems)}"
    )
