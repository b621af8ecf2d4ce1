"""HTTP client of the admin interface of a local SWF in another process."""

import http.client
import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bridge.bounds import decode_json
from bridge.local.control import Control, ControlError, Json

_HEADERS = {"Content-Type": "application/json"}


class LocalClient(Control):
    """Sends verbs to `endpoint`, `http://HOST:PORT`. Each thread keeps its own connection.

    Methods raise ConnectionError if no local SWF answers, and ControlError if it refuses.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._address = urlsplit(endpoint).netloc
        self._local = threading.local()

    def ask(self, verb: str, body: Mapping[str, Any], timeout: float = 30.0) -> Json:
        """Carry out one verb over HTTP."""
        wanted = json.dumps({k: v for k, v in body.items() if v is not None})
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._address, timeout=timeout)
            self._local.connection = connection
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        try:
            connection.request("POST", f"/local/{verb}", wanted, _HEADERS)
            response = connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            cause = getattr(error, "strerror", None) or error
            raise ConnectionError(f"no local SWF answers at {self.endpoint}: {cause}") from error
        return _decoded(self.endpoint, status, answer)

    def close(self) -> None:
        """Close this thread's connection; the next call opens a new one."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None


def _decoded(endpoint: str, status: int, body: bytes) -> Json:
    try:
        answer = decode_json(body, size=len(body))
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ConnectionError(f"what answers at {endpoint} is no local SWF (HTTP {status})")
    if status != 200:
        raise ControlError(str(answer.get("error", f"HTTP {status}")))
    return answer
