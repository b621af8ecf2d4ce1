"""An instant worker: answers each task with ``ok``. Its queue takes every type but ``parked``."""

import json
import sys

import pika

EXCHANGE, QUEUE, PARKED = "swf.activities", "work", "parked"


def main(url: str) -> None:
    """Declare the queues, say ``up``, and answer for ever."""
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    for queue, key in ((QUEUE, "greet.#"), (PARKED, "parked.#")):
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, EXCHANGE, key)
    channel.basic_qos(prefetch_count=200)
    persistent = pika.BasicProperties(delivery_mode=2)

    def answer(_channel, method, properties, body) -> None:  # type: ignore[no-untyped-def]
        token = json.loads(body)["taskToken"]
        reply = {"taskToken": token, "status": "completed", "result": "ok"}
        channel.basic_publish("", properties.reply_to, json.dumps(reply).encode(), persistent)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(QUEUE, answer)
    print("up", flush=True)
    channel.start_consuming()


if __name__ == "__main__":
    main(sys.argv[1])
