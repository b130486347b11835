"""How a Docket task finds the app: one dependency, opened once a worker process and closed when the worker stops.

In a process whose app is open already (the server with a worker inside) the tasks work on that one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from docket import Docket, Timeout, Worker
from docket.dependencies import Dependency, Shared

from agent_memory_server.app import MemoryApp, open_app
from agent_memory_server.config import Settings
from agent_memory_server.tasks.sweeping import sweep_for_ever

OPEN_ALREADY: ContextVar[MemoryApp | None] = ContextVar("OPEN_ALREADY", default=None)
"""The app of this process, for a worker that runs beside it."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a task works with. ``stopping`` is set when the worker has to end: work is given back, not finished."""

    app: MemoryApp
    stopping: asyncio.Event

    async def unless_stopping(self, work: Coroutine[Any, Any, object]) -> bool:
        """Do the work, but leave it when the worker has to stop; returns whether it was done."""
        doing = asyncio.create_task(work)
        stopped = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait((doing, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                return False
            await doing
            return True
        finally:
            stopped.cancel()
            doing.cancel()
            await asyncio.gather(doing, stopped, return_exceptions=True)


@contextlib.asynccontextmanager
async def _opened() -> AsyncGenerator[Work]:
    given = OPEN_ALREADY.get()
    if given is not None:
        yield Work(app=given, stopping=asyncio.Event())
        return
    async with open_app(Settings()) as app:
        yield Work(app=app, stopping=asyncio.Event())


async def _shared() -> Work:
    shared: Dependency[Work] = Shared(_opened)  # pyright: ignore[reportAssignmentType] - Docket types a dependency as its value
    return await shared.__aenter__()


class Working(Dependency[Work]):
    """The default of a task's parameter: ``work: Work = working()``."""

    async def __aenter__(self) -> Work:
        return await _shared()

    @classmethod
    @contextlib.asynccontextmanager
    async def worker_lifecycle(cls, docket: Docket, worker: Worker) -> AsyncGenerator[None]:
        """Around the worker's life: open the app (a setting that cannot be used ends the worker here, with its reason),
        sweep while it works, and tell tasks under way to let go when it stops."""
        del docket, worker
        work = await _shared()
        work.stopping.clear()
        sweeping = asyncio.create_task(sweep_for_ever(work.app), name="sweep of pending work")
        try:
            yield
        finally:
            work.stopping.set()
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)


def working() -> Work:
    """The dependency, typed as what the task gets."""
    dependency: Any = Working()
    return dependency


class _TaskTimeout(Timeout):
    def __init__(self, factor: int) -> None:
        super().__init__(timedelta(0))
        self._factor = factor

    async def __aenter__(self) -> Timeout:
        work = await _shared()
        return Timeout(timedelta(seconds=self._factor * work.app.task_timeout_s))


def task_timeout(factor: int = 1) -> Timeout:
    """LLM_TASK_TIMEOUT_MINUTES, so many times: read from the app when the task runs, not when this is imported."""
    return _TaskTimeout(factor)
