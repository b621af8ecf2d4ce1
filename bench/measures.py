"""The figures. Each measure takes a node and gives rows of names and numbers."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pika

from bench.expiry import expiry
from bench.morning import morning, turnaround
from bench.stand import PATIENCE, ROOT, Process, Stand, cpu_of, until
from bench.subjects import SUBJECTS, bridge, started
from bench.worker import EXCHANGE
from bridge.conformance.amqp import BoundedConnection
from bridge.local.rabbitmq import RabbitNode

Row = dict[str, Any]
LATENCY = 0.03


class Sizes:
    """How much of everything is done."""

    def __init__(self, *, tiny: bool = False, long: bool = False) -> None:
        self.warm = 20 if tiny else 300
        self.burst = 60 if tiny else 3000
        self.rate = 50.0
        self.windows = 60 if tiny else 2000
        self.seconds = 0.5 if tiny else 10.0
        self.rounds = 1 if tiny else 3
        self.idle = 0.5 if tiny else 10.0
        self.pollers = (1, 5) if tiny else (1, 10, 100, 1000)
        self.in_flight: tuple[int, ...] = (10, 50) if tiny else (10, 100, 1000, 10_000)
        self.probe = 50 if tiny else 3000
        self.morning = 40 if tiny else 2000
        self.limit = 4 if tiny else 20
        self.turnaround = 20 if tiny else 500
        self.expiry = 60 if tiny else 20_000
        self.memory = (50, 100) if tiny else (4000, 8000, 12_000, 16_000, 20_000)
        if long:
            self.in_flight += (100_000,)


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _since(stand: Stand, when: float) -> list[float]:
    """Milliseconds from scheduled to closed of every task since then, in the order of closing."""
    tasks = stand.swf.tasks(since=when, name="greet")
    return [1000 * (task["closedAt"] - task["scheduledAt"]) for task in tasks]


def burst(stand: Stand, subjects: list[Process], count: int, length: int = 200) -> Row:
    """So many tasks at once: rate, CPU a task, p50 and p99, and how busy everybody else was."""
    peers = {
        "swf": stand.swf_process.pid,
        "worker": stand.worker.pid,
        "rabbitmq": stand.node.pid,
    }
    before = {name: cpu_of(pid) for name, pid in peers.items()}
    spent = sum(each.cpu() for each in subjects)
    when, clock = time.time(), time.monotonic()
    ids = stand.submit(count, length=length)
    if not stand.swf.wait_closed(ids, timeout=240):
        raise RuntimeError("tasks were not closed in time")
    wall = time.monotonic() - clock
    # What the subject does after the last answer, acknowledgements and the journal, is its cost.
    time.sleep(0.3)
    spent = sum(each.cpu() for each in subjects) - spent
    taken = _since(stand, when)
    return {
        "tasks/s": count / wall,
        "CPU µs/task": 1e6 * spent / count,
        "p50 ms": statistics.median(taken),
        "p99 ms": _percentile(taken, 0.99),
        "busy %": 100 * spent / wall,
        **{f"{name} %": 100 * (cpu_of(pid) - before[name]) / wall for name, pid in peers.items()},
    }


def steady(stand: Stand, subject: Process, rate: float, seconds: float) -> Row:
    """A task at a time, ``rate`` a second."""
    when, begin, spent = time.time(), time.monotonic(), subject.cpu()
    count = int(rate * seconds)
    ids = []
    for number in range(count):
        time.sleep(max(0.0, begin + number / rate - time.monotonic()))
        ids += stand.submit(1)
    if not stand.swf.wait_closed(ids, timeout=60):
        raise RuntimeError("tasks were not closed in time")
    taken = _since(stand, when)
    return {
        "p50 ms": statistics.median(taken),
        "p99 ms": _percentile(taken, 0.99),
        "CPU µs/task": 1e6 * (subject.cpu() - spent) / count,
    }


def sides(node: RabbitNode, sizes: Sizes) -> Iterator[Row]:
    """All subjects, round by round, one after the other on a stand of its own."""
    for number in range(1, sizes.rounds + 1):
        for subject in SUBJECTS:
            with Stand(node) as stand:
                process, first_poll = started(subject.start, stand)
                row: Row = {"subject": subject.name, "round": number, "first poll s": first_poll}
                stand.swf.wait_closed(stand.submit(sizes.warm), timeout=60)
                slow = steady(stand, process, sizes.rate, sizes.seconds)
                row |= {f"steady {key}": value for key, value in slow.items()}
                row |= burst(stand, [process], sizes.burst)
                row["memory MB"] = process.memory()
                if number == 1:
                    stand.swf.options(latency=LATENCY)
                    far = steady(stand, process, sizes.rate, sizes.seconds)
                    row |= {f"+30 ms steady {key}": value for key, value in far.items()}
                    far = burst(stand, [process], sizes.burst)
                    row |= {f"+30 ms {key}": far[key] for key in ("tasks/s", "CPU µs/task")}
                yield row


def helping(node: RabbitNode, sizes: Sizes) -> Iterator[Row]:
    """How long ``--help`` takes."""
    del node
    command = [sys.executable, "-m", "bridge", "--help"]
    for number in range(1, 2 * sizes.rounds + 2):
        clock = time.monotonic()
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        yield {"round": number, "--help s": time.monotonic() - clock}


def pollers(node: RabbitNode, sizes: Sizes) -> Iterator[Row]:
    """So many polls that wait: memory, and how much of a core they take while nothing happens."""
    for client in ("curl", "boto3"):
        for count in sizes.pollers:
            with Stand(node) as stand:
                start = partial(_bridge, client=client, pollers=count, in_flight=count + 100)
                process, _ = started(start, stand, polls=count)
                time.sleep(1.0)
                spent, clock = process.cpu(), time.monotonic()
                time.sleep(sizes.idle)
                idle = 100 * (process.cpu() - spent) / (time.monotonic() - clock)
                yield {
                    "client": client,
                    "pollers": count,
                    "idle % of a core": idle,
                    "memory MB": process.memory(),
                }


def in_flight(node: RabbitNode, sizes: Sizes) -> Iterator[Row]:
    """So many tasks that nobody answers: what another costs meanwhile, and a start after a kill."""
    for count in sizes.in_flight:
        with Stand(node) as stand:
            start = partial(_bridge, client="curl", in_flight=count + 500)
            process, _ = started(start, stand)
            stand.submit(count, name="parked")
            until(partial(_parked, stand, count), "the tasks are in flight", every=0.2)
            stand.swf.wait_closed(stand.submit(sizes.warm), timeout=120)
            row = burst(stand, [process], sizes.probe)
            memory = process.memory()
            process.kill()
            until(lambda stand=stand: stand.polls() == 0, "the polls are gone")  # type: ignore[misc]
            _, restart = started(start, stand)
            yield {
                "in flight": count,
                "CPU µs/task": row["CPU µs/task"],
                "tasks/s": row["tasks/s"],
                "memory MB": memory,
                "restart s": restart,
            }


def _parked(stand: Stand, count: int) -> bool:
    return bool(stand.swf.counts()["started"] >= count)


def instances(node: RabbitNode, sizes: Sizes) -> Iterator[Row]:
    """Several bridges on one task list and one reply queue."""
    for count in (1, 2, 4):
        with Stand(node) as stand:
            processes = [
                bridge(stand, "curl", journal=f"journal-{number}.db") for number in range(count)
            ]
            until(partial(_polling, stand, 8 * count), "all of them poll")
            stand.swf.wait_closed(stand.submit(sizes.warm), timeout=60)
            row = burst(stand, processes, sizes.burst)
            yield {"instances": count, "tasks/s": row["tasks/s"], "CPU µs/task": row["CPU µs/task"]}


def windows(node: RabbitNode, sizes: Sizes) -> Iterator[Row]:
    """One bridge with a window of 40, and two with 20 and half the pollers each; in turn."""
    for number in range(1, 2 * sizes.rounds):
        for count in (1, 2):
            with Stand(node) as stand:
                processes = [
                    bridge(
                        stand,
                        "curl",
                        pollers=8 // count,
                        in_flight=40 // count,
                        journal=f"journal-{each}.db",
                    )
                    for each in range(count)
                ]
                until(partial(_polling, stand, 8), "all of them poll")
                stand.swf.wait_closed(stand.submit(sizes.warm), timeout=60)
                row = burst(stand, processes, sizes.windows)
                stand.swf.options(latency=LATENCY)
                far = burst(stand, processes, sizes.windows // 4)
                yield {
                    "instances": count,
                    "window": 40 // count,
                    "round": number,
                    "tasks/s": row["tasks/s"],
                    "+30 ms tasks/s": far["tasks/s"],
                    "CPU µs/task": row["CPU µs/task"],
                }


def _polling(stand: Stand, count: int) -> bool:
    return stand.polls() >= count


def inputs(node: RabbitNode, sizes: Sizes) -> Iterator[Row]:
    """Inputs of several lengths."""
    for length in (0, 200, 32_768):
        with Stand(node) as stand:
            process, _ = started(partial(_bridge, client="curl"), stand)
            stand.swf.wait_closed(stand.submit(sizes.warm), timeout=60)
            row = burst(stand, [process], sizes.probe, length)
            yield {"input": length, "tasks/s": row["tasks/s"], "CPU µs/task": row["CPU µs/task"]}


def memory(node: RabbitNode, sizes: Sizes) -> Iterator[Row]:
    """Whether memory stays where it is while tasks go by."""
    with Stand(node) as stand:
        process, _ = started(partial(_bridge, client="curl"), stand)
        done = 0
        for goal in sizes.memory:
            stand.swf.wait_closed(stand.submit(goal - done), timeout=240)
            done = goal
            yield {"tasks": goal, "memory MB": process.memory()}


def floor(node: RabbitNode, sizes: Sizes) -> Iterator[Row]:
    """RabbitMQ and worker alone at the steady rate: no bridge between brokers is quicker."""
    for number in range(1, sizes.rounds + 1):
        with Stand(node) as stand:
            taken = _round_trips(stand, sizes.rate, int(sizes.rate * sizes.seconds))
            yield {
                "subject": "RabbitMQ and worker alone",
                "round": number,
                "steady p50 ms": statistics.median(taken),
                "steady p99 ms": _percentile(taken, 0.99),
            }


def _round_trips(stand: Stand, rate: float, count: int) -> list[float]:
    """Milliseconds from a publish until the worker's reply is delivered from a quorum queue."""
    connection = BoundedConnection(pika.URLParameters(stand.url))
    channel = connection.channel()
    channel.queue_declare("replies", durable=True, arguments={"x-queue-type": "quorum"})
    taken: list[float] = []
    sent_at = 0.0

    def on_reply(_channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        taken.append(1000 * (time.monotonic() - sent_at))
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume("replies", on_reply)
    properties = pika.BasicProperties(delivery_mode=2, reply_to="replies")
    body = json.dumps({"taskToken": "x" * 100}).encode()
    began = time.monotonic()
    for number in range(count):
        connection.sleep(max(0.0, began + number / rate - time.monotonic()))
        sent_at = time.monotonic()
        channel.basic_publish(EXCHANGE, "greet.1", body, properties)
        while len(taken) <= number:
            connection.process_data_events(time_limit=PATIENCE)
    connection.close()
    return taken


def _bridge(stand: Stand, **options: Any) -> Process:
    return bridge(stand, options.pop("client"), **options)


MEASURES: dict[str, Callable[[RabbitNode, Sizes], Iterator[Row]]] = {
    "sides": sides,
    "floor": floor,
    "help": helping,
    "pollers": pollers,
    "in-flight": in_flight,
    "instances": instances,
    "windows": windows,
    "inputs": inputs,
    "memory": memory,
    "morning": morning,
    "turnaround": turnaround,
    "expiry": expiry,
}
SELDOM = {"morning", "turnaround", "expiry"}
"""What is measured only where it is asked for: about deadlines, some minutes each."""
