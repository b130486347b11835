"""The open app with whatever does its background work: a worker inside its process, or a queue to workers elsewhere.

A worker inside the process is Docket on ``memory://``, with the same tasks as ``docket worker`` runs.

No write of a user goes through Docket: the lanes wait for an event of this process. Docket brings the periodic tasks, and
whatever this process asks for by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import structlog
from ulid import ULID

from agent_memory_server.app import MemoryApp, open_app
from agent_memory_server.config import Settings
from agent_memory_server.queues.docket import DocketQueue
from agent_memory_server.tasks.sweeping import RESTART_S

TASK_COLLECTION = "agent_memory_server.docket_tasks:task_collection"
CONCURRENCY = 8
_CHECK = timedelta(seconds=1)
"""How often the worker looks at its own queue: it is woken for what is new, so this is only for what is due later."""

_log = structlog.stdlib.get_logger(__name__)


@contextlib.asynccontextmanager
async def open_working_app(
    settings: Settings, *, begin: asyncio.Event | None = None, **options: Any
) -> AsyncGenerator[MemoryApp]:
    """``open_app`` with its background work, as the settings choose. The worker inside begins when ``begin`` is set.

    Raises ConfigurationError with what to change.
    """
    if settings.has_workers:
        assert settings.redis_url is not None
        queue = DocketQueue(name=settings.docket_name, url=settings.redis_url)
        async with open_app(settings, queue=queue, **options) as app, queue.sending():
            yield app
        return
    async with (
        open_app(settings, **options) as app,
        worker_in_process(app, docket_name=settings.docket_name, begin=begin),
    ):
        yield app


@contextlib.asynccontextmanager
async def worker_in_process(
    app: MemoryApp, *, docket_name: str, begin: asyncio.Event | None = None, concurrency: int = CONCURRENCY
) -> AsyncGenerator[asyncio.Task[None]]:
    """Work in the background on the open app until the end; what is under way then is given back.

    The worker starts in the background too: Docket's import takes longer than everything else at start.
    """
    running = asyncio.create_task(_run(app, docket_name, begin, concurrency), name="worker in this process")
    try:
        yield running
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def _run(app: MemoryApp, docket_name: str, begin: asyncio.Event | None, concurrency: int) -> None:
    if begin is not None:
        await begin.wait()
    this = asyncio.current_task()
    # Docket's worker takes a cancellation as the wish to stop, ends in order, and does not pass it on.
    while this is not None and not this.cancelling():
        try:
            await _work(app, docket_name, concurrency)
        except Exception:  # noqa: BLE001 - whatever it was, the work is in the store
            _log.exception("the worker in this process was interrupted by an error and begins anew")
            await asyncio.sleep(RESTART_S)


async def _work(app: MemoryApp, docket_name: str, concurrency: int) -> None:
    await asyncio.to_thread(importlib.import_module, TASK_COLLECTION.partition(":")[0])
    from docket import Docket, Worker

    from agent_memory_server.tasks.working import OPEN_ALREADY

    OPEN_ALREADY.set(app)
    async with Docket(name=docket_name, url=f"memory://{ULID()}") as docket:
        docket.register_collection(TASK_COLLECTION)
        async with Worker(
            docket, concurrency=concurrency, minimum_check_interval=_CHECK, scheduling_resolution=_CHECK
        ) as worker:
            await worker.run_forever()
