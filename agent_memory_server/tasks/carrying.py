"""From a Docket task to the store's own record of the work, and back with the report."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from docket import CurrentExecution, Depends, Execution, Retry

from agent_memory_server.domain.jobs import Lane, Task, TaskStatus
from agent_memory_server.errors import InvalidInput
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

    async def __call__(self, retry: Retry, name: str, **arguments: Any) -> Report:
        """Note the request, do it, and return its report; one that waits for another attempt is left to the store.

        Raises TaskFailed, InvalidInput (neither is tried again), and what the store fails with (which is).
        """
        try:
            task = await self._requested(name, arguments)
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

    async def _requested(self, name: str, arguments: Mapping[str, Any]) -> Task:
        given = {parameter: value for parameter, value in arguments.items() if value is not None}
        return await self.work.app.named_tasks.request(TASKS, name=name, arguments=given, task_id=self.execution.key)


def _carrier(work: Work = working(), execution: Execution = CurrentExecution()) -> Carrier:
    return Carrier(work, execution)


def carrier() -> Carrier:
    """The dependency of a task that is done by the store's record of it."""
    return Depends(_carrier)
