"""Tasks as clients see them: read one, list them, replay what failed for good. Another's task answers as an absent one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from agent_memory_server.domain.identity import Principal
from agent_memory_server.domain.jobs import Task, TaskStatus
from agent_memory_server.errors import AmbiguousScope, Conflict, NotFound
from agent_memory_server.ports.jobs import JobStore, TaskPage


class JobService:
    def __init__(self, *, store: JobStore, now: Callable[[], datetime], wake: Callable[[], None]) -> None:
        self._store = store
        self._now = now
        self._wake = wake

    async def get(self, caller: Principal, *, task_id: str) -> Task:
        """Raises NotFound (also when its time is over), AmbiguousScope."""
        found = await self._store.find(caller.selector(), task_id=task_id, now=self._now(), limit=2)
        if not found:
            raise NotFound(f"Task {task_id} not found")
        if len(found) > 1:
            raise AmbiguousScope(f"several tasks have the id {task_id}, of different owners")
        return found[0]

    async def exists(self, caller: Principal, *, task_id: str) -> bool:
        """Whether the caller can read a task with this id."""
        return bool(await self._store.find(caller.selector(), task_id=task_id, now=self._now(), limit=1))

    async def list(
        self, caller: Principal, *, status: TaskStatus | None = None, limit: int = 20, cursor: str | None = None
    ) -> TaskPage:
        """A page of the caller's tasks, newest first. Raises InvalidInput for a foreign cursor."""
        return await self._store.list(caller.selector(), now=self._now(), status=status, limit=limit, cursor=cursor)

    async def replay(self, caller: Principal, *, task_id: str) -> Task:
        """Give a dead task all its attempts again. Raises NotFound, AmbiguousScope, Conflict when it is not dead."""
        task = await self.get(caller, task_id=task_id)
        replayed = await self._store.replay(task, at=self._now())
        if replayed is None:
            raise Conflict(f"Task {task_id} is {task.status.value}: only what failed for good can be replayed")
        self._wake()
        return replayed
