"""The checks, in the order in which they run. Each returns, or raises Unmet or Unseen."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile

from bridge.conformance.amqp import FULL, REPLIES, status, token_of
from bridge.conformance.trial import Plan, Trial, Unmet, Unseen

LETTERS = 'é ß 語 😀 \u202e"\\/\b\t\r\n\u2028 �'
LARGEST = 32_768
RESPONDS = "RespondActivityTask"
CROWD = 50
"""Tasks that are published while the worker does a slow task: more than a sensible prefetch."""
EXPIRES = 1.0
"""Seconds after which RabbitMQ drops these tasks, unless a worker holds them."""


@dataclass(frozen=True)
class Check:
    """One duty of a worker; `contract` is the document and heading that demands it."""

    name: str
    contract: str
    expected: str
    attempt: Callable[[Trial], None]
    needs: str = ""
    """Optional activities that it needs, or `worker` if we must start and kill the worker."""
    first: bool = False
    """Whether all later checks are skipped if this one fails."""
    without_bridge: bool = False
    own_result: str = ""
    """What is expected instead of a worker that does not give back its input."""

    def of(self, plan: Plan) -> "Check":
        """The check as it is tried with this plan."""
        if plan.own_results and self.own_result:
            return replace(self, expected=self.own_result)
        return self


def takes(trial: Trial) -> None:
    """Any reply passes, in either reply queue."""
    queue, trial.first_reply = trial.reply_without_bridge()
    trial.reply_queue = queue


def replies_where_it_is_told(trial: Trial) -> None:
    """A reply to a hard-coded queue is lost to a second bridge, which has its own reply queue."""
    if trial.reply_queue != REPLIES:
        raise Unmet(f"a reply in {trial.reply_queue}; the task's reply_to was {REPLIES}")


def replies_persistent(trial: Trial) -> None:
    """A restart of RabbitMQ loses a reply that is not persistent."""
    assert trial.first_reply is not None
    mode = trial.first_reply.properties.delivery_mode
    if mode != 2:
        raise Unmet(f"delivery_mode {mode or 1}")


def passes_over_what_is_past(trial: Trial) -> None:
    """A task whose deadline is past gets no reply; a task with time left gets one."""
    echo = trial.plan.echo
    past, left = (
        trial.broker.hand_out(echo.name, echo.version, "x", left=each) for each in (-60, 600)
    )
    if past is None or left is None:
        raise Unmet(f"no queue is bound for {echo.key}")
    replies = trial.replies_up_to(left, "no reply to a task that is not past")
    if past in map(token_of, replies):
        raise Unmet("a reply to a task that SWF gave up a minute before")


def leaves_what_it_cannot_do_yet(trial: Trial) -> None:
    """Tasks that wait behind a slow task stay in the queue, for other workers, and expire there.

    Tasks that the worker has prefetched do not expire: it answers them after the slow task.
    """
    assert trial.plan.slow is not None
    slow, echo = trial.plan.slow, trial.plan.echo
    token = trial.broker.hand_out(slow.name, slow.version, slow.input)
    if token is None:
        raise Unmet(f"no queue is bound for {slow.key}")
    trial.until(lambda: trial.begun(token), f"no heartbeat of {slow.name}")
    begun = time.monotonic()
    crowd = {
        trial.broker.hand_out(echo.name, echo.version, "x", expires=EXPIRES) for _ in range(CROWD)
    }
    trial.replies_up_to(token)
    if time.monotonic() - begun < EXPIRES + 0.5:
        raise Unseen(f"{slow.name} ended before what waited behind it had expired")
    last = trial.broker.hand_out(echo.name, echo.version, "x")
    taken = crowd.intersection(map(token_of, trial.replies_up_to(str(last))))
    if taken == crowd:
        raise Unmet(f"it took all {CROWD} tasks that came while it was at work: set a prefetch")


def sends_again_what_was_refused(trial: Trial) -> None:
    """RabbitMQ rejects the reply with a nack, which a publisher gets only with confirms.

    The worker may publish the reply again, or exit and do the task again.
    """
    echo, broker = trial.plan.echo, trial.broker
    broker.fill()
    token = broker.hand_out(echo.name, echo.version, "hello", reply_to=FULL)
    trial.until(lambda: broker.refused() is not None, "no reply")
    broker.make_room()
    gone = "RabbitMQ refused its reply; it came no more"
    again = trial.reply_of_one_that_starts(token, FULL, gone)
    if status(again) == "failed":
        raise Unmet("it told of RabbitMQ's refusal as a failure of the task")
    # The worker may not have acknowledged the task. Whatever it has to say of it yet is taken from
    # FULL until it answers the next task: else the next check would meet a worker busy with it.
    broker.lift_limit()
    token = broker.hand_out(echo.name, echo.version, "next")
    gone = "no reply to the next task"
    trial.reply_of_one_that_starts(token, trial.reply_queue, gone, beside=FULL)


def keeps_tasks_while_it_is_away(trial: Trial) -> None:
    """Its queue keeps tasks while no worker runs and while RabbitMQ restarts."""
    assert trial.worker is not None
    echo = trial.plan.echo
    trial.worker.kill()
    try:
        token = trial.broker.hand_out(echo.name, echo.version, "hello")
        if token is None:
            raise Unmet(f"no queue is bound for {echo.key} while no worker runs")
        if trial.restart_broker is not None:
            trial.broker.over(trial.restart_broker)
    finally:
        trial.worker.start()
    gone = "the task that waited in its queue is gone: no reply"
    trial.reply_of_one_that_starts(token, trial.reply_queue, gone)
    if trial.restart_broker is None:
        raise Unseen(
            "its queue stays without a worker; a restart wants a RabbitMQ without --broker"
        )


def completes(trial: Trial) -> None:
    """The normal course: a task completes through the bridge."""
    try:
        task = trial.completed(trial.submit(trial.plan.echo, "hello"))
    except Unmet as unmet:
        trial.read_dead_letters()
        raise Unmet("; ".join([str(unmet), *map(_dead_lettered, trial.dead_letters)])) from None
    _same(trial, "hello", task["result"])


def fails(trial: Trial) -> None:
    """A failed task has a reason, because deciders read it."""
    assert trial.plan.fail is not None
    task = trial.closed(trial.submit(trial.plan.fail))
    if task["state"] != "failed":
        raise Unmet(task["state"])
    if not task["reason"]:
        raise Unmet("failed without a reason")


def takes_any_letters(trial: Trial) -> None:
    """Task bodies are ASCII with JSON escapes; replies may be UTF-8."""
    _echo(trial, LETTERS)


def takes_the_largest_input(trial: Trial) -> None:
    """Input and result have the same limit, LARGEST UTF-16 code units."""
    _echo(trial, "語" + "x" * (LARGEST - 2) + "!")


def takes_an_empty_input(trial: Trial) -> None:
    """An empty input differs from no input."""
    _echo(trial, "")


def takes_no_input(trial: Trial) -> None:
    """The body has no ``input``; any result passes."""
    echo = trial.plan.echo
    trial.completed(trial.swf.submit(echo.name, echo.version))


def answers_once(trial: Trial) -> None:
    """Repeat a task message after its reply; the end of the next task shows that it was read."""
    echo = trial.plan.echo
    trial.broker.copy_tasks()
    task_id = trial.submit(echo, "once")
    message_id = trial.completed(task_id)["messageId"]
    if not trial.broker.repeat(message_id, echo.key):
        raise Unmet("the task was not published")
    trial.completed(trial.submit(echo, "next"))
    _no_more_replies(trial, task_id)


def beats_in_time(trial: Trial) -> None:
    """The heartbeat time-out is shorter than the work."""
    assert trial.plan.slow is not None
    trial.completed(trial.submit(trial.plan.slow, heartbeat=trial.plan.heartbeat))


def follows_a_cancellation(trial: Trial) -> None:
    """The answer to a heartbeat and a notice tell of the cancellation; either will do."""
    task_id = trial.at_work()
    trial.swf.cancel(task_id)
    task = trial.closed(task_id)
    if task["state"] != "canceled":
        raise Unmet(task["state"])


def stops_when_closed(trial: Trial) -> None:
    """No reply is wanted for a task that SWF has closed."""
    task_id = trial.at_work()
    trial.swf.terminate(task_id)
    trial.completed(trial.submit(trial.plan.echo, "next"))
    _no_more_replies(trial, task_id)


def bears_a_restart_of_the_bridge(trial: Trial) -> None:
    """Heartbeats wait in the reply queue until the bridge runs again."""
    task_id = trial.at_work()
    trial.bridge.kill()
    trial.broker.sleep(2.5)
    trial.bridge.start()
    trial.completed(task_id)


def loses_no_task_when_killed(trial: Trial) -> None:
    """RabbitMQ redelivers an unacknowledged task to the next worker."""
    assert trial.worker is not None
    task_id = trial.at_work()
    trial.worker.start()
    trial.completed(task_id)


def stops_gracefully(trial: Trial) -> None:
    """After SIGTERM it finishes its task, or leaves the task to the next worker."""
    assert trial.worker is not None
    task_id = trial.at_work()
    ended = trial.worker.stop(trial.plan.patience)
    if not ended:
        raise Unmet(f"it runs on {trial.plan.patience:.0f} s after SIGTERM")
    trial.worker.start()
    trial.completed(task_id)


def sends_nothing_else(trial: Trial) -> None:
    """No reply of the whole trial was dead-lettered."""
    trial.read_dead_letters()
    if trial.dead_letters:
        raise Unmet(f"{len(trial.dead_letters)} dead letters, the first {trial.dead_letters[0]}")


def _echo(trial: Trial, text: str) -> None:
    _same(trial, text, trial.completed(trial.submit(trial.plan.echo, text))["result"])


def _same(trial: Trial, given: str, result: str | None) -> None:
    if result == given or trial.plan.own_results:
        return
    if result is None:
        raise Unmet("no result")
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(given, result, strict=False))
    at = sum(1 for _ in alike)
    found = result[at : at + 20]
    raise Unmet(f"{len(result)} characters, not {len(given)}; at {at} {found!a}")


def _no_more_replies(trial: Trial, task_id: str) -> None:
    again = [e["operation"] for e in trial.swf.task(task_id)["refused"]]
    if found := [each for each in again if each.startswith(RESPONDS)]:
        raise Unmet(f"{found[0]} for a task that was closed")


def _dead_lettered(why: str) -> str:
    return f"a reply was dead-lettered ({why})"


TASK = "docs/messages.md, Task: bridge → worker"
REPLY = "docs/messages.md, Reply: worker → bridge"
BEATS = "docs/messages.md, Answer to a heartbeat: bridge → worker"
RULES = "docs/workers.md, The rules, and why"
DUTIES, PROMISE = "README.md, Duties of a worker", "README.md, Guarantees"

CHECKS = (
    Check("takes", TASK, "a task is taken and answered", takes, first=True, without_bridge=True),
    Check("reply-to", TASK, "the reply comes to the queue that reply_to names",
          replies_where_it_is_told, first=True, without_bridge=True),
    Check("persistent", DUTIES, "the reply is persistent: delivery_mode 2",
          replies_persistent, without_bridge=True),
    Check("deadline", RULES, "no reply to a task whose swf-deadline is past",
          passes_over_what_is_past, without_bridge=True),
    Check("prefetch", RULES, "tasks that come while it is at work are left to other workers",
          leaves_what_it_cannot_do_yet, "slow", without_bridge=True),
    Check("confirmed", DUTIES, "a reply that RabbitMQ refuses comes again",
          sends_again_what_was_refused, "worker", without_bridge=True),
    Check("durable", RULES, "a task waits while no worker runs, and over a restart of RabbitMQ",
          keeps_tasks_while_it_is_away, "worker", without_bridge=True),
    Check("completes", REPLY, "completed, with its input as the result", completes, first=True,
          own_result="completed, with a result of its own"),
    Check("fails", REPLY, "failed, with a reason", fails, "fail"),
    Check("unicode", TASK, "completed, and no letter is changed", takes_any_letters,
          own_result="completed, whatever letters its input has"),
    Check("large", TASK, "completed, and 32,768 characters come back", takes_the_largest_input,
          own_result="completed, with an input of 32,768 characters"),
    Check("empty", TASK, "completed, with an empty result", takes_an_empty_input,
          own_result="completed, with an empty input"),
    Check("no-input", TASK, "completed, where no input was given", takes_no_input),
    Check("duplicate", RULES, "a task that comes twice is answered once", answers_once),
    Check("heartbeat", BEATS, "completed, within its heartbeat time-out", beats_in_time, "slow"),
    Check("cancel", BEATS, "canceled, soon after it was requested", follows_a_cancellation, "slow"),
    Check("closed", BEATS, "after open: false no reply, and the next task is taken",
          stops_when_closed, "slow"),
    Check("restart", PROMISE, "completed, with the bridge away for some seconds",
          bears_a_restart_of_the_bridge, "slow"),
    Check("killed", DUTIES, "completed by the next worker: acknowledged only after the reply",
          loses_no_task_when_killed, "slow worker"),
    Check("stop", DUTIES, "it ends after SIGTERM, and no task is lost",
          stops_gracefully, "slow worker"),
    Check("nothing-else", REPLY, "no reply comes to the dead-letter queue", sends_nothing_else),
)  # fmt: skip
