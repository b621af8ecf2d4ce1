"""The codes of SWF's errors, as labels of a metric: what answers may say any other."""

import builtins

import botocore.exceptions

from bridge.swf.errors import CODES

_NEVER = {
    "DefaultUndefinedFault",
    "InvalidAction",
    "InvalidParameterCombination",
    "InvalidParameterValue",
    "MalformedHttpRequestException",
    "MalformedQueryString",
    "MissingAction",
    "MissingParameter",
    "RequestAbortedException",
    "RequestEntityTooLargeException",
    "ResponseParserError",
    "SerializationException",
    "TypeDeprecatedFault",
    "UnknownOperationException",
    "UnknownResourceFault",
    "ValidationError",
    "ValidationException",
}
_RAISED = {"JSONDecodeError", "ProtocolError", "TooDeep", "TooLarge"}
"""What reading an answer raises, beside Python's own exceptions and botocore's."""
_OURS = {"ConnectionFailed", "GarbledAnswer"}
_KNOWN = CODES | _NEVER | _RAISED | _OURS
OTHER = "other"


def known_code(error: Exception) -> str:
    """The error's code: one of a few hundred, whatever answers.

    One that neither AWS nor botocore has is OTHER.
    """
    code = getattr(error, "code", None)
    if code is None:
        return type(error).__name__
    is_status = len(code) == 3 and code.isascii() and code.isdigit()
    is_class = any(hasattr(module, code) for module in (botocore.exceptions, builtins))
    return code if code in _KNOWN or is_status or is_class else OTHER
