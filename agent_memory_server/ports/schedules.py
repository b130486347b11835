"""What is to happen every so often, once for all processes that share a store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from agent_memory_server.domain.operations import Intent


class ScheduleStore(Protocol):
    async def last_run(self, name: str, /) -> datetime | None:
        """When the schedule was last due, or None for one that never was."""
        ...

    async def tick(self, name: str, /, *, last: datetime | None, at: datetime, intents: Sequence[Intent]) -> bool:
        """Note that the schedule was due ``at`` and ask for its work, in one commit.

        False, and nothing happens, when its last run is not ``last`` any more: another process was first.
        """
        ...
