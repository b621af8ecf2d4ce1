"""Client of RabbitMQ's management API: it adds a vhost in 15 ms, `rabbitmqctl` in 500 ms."""

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote


class NodeError(Exception):
    """A node did not start or a command failed; the message has the output."""


class HttpApi:
    """The API of one node, with the login of one user."""

    def __init__(self, base: str, user: str = "guest", password: str = "guest") -> None:  # noqa: S107
        self.base = base.rstrip("/")
        self._user = user
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the decoded answer, None if it is empty; `path` is relative to `/api/` and quoted.

        Raises NodeError with the broker's text for an HTTP error, and if the node is unreachable.
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
        """Add a vhost in which the user of this API has all permissions."""
        self.call("PUT", f"vhosts/{quoted(name)}", {})
        self.set_permissions(self._user, vhost=name)

    def delete_vhost(self, name: str) -> None:
        """Delete the vhost with its queues and exchanges; its connections are closed."""
        self.call("DELETE", f"vhosts/{quoted(name)}")

    def add_user(self, name: str, password: str, tags: str = "") -> None:
        """Add a user without permissions, or set the password and tags of an existing user."""
        self.call("PUT", f"users/{quoted(name)}", {"password": password, "tags": tags})

    def delete_user(self, name: str) -> None:
        """Delete the user and its permissions."""
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
        """Set permissions: regular expressions for names of queues and exchanges; `^$`: none."""
        patterns = {"configure": configure, "write": write, "read": read}
        self.call("PUT", f"permissions/{quoted(vhost)}/{quoted(user)}", patterns)

    def delete_queue(self, name: str, *, vhost: str = "/") -> None:
        """Delete the queue with its messages; its consumers get `basic.cancel`."""
        self.call("DELETE", f"queues/{quoted(vhost)}/{quoted(name)}")


def quoted(name: str) -> str:
    """Quote a name for use in a URL or its path."""
    return quote(name, safe="")
