"""The routing key under which a task is published (contract §2). Pure."""

import hashlib
import string

from bridge.task import ActivityTask

ROUTING_FIELDS = ("domain", "task_list", "name", "version")
KEY_LIMIT = 255
"""Bytes of a short string in AMQP 0-9-1 (§4.2.5.3)."""
_KEY_MARK = "~"
_KEY_DIGITS = 16


class RoutingKey:
    """Makes the routing key of a task from a template such as ``{name}.{version}``.

    Raises ValueError if the template has fields other than the plain ones of ROUTING_FIELDS.
    """

    def __init__(self, template: str) -> None:
        self._template = template
        for _, name, spec, conversion in string.Formatter().parse(template):
            if name is not None and (name not in ROUTING_FIELDS or spec or conversion):
                raise ValueError(
                    f"only {', '.join('{' + f + '}' for f in ROUTING_FIELDS)} may stand in it"
                )

    def of(self, task: ActivityTask) -> str:
        """The key of ``task``: at most 255 bytes, and always the same for the same type."""
        return fit(
            self._template.format(
                domain=task.domain, task_list=task.task_list, name=task.name, version=task.version
            )
        )


def fit(key: str) -> str:
    """``key``; if it is over 255 bytes, its beginning, ``~`` and 16 hex digits of its SHA-256.

    UTF-8 cannot encode lone surrogates: each becomes U+FFFD.
    """
    encoded = _utf8(key)
    if len(encoded) <= KEY_LIMIT:
        return encoded.decode()
    tail = _KEY_MARK + hashlib.sha256(encoded).hexdigest()[:_KEY_DIGITS]
    return encoded[: KEY_LIMIT - len(tail)].decode("utf-8", "ignore") + tail


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
