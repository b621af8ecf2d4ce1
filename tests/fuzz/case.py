"""One case: what the bridge does with a message, in process, by its own functions."""

import random
from dataclasses import dataclass

from pika.spec import BasicProperties

from bridge.errors import BadReply
from bridge.message.message import ATTEMPT_HEADER, Message
from bridge.message.replies import DEAD_LETTER_CODES, decode_reply
from bridge.message.tasks import heartbeat_answer
from bridge.rabbitmq import pika_tables
from bridge.rabbitmq.amqp import from_pika, to_pika
from bridge.rabbitmq.copies import dead_letter, to_the_tail
from bridge.task import Heartbeat, Reply

from .amqp_tables import FRAME_MAX, accepts, frame, mutated
from .replies import body

pika_tables.install()

ATTEMPT = "01234567-123456789"


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
        reply = None
        try:
            reply = decode_reply(self.body, properties["headers"])
        except BadReply as error:
            code, detail = error.code, error.detail
        else:
            _can_be_sent(to_the_tail("replies", self.body, properties))
            self._answer(reply, properties)
            code, detail = "refused-by-swf", "x" * 2000
        assert code in DEAD_LETTER_CODES
        _can_be_sent(dead_letter("dead", self.body, properties, code, detail))
        return code if reply is None else type(reply).__name__

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


def _can_be_sent(message: Message) -> None:
    """pika encodes it, and its header frame is none that ends the connection."""
    header = b"".join(to_pika(message, ATTEMPT, ATTEMPT_HEADER).encode())
    assert len(header) <= FRAME_MAX, f"a header of {len(header)} bytes"
    assert accepts(header), "RabbitMQ would close the connection over it"
    assert len(message.routing_key.encode()) <= 255
