"""A worker in Python, for three types of activity, with heartbeats. It connects again by itself."""
import json, os, signal, time, pika

URL, QUEUE = os.environ.get("AMQP_URL", "amqp://localhost"), os.environ.get("QUEUE", "worker.python")
DIRECT, WAIT = "amq.rabbitmq.reply-to", 5  # seconds for a heartbeat's answer; without one the bridge is away: go on
answered, stopping = set(), []
Closed, Canceled = (type(name, (Exception,), {}) for name in ("Closed", "Canceled"))

def echo(task, beat, rest): return task.get("input", "")
def check(task, beat, rest):
    if (order := json.loads(task["input"]))["amount"] <= 0: raise ValueError("amount must be positive")
    return {"order": order["order"], "accepted": True}
def encode(task, beat, rest):
    for step in range(json.loads(task["input"])["steps"]):
        if step % 5 == 0: beat(f"step {step}")  # once a second: a third of the time-out, or oftener
        rest(0.2)  # the work; never longer than half of AMQP's own heartbeat (60 s) without either
    return "encoded"
ACTIVITIES = {"Text.echo.1.0": echo, "Order.check.1.0": check, "Video.encode.2.0": encode}

def perform(connection, channel, answers, method, properties, body):
    task, id = json.loads(body), properties.message_id
    def reply(fields, **options):
        message = json.dumps({"taskToken": task["taskToken"], **fields})  # persistent, mandatory and confirmed
        channel.basic_publish("", properties.reply_to, message, pika.BasicProperties(delivery_mode=2, **options), True)
    def beat(details):
        until, ask = time.monotonic() + WAIT, f"{id}.{time.monotonic_ns()}"  # no old answer is taken for a new one
        reply({"status": "heartbeat", "details": details}, reply_to=DIRECT, correlation_id=ask)
        while ask not in answers and time.monotonic() < until: connection.process_data_events(0.1)
        answer = answers.pop(ask, {"open": True})
        if not answer["open"]: raise Closed  # timed out or terminated: nobody waits for a reply
        if answer.get("cancelRequested"): raise Canceled
    if id in answered: return  # delivered twice
    try:
        if method.redelivered: beat("again")  # another worker may have answered
        elif properties.headers.get("swf-deadline", 1e99) < time.time() * 1000: return  # SWF has given it up
        reply({"status": "completed", "result": ACTIVITIES[method.routing_key](task, beat, connection.sleep)})
    except Closed: pass
    except Canceled: reply({"status": "canceled"})
    except pika.exceptions.AMQPError: connection.close(); raise  # lost, or RabbitMQ refused: the task comes again
    except Exception as error: reply({"status": "failed", "reason": str(error)})
    answered.add(id)

def work(connection):
    channel, answers = connection.channel(), {}
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=1)  # one task at a time; start several workers for more
    channel.queue_declare(QUEUE, durable=True)
    for key in ACTIVITIES: channel.queue_bind(QUEUE, "swf.activities", key)
    channel.basic_consume(DIRECT, lambda c, m, p, body: answers.update({p.correlation_id: json.loads(body)}), True)
    for method, properties, body in channel.consume(QUEUE, inactivity_timeout=0.5):
        if method:
            perform(connection, channel, answers, method, properties, body)
            channel.basic_ack(method.delivery_tag)  # after the reply: a worker that dies earlier leaves its task
        if stopping: return connection.close()

signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))  # what is in hand is finished
while not stopping:
    try: work(pika.BlockingConnection(pika.URLParameters(URL)))
    except (pika.exceptions.AMQPError, OSError): time.sleep(1)  # away: its task comes again, to this or another
