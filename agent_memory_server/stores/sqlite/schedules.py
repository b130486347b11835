"""When schedules were last due, over SQLite: noting it and asking for the work are one commit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agent_memory_server.domain.operations import Intent
from agent_memory_server.stores.sqlite.clock import note_time
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.outbox_rows import request_work
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import instant_or_none, micros, micros_or_none

_NOTE_FIRST = "INSERT INTO schedules (name, last_run) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"
_NOTE_NEXT = "UPDATE schedules SET last_run = ? WHERE name = ? AND last_run = ?"


class SqliteSchedules:
    """``ports.schedules.ScheduleStore`` over one file."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    async def last_run(self, name: str, /) -> datetime | None:
        found = await self._readers.run(
            lambda connected: connected.value("SELECT last_run FROM schedules WHERE name = ?", (name,))
        )
        return instant_or_none(found)

    async def tick(self, name: str, /, *, last: datetime | None, at: datetime, intents: Sequence[Intent]) -> bool:
        def work(connected: Connected) -> bool:
            if last is None:
                noted = connected.changed(_NOTE_FIRST, (name, micros(at)))
            else:
                noted = connected.changed(_NOTE_NEXT, (micros(at), name, micros_or_none(last)))
            if noted == 0:
                return False
            note_time(connected, at)
            request_work(connected, intents, at=at)
            return True

        return await self._writer.run(work)
