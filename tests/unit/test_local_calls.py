"""Which calls of Amazon SWF the local SWF has, and what it says of the others."""

import re
from pathlib import Path

import botocore.session

from bridge.local import LocalSwf
from tests.unit.local_wire import Wire

PAGE = Path(__file__).parents[2] / "docs/workers.md"


def test_every_call_that_botocore_knows_is_answered_or_refused_as_the_docs_say() -> None:
    """Without its members: one that it has asks for them."""
    (listed,) = re.findall(r"^It has these calls: ([^.]*)\.", PAGE.read_text(), re.MULTILINE)
    known = botocore.session.get_session().get_service_model("swf").operation_names
    with LocalSwf(hold=0.05) as swf, Wire(swf.endpoint) as wire:
        answered = {name for name in known if has(wire, name)}
    assert answered == set(re.findall(r"`(\w+)`", listed))


def has(wire: Wire, operation: str) -> bool:
    answer = wire.call(operation)
    assert answer.status == 400
    if not answer.error.endswith("#UnknownOperationException"):
        return True
    assert answer.json["message"].startswith(f"The local SWF does not have {operation}: ")
    return False
