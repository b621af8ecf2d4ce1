"""Baseline (b): a bridge as one would write it in an afternoon.

boto3, one BlockingConnection a thread, persistent messages, confirms and mandatory on. No journal,
no back-off, no reconnecting: it loses tasks when it dies and stops at the first error.
"""

import json
import sys
import threading

import boto3
import pika
from botocore.config import Config

EXCHANGE, REPLIES = "swf.activities", "swf.replies"


def channel(url: str) -> pika.adapters.blocking_connection.BlockingChannel:
    """A channel on a connection of its own."""
    return pika.BlockingConnection(pika.URLParameters(url)).channel()


def main(url: str, domain: str, task_list: str, threads: int) -> None:
    """Bridge, for ever: so many threads each way."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        read_timeout=70,
        max_pool_connections=2 * threads,
    )
    client = boto3.client("swf", config=config)

    def forward() -> None:
        broker = channel(url)
        broker.confirm_delivery()
        while True:
            task = client.poll_for_activity_task(domain=domain, taskList={"name": task_list})
            token = task.get("taskToken")
            if not token:
                broker.connection.process_data_events()
                continue
            body = {key: task[key] for key in ("taskToken", "activityId", "input") if key in task}
            kind = task["activityType"]
            broker.basic_publish(
                EXCHANGE,
                f"{kind['name']}.{kind['version']}",
                json.dumps(body).encode(),
                pika.BasicProperties(
                    delivery_mode=2, content_type="application/json", reply_to=REPLIES
                ),
                mandatory=True,
            )

    def back() -> None:
        broker = channel(url)
        broker.basic_qos(prefetch_count=10)
        for method, _, body in broker.consume(REPLIES):
            reply = json.loads(body)
            client.respond_activity_task_completed(
                taskToken=reply["taskToken"], result=reply["result"]
            )
            broker.basic_ack(method.delivery_tag or 0)

    # Once, beforehand: sixteen at a time make RabbitMQ 3.10 fail with INTERNAL_ERROR.
    setup = channel(url)
    setup.exchange_declare(EXCHANGE, "topic", durable=True)
    setup.queue_declare(REPLIES, durable=True, arguments={"x-queue-type": "quorum"})
    for _ in range(threads):
        threading.Thread(target=forward).start()
        threading.Thread(target=back).start()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
