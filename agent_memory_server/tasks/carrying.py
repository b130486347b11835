"""From a Docket task to the store's own record of the work, and back with the report."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import Any

from docket import CurrentExecution, Depends, Execution, Retry

from agent_memory_server.domain.jobs import Lane, Task, TaskStatus
from agent_memory_server.errors import InvalidInput
from agent_memory_server.services.named_tasks import parameters
from agent_memory_server.services.public_tasks import TASKS, Report
from agent_memory_server.tasks.working import Work, working

_POLL_S = 0.2


class TaskFailed(Exception):
    """The work failed for good. It is a dead letter now, with this reason, and can be replayed."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """Does the task of this execution. Its key is the id of the task that ``/v1/tasks`` shows."""

    work: Work
    execution: Execution

    async def __call__(self, retry: Retry) -> Report:
        """Note the request, do it, and return its report; one that waits for another attempt is left to the store.

        Raises TaskFailed, InvalidInput (neither is tried again), and what the store fails with (which is).
        """
        try:
            task = await self._requested()
            while task.is_open and task.error_message is None and not self.work.stopping.is_set():
                await self.work.unless_stopping(self.work.app.lanes[Lane.TASKS].run_due())
                task = await self.work.app.jobs.get(TASKS, task_id=task.id)
                if task.is_open and task.error_message is None:
                    # Another worker has it.
                    await self.work.unless_stopping(asyncio.sleep(_POLL_S))
                    task = await self.work.app.jobs.get(TASKS, task_id=task.id)
            if task.status is TaskStatus.FAILED:
                raise TaskFailed(task.error_message)  # noqa: TRY301 - one place says that it is not tried again
        except (InvalidInput, TaskFailed):
            retry.attempts = 1
            raise
        return task.result or {"task_id": task.id, "status": task.status.value, "reason": task.error_message}

    async def _requested(self) -> Task:
        name = self.execution.function_name
        return await self.work.app.named_tasks.request(
            TASKS, name=name, arguments=self._arguments(name), task_id=self.execution.key
        )

    def _arguments(self, name: str) -> dict[str, Any]:
        """What the task was called with and its defaults, without what Docket adds for itself."""
        bound = inspect.signature(self.execution.function).bind_partial(*self.execution.args, **self.execution.kwargs)
        bound.apply_defaults()
        known = parameters(name)
        return {each: value for each, value in bound.arguments.items() if each in known and value is not None}


def _carrier(work: Work = working(), execution: Execution = CurrentExecution()) -> Carrier:
    return Carrier(work, execution)


def carrier() -> Carrier:
    """The dependency of a task that is done by the store's record of it."""
    return Depends(_carrier)
