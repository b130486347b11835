"""What the file remembers of the time (``domain.clock_guard``), noted within every commit of an operation."""

from __future__ import annotations

from datetime import datetime

from agent_memory_server.domain.clock_guard import ClockRecord, is_worth_noting, observed
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import instant, instant_or_none, micros, micros_or_none


def note_time(connected: Connected, now: datetime) -> ClockRecord:
    """Note the time within the caller's transaction; writes at most once a minute."""
    row = connected.one("SELECT seen, stepped_from, stepped_at FROM clock")
    record = None
    if row is not None:
        record = ClockRecord(
            seen=instant(row[0]), stepped_from=instant_or_none(row[1]), stepped_at=instant_or_none(row[2])
        )
    if record is not None and not is_worth_noting(record, now):
        return record
    return _stored(connected, observed(record, now))


def _stored(connected: Connected, record: ClockRecord) -> ClockRecord:
    connected.execute(
        "INSERT OR REPLACE INTO clock (id, seen, stepped_from, stepped_at) VALUES (1, ?, ?, ?)",
        (micros(record.seen), micros_or_none(record.stepped_from), micros_or_none(record.stepped_at)),
    )
    return record


class SqliteClock:
    """``ports.clock.ClockStore`` over one file."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def observe(self, now: datetime, /) -> ClockRecord:
        return await self._writer.run(lambda connected: note_time(connected, now))

    async def trust(self, now: datetime, /) -> ClockRecord:
        return await self._writer.run(lambda connected: _stored(connected, ClockRecord(seen=now)))
