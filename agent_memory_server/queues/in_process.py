"""Waking the lanes of this process: an event a lane, which costs a write nothing."""

from __future__ import annotations

import asyncio

from agent_memory_server.domain.jobs import Lane


class InProcessQueue:
    """``ports.task_queue.TaskQueue`` for work that is done where it is asked for."""

    def __init__(self) -> None:
        self._events = {lane: asyncio.Event() for lane in Lane}

    def wake(self, lane: Lane, /) -> None:
        self._events[lane].set()

    def woken(self, lane: Lane) -> asyncio.Event:
        """Set when there may be work in the lane; whoever works through it clears it first."""
        return self._events[lane]
