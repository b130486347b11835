"""Telling whoever works through pending work that there is some. The store remembers the work; this only shortens the wait."""

from __future__ import annotations

from typing import Protocol

from agent_memory_server.domain.jobs import Lane


class TaskQueue(Protocol):
    def wake(self, lane: Lane, /) -> None:
        """There may be work in the lane now. Never waits and never fails: what is missed here, the sweep finds."""
        ...
