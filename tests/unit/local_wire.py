"""A client of AWS JSON 1.0 on a bare socket, for the tests of the local SWF: it hides nothing."""

import json
import socket
from typing import Any, NamedTuple, Self


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    @property
    def error(self) -> str:
        assert self.status >= 400, self
        return str(self.json["__type"])


class Wire:
    """One connection, kept alive. A closed connection is an EOFError."""

    def __init__(self, endpoint: str, timeout: float = 10.0) -> None:
        host, _, port = endpoint.removeprefix("http://").rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, operation: str, **members: Any) -> None:
        body = json.dumps(members).encode()
        head = (
            f"POST / HTTP/1.1\r\nHost: local\r\nX-Amz-Target: SimpleWorkflowService.{operation}\r\n"
            f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + body)

    def receive(self) -> Answer:
        line = self._file.readline()
        if not line:
            raise EOFError
        status = int(line.split()[1])
        headers = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers["content-length"])
        body = self._file.read(length)
        if len(body) < length:
            raise EOFError(f"{len(body)} of {length} bytes")
        return Answer(status, headers, body)

    def call(self, operation: str, **members: Any) -> Answer:
        self.send(operation, **members)
        return self.receive()

    def send_poll(self, domain: str = "demo", task_list: str = "demo", **members: Any) -> None:
        self.send("PollForActivityTask", domain=domain, taskList={"name": task_list}, **members)

    def poll(self, domain: str = "demo", task_list: str = "demo", **members: Any) -> Answer:
        self.send_poll(domain, task_list, **members)
        return self.receive()

    def token(self, task_list: str = "demo") -> str:
        """Poll for a task that is there and return its token."""
        return str(self.poll(task_list=task_list).json["taskToken"])
