"""The state of the local SWF (domains, executions, task lists, tasks) and its transitions.

Only the event loop's thread may use it. Nothing here blocks, does I/O or knows HTTP. Time-outs use
the loop's clock, so that tests can control them. Nothing is stored on disk.
"""

import itertools
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from bridge.local.swf.errors import SwfError, unknown_activity, unknown_execution, unknown_resource
from bridge.local.swf.options import Options
from bridge.local.swf.registry import Registry
from bridge.local.swf.task import Execution, Moment, Step, Task, Timeouts
from bridge.local.swf.tasklist import Clock, Poll, TaskList, Timer
from bridge.local.swf.tokens import new_token, scheduled_event_of


class Swf:
    """The activity half of Amazon SWF."""

    def __init__(self, clock: Clock, options: Options) -> None:
        self.options = options
        self.registry = Registry()
        self.tasks: dict[str, Task] = {}
        self.lists: dict[tuple[str, str], TaskList] = {}
        self.closed: Counter[str] = Counter()
        """The number of closed tasks by final state."""
        self.submitted = 0
        """The number of tasks ever scheduled, including forgotten ones."""
        self.started = 0
        """The number of started tasks; `most_started` is its maximum."""
        self.most_started = 0
        self.on_close: Callable[[Task], None] = lambda _: None
        self._clock = clock
        self._tokens: dict[str, Task] = {}
        self._timers: dict[str, Timer] = {}
        self._oldest: deque[Task] = deque()
        self._ids = itertools.count(1)

    # Executions

    def terminate(self, execution: Execution, attributes: dict[str, Any]) -> None:
        """Close an execution and its open tasks; the tasks get no events of their own."""
        execution.record("WorkflowExecutionTerminated", attributes)
        self.registry.end(execution)
        for task in list(execution.open.values()):
            self._close(task, "terminated")

    def request_cancel(self, execution: Execution) -> None:
        """Record the request and cancel each open activity, as a decider would."""
        execution.cancel_requested = True
        execution.record("WorkflowExecutionCancelRequested", {"externalInitiatedEventId": 0})
        for task in list(execution.open.values()):
            self.cancel(task)

    # Tasks

    def schedule(
        self,
        *,
        domain: str,
        task_list: str,
        name: str,
        version: str,
        input: str | None,  # noqa: A002
        workflow_id: str | None,
        activity_id: str | None,
        timeouts: Timeouts,
        priority: int,
        control: str | None = None,
        script: tuple[Step, ...] = (),
    ) -> Task:
        """Schedule a task, in the open execution of `workflow_id` or a new one.

        Raises ValueError if that execution has an open task with this activity id.
        """
        self.registry.add_domain(domain)
        number = str(next(self._ids))
        execution = self.registry.run(domain, workflow_id or f"local-{number}")
        activity_id = activity_id or f"activity-{number}"
        if activity_id in execution.open:
            raise ValueError(f"activity id {activity_id!r} is open in this workflow already")
        task = Task(
            number, execution, activity_id, name, version, task_list, input, timeouts, priority,
            Moment(self._clock.time()), script=script,
        )  # fmt: skip
        task.scheduled_event = execution.record(
            "ActivityTaskScheduled",
            {
                "activityType": {"name": name, "version": version},
                "activityId": activity_id,
                "input": input,
                "control": control,
                **timeouts.attributes(),
                "taskList": {"name": task_list},
                "taskPriority": str(priority),
                "decisionTaskCompletedEventId": 0,
            },
        )
        execution.open[activity_id] = task
        execution.remembered += 1
        self.submitted += 1
        execution.latest_activity_at = task.scheduled.at
        self.tasks[number] = task
        self._watch(task)
        self._offer(task)
        return task

    def poll(self, domain: str, task_list: str, poll: Poll) -> None:
        """Answer a poll with a task as soon as there is one, or empty after `options.hold`.

        Raises UnknownResourceFault for the domain, LimitExceededFault for too many polls.
        """
        self._polled_domain(domain)
        tasks = self.task_list(domain, task_list)
        task = tasks.take()
        if task is not None:
            self._start(task, tasks, poll)
            return
        if len(tasks.polls) >= self.options.max_polls:
            raise SwfError("LimitExceededFault", "Too many pollers on this task list")
        tasks.polls.append(poll)
        poll.expiry = self._clock.call_later(self.options.hold, self._expire, tasks, poll)

    def abandon(self, domain: str, task_list: str, poll: Poll) -> None:
        """Remove a poll whose client has gone, unless `options.give_to_vanished` is set."""
        if poll.expiry is None or self.options.give_to_vanished:
            return
        poll.expiry.cancel()
        self.task_list(domain, task_list).polls.remove(poll)

    def by_token(self, token: str, operation: str) -> Task:
        """Return the open task of a token, or raise SWF's error for the token."""
        task = self._tokens.get(token)
        if task is None:
            event = scheduled_event_of(token)
            if event is None:
                raise SwfError("ValidationException", "Invalid token")
            raise unknown_activity(event)
        if task.is_open:
            return task
        if task.execution.closed_at is not None:
            refusal = unknown_execution(task.execution.workflow_id, task.execution.run_id)
        else:
            refusal = unknown_activity(task.scheduled_event)
        raise self.refuse(task, operation, refusal)

    def refuse(self, task: Task, operation: str, refusal: SwfError) -> SwfError:
        """Record a refused call in the task and return `refusal`."""
        task.refused.append((round(time.time(), 6), operation, refusal.code))
        return refusal

    def peek(self, token: object) -> Task | None:
        """Return the task of a token, open or closed, or None."""
        return self._tokens.get(token) if isinstance(token, str) else None

    def complete(self, task: Task, result: str | None) -> None:
        """Close a task as completed."""
        task.result = result
        self._record_close(task, "ActivityTaskCompleted", result=result)
        self._close(task, "completed")

    def fail(self, task: Task, reason: str | None, details: str | None) -> None:
        """Close a task as failed."""
        task.reason, task.details = reason, details
        self._record_close(task, "ActivityTaskFailed", reason=reason, details=details)
        self._close(task, "failed")

    def cancel(self, task: Task) -> None:
        """Request the cancellation of a task; a task that is not started is canceled at once."""
        if not task.is_open or task.cancel_requested is not None:
            return
        task.cancel_requested = Moment(self._clock.time())
        task.cancel_event = task.execution.record(
            "ActivityTaskCancelRequested",
            {"activityId": task.activity_id, "decisionTaskCompletedEventId": 0},
        )
        if task.started is None:
            self.canceled(task, None)

    def canceled(self, task: Task, details: str | None) -> None:
        """Close a task as canceled."""
        task.details = details
        self._record_close(
            task,
            "ActivityTaskCanceled",
            details=details,
            latestCancelRequestedEventId=task.cancel_event,
        )
        self._close(task, "canceled")

    def heartbeat(self, task: Task, details: str | None) -> bool:
        """Restart the heartbeat time-out; return whether a cancellation was requested.

        Raises SwfError if the task's script closes the task at this heartbeat.
        """
        now = Moment(self._clock.time())
        task.beaten = now.tick
        task.heartbeats.append((now.at, details))
        for step in task.script:
            if step.beats == len(task.heartbeats):
                self._play(task, step)
        if not task.is_open:
            assert task.token is not None
            self.by_token(task.token, "RecordActivityTaskHeartbeat")
        if task.cancel_requested is None:
            return False
        task.cancel_told = task.cancel_told or now.at
        return True

    def task_list(self, domain: str, name: str) -> TaskList:
        """Return a task list; it is created at its first use."""
        found = self.lists.get((domain, name))
        if found is None:
            found = self.lists[domain, name] = TaskList()
        return found

    def clear(self) -> None:
        """Delete every task, token and execution; held polls stay open."""
        for timer in self._timers.values():
            timer.cancel()
        self.tasks.clear()
        self._tokens.clear()
        self._timers.clear()
        self._oldest.clear()
        self.closed.clear()
        self.registry.forget_executions()
        self.submitted = self.started = self.most_started = 0
        for key, tasks in self.lists.items():
            self.lists[key] = TaskList(polls=tasks.polls)

    # How tasks go from state to state

    def _polled_domain(self, name: str) -> None:
        if self.options.any_domain:
            self.registry.add_domain(name)
        if self.registry.domain(name).deprecated:
            raise unknown_resource(f"domain: {name}")

    def _offer(self, task: Task) -> None:
        tasks = self.task_list(task.execution.domain, task.task_list)
        while tasks.polls:
            poll = tasks.polls.popleft()
            if poll.expiry is not None:
                poll.expiry.cancel()
                poll.expiry = None
            if self.options.give_to_vanished or poll.caller.alive():
                self._start(task, tasks, poll)
                return
        tasks.add(task)

    def _start(self, task: Task, tasks: TaskList, poll: Poll) -> None:
        now = Moment(self._clock.time())
        task.state, task.started, task.beaten = "started", now, now.tick
        task.identity = poll.identity
        task.unheard = poll.caller.spoiled or (None if poll.caller.alive() else "vanished")
        task.started_event = task.execution.record(
            "ActivityTaskStarted",
            {"scheduledEventId": task.scheduled_event, "identity": poll.identity},
        )
        task.token = new_token(task.scheduled_event, self.options.token_length)
        self._tokens[task.token] = task
        tasks.count_started(1)
        self.started += 1
        self.most_started = max(self.most_started, self.started)
        self._watch(task)
        poll.answer(task)
        for step in task.script:
            if step.seconds is not None:
                self._clock.call_later(step.seconds, self._play, task, step)

    def _play(self, task: Task, step: Step) -> None:
        """Carry out a step of the task's script, unless the task is closed or forgotten."""
        if not task.is_open or self.tasks.get(task.id) is not task:
            return
        if step.action == "cancel":
            self.cancel(task)
        elif step.action == "time-out":
            self._time_out(task, "START_TO_CLOSE")
        else:
            self.terminate(task.execution, {"childPolicy": "TERMINATE", "reason": "script"})

    def _expire(self, tasks: TaskList, poll: Poll) -> None:
        poll.expiry = None
        tasks.polls.remove(poll)
        poll.answer(None)

    def _watch(self, task: Task) -> None:
        """Schedule the next time-out. `_ring` reads later heartbeats when the timer fires."""
        timer = self._timers.pop(task.id, None)
        if timer is not None:
            timer.cancel()
        deadline = task.deadline()
        if deadline is not None:
            delay = max(0.0, deadline[0] - self._clock.time())
            self._timers[task.id] = self._clock.call_later(delay, self._ring, task)

    def _ring(self, task: Task) -> None:
        deadline = task.deadline()
        if deadline is not None and deadline[0] <= self._clock.time():
            self._time_out(task, deadline[1])
        else:
            self._watch(task)

    def _time_out(self, task: Task, timeout_type: str) -> None:
        task.timeout_type = timeout_type
        last = task.heartbeats[-1][1] if task.heartbeats else None
        self._record_close(task, "ActivityTaskTimedOut", timeoutType=timeout_type, details=last)
        self._close(task, "timed-out")

    def _record_close(self, task: Task, event_type: str, **attributes: Any) -> None:
        task.execution.record(
            event_type,
            {
                **attributes,
                "scheduledEventId": task.scheduled_event,
                "startedEventId": task.started_event,
            },
        )

    def _close(self, task: Task, state: str) -> None:
        tasks = self.task_list(task.execution.domain, task.task_list)
        task.state, task.closed = state, Moment(self._clock.time())
        if task.started is None:
            tasks.drop()
        else:
            tasks.count_started(-1)
            self.started -= 1
        timer = self._timers.pop(task.id, None)
        if timer is not None:
            timer.cancel()
        del task.execution.open[task.activity_id]
        self.closed[state] += 1
        self._oldest.append(task)
        while len(self._oldest) > self.options.keep:
            self._forget(self._oldest.popleft())
        self.on_close(task)

    def _forget(self, task: Task) -> None:
        del self.tasks[task.id]
        if task.token is not None:
            del self._tokens[task.token]
        task.execution.remembered -= 1
        if not task.execution.remembered:
            self.registry.forget(task.execution)
