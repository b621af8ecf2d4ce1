"""The error codes used as a metric's label; any other code that a server sends is OTHER."""

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
"""Exceptions of decoding an answer that neither Python nor botocore defines."""
_OURS = {"ConnectionFailed", "GarbledAnswer"}
_KNOWN = CODES | _NEVER | _RAISED | _OURS
OTHER = "other"


def known_code(error: Exception) -> str:
    """The error's code, from a bounded set of about 1,300, whatever a server answers.

    An exception without a code is named by its class. A code that is not in AWS, HTTP, Python,
    botocore or this package is OTHER.
    """
    code = getattr(error, "code", None)
    if code is None:
        return type(error).__name__
    is_status = len(code) == 3 and code.isascii() and code.isdigit()
    is_class = any(hasattr(module, code) for module in (botocore.exceptions, builtins))
    return code if code in _KNOWN or is_status or is_class else OTHER
