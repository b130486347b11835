"""A Docket on ``memory://`` with a worker in the test's process, over an open app: tasks are asked for as others would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from docket import Docket, Execution, Worker
from ulid import ULID

from agent_memory_server.app import MemoryApp
from agent_memory_server.tasks.running import TASK_COLLECTION
from agent_memory_server.tasks.working import OPEN_ALREADY

QUICK = timedelta(milliseconds=20)


@dataclass(frozen=True, slots=True)
class Asking:
    docket: Docket
    worker: asyncio.Task[None]

    async def add(self, name: str, *, key: str | None = None, **arguments: Any) -> Execution:
        return await self.docket.add(name, key=key)(**arguments)

    async def report(self, name: str, *, key: str | None = None, **arguments: Any) -> Any:
        """What the task reports when it has ended. Raises what it failed with."""
        execution = await self.add(name, key=key, **arguments)
        return await execution.get_result(timeout=timedelta(seconds=20))


@contextlib.asynccontextmanager
async def asking(app: MemoryApp) -> AsyncGenerator[Asking]:
    token = OPEN_ALREADY.set(app)
    try:
        async with Docket(name="test", url=f"memory://{ULID()}") as docket:
            docket.register_collection(TASK_COLLECTION)
            async with Worker(docket, minimum_check_interval=QUICK, scheduling_resolution=QUICK) as worker:
                running = asyncio.create_task(worker.run_forever())
                try:
                    yield Asking(docket, running)
                finally:
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
    finally:
        OPEN_ALREADY.reset(token)
