"""SWF's and botocore's errors as those of ``bridge.errors``, by what is to be done about each."""

import re

from botocore.exceptions import ClientError

from bridge.errors import BadReply, Refused, TaskClosed, Unavailable

_NOT_PERMITTED = {
    "AccessDenied",
    "AccessDeniedException",
    "DomainDeprecatedFault",
    "NotAuthorized",
    "OperationNotPermittedFault",
    "OptInRequired",
    "UnauthorizedOperation",
}
NOT_LET_IN = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
"""Credentials, or a clock, that AWS does not take: they may be others in a minute."""
_FOR_NOW = NOT_LET_IN | {
    "BandwidthLimitExceeded",
    "InternalFailure",
    "LimitExceededFault",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
}


def error_from(error: Exception) -> Exception:
    """What botocore raised, in a call or in getting credentials, as ours."""
    if isinstance(error, Unavailable):
        return error
    if not isinstance(error, ClientError):
        return Unavailable(type(error).__name__, without_values(str(error)))
    told = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return error_for(str(told.get("Code", "")), status, str(told.get("Message", "")))


def error_for(code: str, status: int, text: str) -> Exception:
    """What SWF answered, named by what is to be done about it.

    TaskClosed for a resource that it does not know, Refused where a person must mend something,
    Unavailable for what may heal, BadReply for what never will.
    """
    text = without_values(text)
    if code == "UnknownResourceFault":
        return TaskClosed(text)
    if code in _NOT_PERMITTED:
        return Refused(code, text)
    # A code of digits is the status of an answer that SWF did not write: a proxy's page.
    if code in _FOR_NOW or not 400 <= status < 500 or not code or code.isdigit():
        return Unavailable(code or str(status), text)
    return BadReply(code, f"{code}: {text}")


def without_values(text: str) -> str:
    """An error's text without the value that it may echo."""
    return re.sub(r"Value '.*?' at '", "Value '…' at '", text, flags=re.DOTALL)[:500]
