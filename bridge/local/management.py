"""RabbitMQ's management API: what creates a vhost in 15 ms where `rabbitmqctl` needs 500."""

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote


class NodeError(Exception):
    """The node did not do what it was asked; the message holds what it printed."""


class HttpApi:
    """The API of one node, asked as one user."""

    def __init__(self, base: str, user: str = "guest", password: str = "guest") -> None:  # noqa: S107
        self.base = base.rstrip("/")
        self._user = user
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer, None where it is empty; `path` below `/api/`, quoted by the caller.

        Raises NodeError, with the broker's own words, for any answer but success.
        """
        request = urllib.request.Request(  # noqa: S310
            f"{self.base}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise NodeError(f"{method} {path}: {error.code} {error.read().decode()}") from error
        except OSError as error:
            raise NodeError(f"{method} {path}: {error}") from error
        return json.loads(text) if text else None

    def add_vhost(self, name: str) -> None:
        """A new vhost in which the user of this API may do everything."""
        self.call("PUT", f"vhosts/{quoted(name)}", {})
        self.set_permissions(self._user, vhost=name)

    def delete_vhost(self, name: str) -> None:
        """Take the vhost away with all that is in it; its connections are closed."""
        self.call("DELETE", f"vhosts/{quoted(name)}")

    def add_user(self, name: str, password: str, tags: str = "") -> None:
        """A user without any permission yet, or a new password for the one there is."""
        self.call("PUT", f"users/{quoted(name)}", {"password": password, "tags": tags})

    def delete_user(self, name: str) -> None:
        """Take the user and its permissions away; its connections stay until they ask again."""
        self.call("DELETE", f"users/{quoted(name)}")

    def set_permissions(
        self,
        user: str,
        configure: str = ".*",
        write: str = ".*",
        read: str = ".*",
        *,
        vhost: str = "/",
    ) -> None:
        """Regular expressions over the names of queues and exchanges; `^$` allows nothing."""
        patterns = {"configure": configure, "write": write, "read": read}
        self.call("PUT", f"permissions/{quoted(vhost)}/{quoted(user)}", patterns)

    def delete_queue(self, name: str, *, vhost: str = "/") -> None:
        """Delete it with what it holds; its consumers get `basic.cancel`."""
        self.call("DELETE", f"queues/{quoted(vhost)}/{quoted(name)}")


def quoted(name: str) -> str:
    """A name as a part of a path or of a URL."""
    return quote(name, safe="")
