"""Good work beside an attack: tasks at a steady pace, and a worker that answers each at once.

Both are a process of their own: what they see is the bridge's and RabbitMQ's doing, and this
machine's, but not that of who attacks or measures.
"""

import json
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import pika

from bridge.conformance.amqp import BoundedConnection
from bridge.local import LocalClient
from tests.worker import EXCHANGE, REPLIES

RATE = 20
"""Tasks a second."""
NAME, VERSION = "Steady.say", "1.0"
QUEUE = "steady"
PAUSE = "pause"
"""Said to the process: submit no more tasks, and answer those that are there."""


def work(endpoint: str, url: str, pipe: Connection) -> None:
    """Submit tasks and answer them, until the pipe ends."""
    paused, over = threading.Event(), threading.Event()
    threads = (
        threading.Thread(target=_submit, args=(LocalClient(endpoint), paused)),
        threading.Thread(target=_answer, args=(url, over)),
    )
    for thread in threads:
        thread.start()
    try:
        while pipe.recv() == PAUSE:
            paused.set()
    except EOFError:
        paused.set()
        over.set()
    for thread in threads:
        thread.join()


def _submit(swf: LocalClient, paused: threading.Event) -> None:
    due = time.monotonic()
    while not paused.is_set():
        swf.submit(NAME, VERSION, task_list="good")
        due += 1 / RATE
        paused.wait(max(0.0, due - time.monotonic()))


def _answer(url: str, over: threading.Event) -> None:
    while not over.is_set():
        try:
            _consume(url, over)
        except pika.exceptions.AMQPError:
            over.wait(0.2)


def _consume(url: str, over: threading.Event) -> None:
    with BoundedConnection(pika.URLParameters(url)) as connection:
        channel: Any = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(QUEUE, durable=True)
        channel.queue_bind(QUEUE, EXCHANGE, f"{NAME}.{VERSION}")
        channel.basic_qos(prefetch_count=100)
        for method, _, body in channel.consume(QUEUE, inactivity_timeout=0.1):
            if over.is_set():
                return
            if method is not None:
                token = json.loads(body)["taskToken"]
                reply = {"taskToken": token, "status": "completed", "result": "good"}
                kept = pika.BasicProperties(delivery_mode=2)
                channel.basic_publish("", REPLIES, json.dumps(reply), kept, mandatory=True)
                channel.basic_ack(method.delivery_tag)
