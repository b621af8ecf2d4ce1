"""What is declared on channels of its own, and what becomes of the channels."""

import pytest

from bridge.rabbitmq.setup import Declarations
from bridge.rabbitmq.topology import Exchange


class Channel:
    """A channel on which RabbitMQ answers nothing."""

    is_open = True

    def close(self) -> None:
        self.is_open = False


def test_a_channel_on_which_rabbitmq_did_not_answer_in_time_is_closed():
    channel = Channel()

    async def open_channel() -> Channel:
        return channel

    declarations = Declarations("publisher", [], [], declare=True)
    standing = declarations.stand_all(open_channel, [Exchange("tasks", "topic")], 2.0)
    assert standing.send(None).patience == 2.0
    with pytest.raises(TimeoutError):
        standing.throw(TimeoutError("no answer"))
    assert not channel.is_open
