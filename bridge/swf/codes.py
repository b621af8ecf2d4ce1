"""The codes of SWF's errors, as labels of a metric: what answers may say any other."""

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
_OURS = {"ConnectionFailed", "GarbledAnswer"}
_KNOWN = CODES | _NEVER | _OURS
OTHER = "other"


def known_code(error: Exception) -> str:
    """The error's code: one of a few hundred, whatever answers.

    One that neither AWS nor botocore has is OTHER.
    """
    code = getattr(error, "code", None)
    if code is None:
        return type(error).__name__
    is_status = len(code) == 3 and code.isascii() and code.isdigit()
    return code if code in _KNOWN or is_status or hasattr(botocore.exceptions, code) else OTHER
