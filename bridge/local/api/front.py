"""Dispatch HTTP requests to SWF's operations or the admin verbs; apply latency and faults."""

import asyncio
import json
from typing import Any

from bridge.bounds import decode_json
from bridge.local.api.admin import Admin
from bridge.local.api.browsers import JSON, refusal
from bridge.local.api.faults import SPOILS, Call, Fault, Faults
from bridge.local.api.operations import Operations
from bridge.local.api.wire import Reply, Request
from bridge.local.swf.errors import SwfError
from bridge.local.swf.ledger import Ledger
from bridge.local.swf.model import Swf
from bridge.local.swf.options import Options

POLL = "PollForActivityTask"
_HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


class Front:
    """Serves each request: SWF's operations by X-Amz-Target, the admin verbs under /local/."""

    def __init__(self, loop: asyncio.AbstractEventLoop, options: Options) -> None:
        self.swf = Swf(loop, options)
        self.faults = Faults()
        self.ledger = Ledger(self.swf, loop)
        self.admin = Admin(self.swf, self.ledger, self.faults)
        self._loop = loop
        self._operations = Operations(self.swf)

    def serve(self, request: Request, reply: Reply) -> None:
        """Answer a request through `reply`, perhaps after this method has returned."""
        ours = request.path == "/local" or request.path.startswith("/local/")
        wants_json = ours and request.method == "POST"
        status, why = refusal(request.headers, wants_json=wants_json)
        if status:
            reply.send(status, json.dumps({"error": why}).encode(), JSON)
        elif ours:
            self.admin.serve(request, reply)
        else:
            self._begin(request, reply)

    def _begin(self, request: Request, reply: Reply) -> None:
        """Carry out an operation of SWF, after the latency and the delay of a fault."""
        operation = request.target.rpartition(".")[2]
        try:
            members = decode_json(request.body or b"{}")
        except ValueError:
            members = None
        fault = self.faults.pick(self._call(operation, members)) if self.faults else None
        delay = self.swf.options.latency + (fault.delay if fault else 0.0)
        if delay > 0:
            self._loop.call_later(delay, self._act, operation, members, fault, reply)
        else:
            self._act(operation, members, fault, reply)

    def _call(self, operation: str, members: Any) -> Call:
        if not isinstance(members, dict):
            return Call(operation, None, None, None)
        token = members.get("taskToken")
        task = self.swf.peek(token)
        if task is not None:
            return Call(operation, task.execution.domain, task.task_list, token)
        task_list = members.get("taskList")
        name = task_list.get("name") if isinstance(task_list, dict) else None
        return Call(operation, members.get("domain"), name, token)

    def _act(self, operation: str, members: Any, fault: Fault | None, reply: Reply) -> None:
        if fault is not None and not fault.acts:
            self.ledger.count(operation, fault.kind)
            self._strike(fault, reply)
            return
        spoiler = fault.kind if fault is not None and fault.kind in SPOILS else None
        reply.spoiled = spoiler
        try:
            if members is None:
                raise SwfError("SerializationException", "The request is no JSON object")
            if operation == POLL:
                self._poll(members, spoiler, reply)
                return
            answer = self._operations.call(operation, members)
        except SwfError as error:
            self.ledger.count(operation, spoiler or error.code)
            _answer(spoiler, reply, error.status, error.body())
            return
        self.ledger.count(operation, spoiler or "ok")
        _answer(spoiler, reply, 200, b"" if answer is None else json.dumps(answer).encode())

    def _poll(self, members: Any, spoiler: str | None, reply: Reply) -> None:
        def answer(polled: dict[str, Any]) -> None:
            reply.on_lost = None
            self.ledger.count(POLL, spoiler or ("task" if polled.get("taskToken") else "empty"))
            _answer(spoiler, reply, 200, json.dumps(polled).encode())

        reply.on_lost = self._operations.poll(members, reply, answer)

    def _strike(self, fault: Fault, reply: Reply) -> None:
        if fault.kind == "cut-before":
            reply.cut()
        elif fault.kind == "html":
            reply.send(502, _HTML, "text/html")
        elif fault.kind == "garbage":
            reply.send(200, b'\x00\xff{"taskToken": [')
        elif fault.kind == "empty":
            reply.send(200, json.dumps(self._operations.empty_poll()).encode())
        else:
            error = fault.refusal()
            reply.send(error.status, error.body())


def _answer(spoiler: str | None, reply: Reply, status: int, body: bytes) -> None:
    if spoiler is None:
        reply.send(status, body)
    elif spoiler == "half-body":
        reply.half(status, body)
    else:
        reply.cut()
