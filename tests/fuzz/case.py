"""One case: what the bridge does with a message, in process, by its own functions."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass

from pika.spec import BasicProperties

from bridge.errors import BadReply
from bridge.message.message import ATTEMPT_HEADER, Message, heartbeat_answer
from bridge.message.replies import DEAD_LETTER_CODES, decode_reply
from bridge.rabbitmq import pika_tables
from bridge.rabbitmq.amqp import from_pika, to_pika
from bridge.rabbitmq.consuming.copies import dead_letter, to_the_tail
from bridge.task import Heartbeat, Reply

from .amqp_tables import FRAME_MAX, accepts, frame, mutated
from .replies import body

pika_tables.install()

ATTEMPT = "01234567-123456789"
LONGEST_TEXTS = {"token": 1024, "result": 32_768, "reason": 256, "details": 32_768}
"""UTF-16 code units, by the contract; `details` of a heartbeat have 2,048."""
MOST_LEVELS = 100
MOST_TABLES, MOST_VALUES = 50, 1000
"""Of headers, the outermost table counted among the tables."""


@dataclass(frozen=True)
class Case:
    """A message as RabbitMQ could deliver it to the bridge."""

    body: bytes
    header: bytes

    @classmethod
    def of(cls, seed: int) -> "Case":
        """The case of a number, always the same."""
        chance = random.Random(seed)
        header = frame(chance)
        if chance.random() < 0.4:
            changed = mutated(chance, header)
            header = changed if accepts(changed) else header
        return cls(body(chance), header)

    def run(self) -> str:
        """The name of the reply or the code of the dead letter; raises where the bridge would."""
        properties = from_pika(BasicProperties().decode(self.header))
        if len(self.header) > MOST_VALUES:
            assert_within(properties["headers"], levels=MOST_TABLES, values=MOST_VALUES)
        reply = None
        try:
            reply = decode_reply(self.body, properties["headers"])
        except BadReply as error:
            code, detail = error.code, error.detail
        else:
            self._assert_bounded(reply)
            _can_be_sent(to_the_tail("replies", self.body, properties))
            self._answer(reply, properties)
            code, detail = "refused-by-swf", "x" * 2000
        assert code in DEAD_LETTER_CODES
        _can_be_sent(dead_letter("dead", self.body, properties, code, detail))
        return code if reply is None else type(reply).__name__

    def _assert_bounded(self, reply: Reply) -> None:
        """What was taken is within the contract's numbers, by a count of our own."""
        for field, most in LONGEST_TEXTS.items():
            text = getattr(reply, field, None) or ""
            longest = 2048 if field == "details" and isinstance(reply, Heartbeat) else most
            assert len(text.encode("utf-16-le", "surrogatepass")) // 2 <= longest, field
        if self.body.count(b"[") + self.body.count(b"{") > MOST_LEVELS:
            assert_within(json.loads(self.body.decode("utf-8-sig")), levels=MOST_LEVELS)

    def _answer(self, reply: Reply, properties: dict[str, object]) -> None:
        reply_to = properties.get("reply_to")
        if isinstance(reply, Heartbeat) and isinstance(reply_to, str) and reply_to:
            answer = heartbeat_answer(
                reply.token,
                reply_to,
                properties.get("correlation_id"),  # type: ignore[arg-type]
                is_open=True,
                cancel_requested=False,
            )
            _can_be_sent(answer)


def assert_within(value: object, *, levels: int, values: int | None = None) -> None:
    """No deeper, and with no more values, than that; without recursion."""
    count, waiting = 0, [(value, 1)]
    while waiting:
        each, level = waiting.pop()
        if isinstance(each, Mapping | list):
            assert level <= levels, f"{level} levels"
            inner = each.values() if isinstance(each, Mapping) else each
            waiting += [(one, level + 1) for one in inner]
            count += len(each)
    assert values is None or count <= values, f"{count} values"


def _can_be_sent(message: Message) -> None:
    """pika encodes it, and its header frame is none that ends the connection."""
    header = b"".join(to_pika(message, ATTEMPT, ATTEMPT_HEADER).encode())
    assert len(header) <= FRAME_MAX, f"a header of {len(header)} bytes"
    assert accepts(header), "RabbitMQ would close the connection over it"
    assert len(message.routing_key.encode()) <= 255
