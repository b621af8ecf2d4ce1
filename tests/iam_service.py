"""STS and IAM for one identity, over HTTP: whose the credentials are, and what its policies say.

moto has no SimulatePrincipalPolicy. This one evaluates real policy documents, with the operators
that those of config/iam/ use; it shares nothing with the code that asks it.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

USER = "arn:aws:iam::123456789012:user/bridge"
ROLE = "arn:aws:iam::123456789012:role/service-role/bridge"
SESSION = "arn:aws:sts::123456789012:assumed-role/bridge/i-0abc"
Document = Mapping[str, Any]


@dataclass
class Identity:
    """Who asks, and by which policies. `denied` are calls of IAM's own that it may not make."""

    owner: str = USER
    source: str = USER
    policies: Sequence[Document] = ()
    denied: Sequence[str] = ()
    missing: Sequence[str] = ()
    """Keys of conditions that IAM says it has no value for."""
    endpoint: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, action: str, given: Mapping[str, str]) -> tuple[int, str]:
        """The status and body of an answer."""
        self.asked.append(action)
        if action in self.denied:
            return 403, _error("AccessDenied", f"not authorized to perform: iam:{action}")
        match action:
            case "GetCallerIdentity":
                told = f"<Arn>{self.owner}</Arn><UserId>X</UserId><Account>123456789012</Account>"
            case "GetRole":
                told = f"<Role><Arn>{self.source}</Arn><Path>/</Path></Role>"
            case "SimulatePrincipalPolicy":
                if given["PolicySourceArn"] != self.source:
                    return 404, _error("NoSuchEntity", "cannot be found")
                results = "".join(self._result(each, given) for each in _members(given, "Action"))
                told = f"<EvaluationResults>{results}</EvaluationResults>"
            case _:
                return 400, _error("InvalidAction", action)
        return 200, f"<{action}Response><{action}Result>{told}</{action}Result></{action}Response>"

    def _result(self, action: str, given: Mapping[str, str]) -> str:
        keys = {
            given[name]: given[name.replace("KeyName", "KeyValues.member.1")]
            for name in given
            if name.endswith(".ContextKeyName")
        }
        (resource,) = _members(given, "ResourceArns")
        effects = {
            statement["Effect"]
            for policy in self.policies
            for statement in policy["Statement"]
            if _applies(statement, action, resource, keys)
        }
        decision = "explicitDeny" if "Deny" in effects else "implicitDeny"
        decision = "allowed" if effects == {"Allow"} else decision
        missing = "".join(f"<member>{escape(each)}</member>" for each in self.missing)
        return (
            f"<member><EvalActionName>{action}</EvalActionName>"
            f"<EvalDecision>{decision}</EvalDecision>"
            f"<MissingContextValues>{missing}</MissingContextValues></member>"
        )


def _members(given: Mapping[str, str], name: str) -> list[str]:
    return [value for key, value in given.items() if key.startswith(name) and ".member." in key]


def _applies(statement: Document, action: str, resource: str, keys: Mapping[str, str]) -> bool:
    actions, resources = _several(statement["Action"]), _several(statement["Resource"])
    equal = statement.get("Condition", {}).get("StringEquals", {})
    return (
        any(fnmatchcase(action, each) for each in actions)
        and any(fnmatchcase(resource, each) for each in resources)
        and all(keys.get(key) in _several(wanted) for key, wanted in equal.items())
    )


def _several(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def _error(code: str, message: str) -> str:
    return (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
        f"<Message>{message}</Message></Error></ErrorResponse>"
    )


@contextmanager
def serving(identity: Identity) -> Iterator[Identity]:
    """`identity.endpoint` answers for STS and IAM."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            given = {key: values[0] for key, values in parse_qs(body).items()}
            status, text = identity.answer(given.pop("Action"), given)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        identity.endpoint = f"http://127.0.0.1:{server.server_port}"
        try:
            yield identity
        finally:
            server.shutdown()
            thread.join()
