"""What the store remembers of the time: how it is noticed that the clock was set, or that nothing ran for long."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from agent_memory_server.domain.clock_guard import ClockRecord


class ClockStore(Protocol):
    async def observe(self, now: datetime, /) -> ClockRecord:
        """Note the time and return what is known with it. Every commit of an operation and every schedule does so too."""
        ...

    async def trust(self, now: datetime, /) -> ClockRecord:
        """An operator says that the clock is right: the last step is settled."""
        ...
