"""A worker that keeps the contract, but for one way in which it does not: `broken.py [WAY]`.

`durable stays`: its queue stays without a worker, and goes with RabbitMQ. `late` keeps it in every
way, and acknowledges a task two seconds after its reply.

AMQP_URL and QUEUE as for the examples. It shares no code with them, nor with the bridge.
"""

import json
import os
import signal
import sys
import time

import pika

WAY = sys.argv[1] if len(sys.argv) > 1 else ""
QUEUE = "worker.tried"
KEYS = ("Text.echo.1.0", "Order.check.1.0", "Video.encode.2.0")
DIRECT = "amq.rabbitmq.reply-to"


class Stop(Exception):
    """Ends a task without a reply."""


class Worker:
    def __init__(self):
        self.connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
        self.channel = channel = self.connection.channel()
        if WAY != "confirmed":
            channel.confirm_delivery()
        channel.exchange_declare("swf.activities", "topic", durable=True)
        stays = "stays" in sys.argv
        fleeting = WAY == "durable" and not stays
        channel.queue_declare(QUEUE, durable=not stays, auto_delete=fleeting)
        for key in KEYS:
            channel.queue_bind(QUEUE, "swf.activities", key)
        if WAY != "prefetch":
            channel.basic_qos(prefetch_count=1)
        self.beats = self.connection.channel()
        self.answers = []
        self.beats.basic_consume(DIRECT, lambda *got: self.answers.append(got[3]), auto_ack=True)
        self.answered = set()
        self.stopping = False
        signal.signal(signal.SIGTERM, self.stop)

    def stop(self, *_):
        self.stopping = WAY != "stop"

    def run(self):
        consumer = self.channel.consume(QUEUE, auto_ack=WAY == "takes", inactivity_timeout=0.1)
        for method, properties, body in consumer:
            if self.stopping:
                break
            if method is None or WAY == "takes":
                continue
            if WAY == "killed":
                self.channel.basic_ack(method.delivery_tag)
            until = properties.headers.get("swf-deadline")
            past = until is not None and until < time.time() * 1000 and not method.redelivered
            if not past or WAY == "deadline":
                self.perform(method, properties, json.loads(body))
            if WAY == "late":
                self.connection.sleep(2)
            if WAY != "killed":
                self.channel.basic_ack(method.delivery_tag)
        self.connection.close()  # what was delivered meanwhile goes back

    def perform(self, method, properties, task):
        self.task, self.properties = task, properties
        if properties.message_id in self.answered and WAY != "duplicate":
            return
        try:
            if method.redelivered:
                self.beat()
            self.reply(**self.done())
        except Stop:
            pass
        except KeyError as missing:
            self.reply(status="failed", reason=f"no {missing}")
        self.answered.add(properties.message_id)

    def done(self):
        task_input = self.task["input"] if WAY == "no-input" else self.task.get("input")
        match self.task["activityType"]["name"]:
            case "Text.echo":
                return self.echo(task_input)
            case "Order.check":
                return {"status": "failed", "reason": None if WAY == "fails" else "not so"}
        return self.encode(json.loads(task_input)["steps"])

    def echo(self, text):
        if WAY == "nothing-else" and text == "once":
            self.publish("this is no JSON")
        if WAY == "empty" and text == "":
            return {"status": "failed", "reason": "no input"}
        if WAY == "unicode" and text:
            text = text.encode("ascii", "replace").decode() if len(text) < 100 else text
        if WAY == "large" and text:
            text = text[:30_000]
        return {"status": "done" if WAY == "completes" else "completed", "result": text or ""}

    def encode(self, steps):
        for step in range(steps):
            if step % (18 if WAY == "heartbeat" else 5) == 0:
                self.beat()
            time.sleep(0.2)
        return {"status": "completed", "result": "encoded"}

    def beat(self):
        self.answers.clear()
        body = {"taskToken": self.task["taskToken"], "status": "heartbeat"}
        properties = pika.BasicProperties(reply_to=DIRECT, delivery_mode=2)
        self.beats.basic_publish("", self.properties.reply_to, json.dumps(body), properties)
        patience = time.monotonic() + (1.5 if WAY == "restart" else 20)
        while not self.answers:
            self.connection.process_data_events(0.05)
            if time.monotonic() > patience:
                if WAY == "late":
                    return  # the bridge is away: go on
                raise Stop
        answer = json.loads(self.answers[0])
        if not answer["open"] and WAY != "closed":
            raise Stop
        if answer["cancelRequested"] and WAY != "cancel":
            self.reply(status="canceled")
            raise Stop

    def reply(self, **fields):
        self.publish(json.dumps({"taskToken": self.task["taskToken"], **fields}))

    def publish(self, body):
        queue = "swf.replies" if WAY == "reply-to" else self.properties.reply_to
        mode = 1 if WAY == "persistent" else 2
        properties = pika.BasicProperties(delivery_mode=mode)
        while True:
            try:
                return self.channel.basic_publish("", queue, body, properties, mandatory=True)
            except pika.exceptions.NackError:  # once more
                self.connection.sleep(0.2)


if __name__ == "__main__":
    Worker().run()
