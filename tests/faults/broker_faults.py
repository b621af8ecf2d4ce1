"""What RabbitMQ, and those who look after it, do to the bridge."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from bridge.local.management import NodeError

from .daemon import until
from .registry import BROKER, fault
from .workers import EXCHANGE

if TYPE_CHECKING:
    from .bench import Bench


@fault(BROKER)
def broker_killed(bench: "Bench") -> Iterator[None]:
    bench.node.kill()
    yield
    bench.node.start()


@fault(BROKER)
def application_stopped(bench: "Bench") -> Iterator[None]:
    bench.node.stop_app()
    yield
    bench.node.start_app()


@fault(BROKER)
def connections_closed(bench: "Bench") -> Iterator[None]:
    bench.node.close_all_connections()
    yield


@fault(BROKER)
def broker_paused(bench: "Bench") -> Iterator[None]:
    """Beyond the heartbeat, which the bench sets to 3 s: a peer is given up within 2 x (3 + 5)."""
    bench.node.pause()
    try:
        time.sleep(12)
        yield
    finally:
        bench.node.resume()


@fault(BROKER)
def memory_alarm(bench: "Bench") -> Iterator[None]:
    bench.node.memory_alarm(on=True)
    yield
    bench.node.memory_alarm(on=False)


@fault(BROKER)
def disk_alarm(bench: "Bench") -> Iterator[None]:
    bench.node.eval('rabbit_disk_monitor:set_disk_free_limit("1000000GB").')
    yield
    bench.node.eval('rabbit_disk_monitor:set_disk_free_limit("10MB").')


@fault(BROKER)
def reply_queue_deleted(bench: "Bench") -> Iterator[None]:
    bench.lossy = True
    bench.node.delete_queue("swf.replies", vhost=bench.vhost)
    yield
    bench.cure()


@fault(BROKER)
def dead_letter_queue_deleted(bench: "Bench") -> Iterator[None]:
    """It stands again once there is something to be put in it."""
    name = "swf.replies.dead"
    bench.node.delete_queue(name, vhost=bench.vhost)
    with ExitStack() as stack:
        channel = bench.channel(stack)
        channel.basic_publish("", "swf.replies", b"no reply: chaos")
    yield
    until(lambda: bench.messages_in(name) >= 1, 30, "the dead letter in a new queue", bench.words)


@fault(BROKER)
def worker_queue_deleted(bench: "Bench") -> Iterator[None]:
    bench.lossy = True
    bench.node.delete_queue("work.victim", vhost=bench.vhost)
    yield
    until(lambda: bench.messages_in("work.victim") >= 0, 20, "the queue declared again")
    bench.cure()


@fault(BROKER)
def exchange_deleted(bench: "Bench") -> Iterator[None]:
    bench.node.call("DELETE", f"exchanges/{bench.vhost}/{EXCHANGE}")
    yield
    until(lambda: bench.has_exchange(EXCHANGE), 30, "the exchange declared again", bench.words)
    for worker in bench.workers:  # a worker's binding went with the exchange
        bench.bind(worker)


@fault(BROKER)
def permission_taken(bench: "Bench") -> Iterator[None]:
    bench.allow("^$", "^$", "^$")
    bench.node.close_all_connections()
    yield
    bench.allow()


@fault(BROKER)
def permission_to_write_taken(bench: "Bench") -> Iterator[None]:
    """What was declared is found, but nothing may be published."""
    bench.allow(write="^$")
    bench.node.close_all_connections()
    yield
    bench.allow()


@fault(BROKER)
def permission_denied_for_one_key(bench: "Bench") -> Iterator[None]:
    """The other type goes on meanwhile."""
    path = f"topic-permissions/{bench.vhost}/bridge"
    bench.node.call("PUT", path, {"exchange": EXCHANGE, "write": r"^steady\.", "read": ".*"})
    bench.node.close_all_connections()
    try:
        yield
        bench.await_replies("work.steady", 10, seconds=20)
    finally:
        bench.node.call("DELETE", path)


@fault(BROKER)
def worker_queue_full(bench: "Bench") -> Iterator[None]:
    """`reject-publish`: RabbitMQ nacks what is over; the other type goes on meanwhile."""
    worker = bench.workers[1]
    worker.idle.set()
    policy = {"pattern": r"^work\.victim$", "apply-to": "queues"}
    definition = {"max-length": 1, "overflow": "reject-publish"}
    path = f"policies/{bench.vhost}/full"
    bench.node.call("PUT", path, {**policy, "definition": definition})
    try:
        yield
        bench.await_replies("work.steady", 10, seconds=20)
    finally:
        with suppress(NodeError):
            bench.node.call("DELETE", path)
        worker.idle.clear()


@fault(BROKER)
def worker_queue_unbound(bench: "Bench") -> Iterator[None]:
    """No queue for one type: it waits in the journal, and delays no other."""
    worker = bench.workers[1]
    with ExitStack() as stack:
        bench.channel(stack).queue_unbind(worker.queue, EXCHANGE, worker.key)
    yield
    bench.await_replies("work.steady", 10, seconds=10)
    bench.bind(worker)
