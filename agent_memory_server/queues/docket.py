"""Waking workers in other processes through Docket, without a request ever waiting for Redis.

One sender a process: it holds the only connection, and wakes that arrive while it sends become one. What it asks for is
"work through this lane", which carries no data: a failure is logged once, and the workers' own sweep finds the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import random
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import structlog

from agent_memory_server.domain.jobs import Lane
from agent_memory_server.queues.addresses import checked_queue_url, docket_url

if TYPE_CHECKING:
    from docket import Docket

ASKED_MAX = 64
"""Most wakes that wait in the queue for each lane: as many drains can go on at a time."""
RETRY_S = 2.0

_log = structlog.stdlib.get_logger(__name__)


async def work_through_pending_work(lane: str) -> None:
    """Stands for the task of this name, which only workers have: a queue knows tasks by name."""


class DocketQueue:
    """``ports.task_queue.TaskQueue`` for work that is done by ``docket worker`` or ``agent-memory task-worker``.

    Raises ConfigurationError for a URL that the queue's library cannot use."""

    def __init__(self, *, name: str, url: str) -> None:
        self._name = name
        self._url = checked_queue_url(url)
        self._asked: set[Lane] = set()
        self._woken = asyncio.Event()
        # From anywhere, so that several servers do not all ask under the same keys.
        self._sent = random.randrange(ASKED_MAX)
        self._failing = False

    def wake(self, lane: Lane, /) -> None:
        self._asked.add(lane)
        self._woken.set()

    @contextlib.asynccontextmanager
    async def sending(self) -> AsyncGenerator[None]:
        """Send what is asked for, until the end; what is asked for then, the workers' sweep finds."""
        sender = asyncio.create_task(self._run(), name="waking workers")
        try:
            yield
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    async def _run(self) -> None:
        # Half a second of import: not in the event loop's way.
        docket = await asyncio.to_thread(importlib.import_module, "docket")
        while True:
            try:
                async with docket.Docket(name=self._name, url=await docket_url(self._url)) as opened:
                    await self._send_for_ever(opened)
            except Exception as error:  # noqa: BLE001 - whatever keeps Redis from answering: the work is in the store
                if not self._failing:
                    _log.warning("workers cannot be woken; their sweep finds the work", reason=_reason(error))
                self._failing = True
                await asyncio.sleep(RETRY_S)

    async def _send_for_ever(self, docket: Docket) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            for lane in tuple(self._asked):
                # Keys go round: one that still waits is not doubled, so no more than ASKED_MAX ever wait.
                key = f"{work_through_pending_work.__name__}:{lane.value}:{self._sent % ASKED_MAX}"
                await docket.add(work_through_pending_work, key=key)(lane.value)
                self._sent += 1
                self._asked.discard(lane)
            if self._failing:
                self._failing = False
                _log.info("workers can be woken again")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
