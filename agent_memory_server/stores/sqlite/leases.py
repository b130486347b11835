"""Named, expiring claims over SQLite; a claim is one write, so that two processes cannot both get it."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import micros

_ACQUIRE = """
INSERT INTO leases (name, holder, until) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE holder = excluded.holder OR until <= ?4
"""


class SqliteLeases:
    """``ports.leases.Leases`` over one file."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def acquire(self, name: str, /, *, holder: str, now: datetime, ttl_s: float) -> bool:
        until = micros(now + timedelta(seconds=ttl_s))

        def work(connected: Connected) -> bool:
            return connected.changed(_ACQUIRE, (name, holder, until, micros(now))) == 1

        return await self._writer.run(work)

    async def release(self, name: str, /, *, holder: str) -> None:
        await self._writer.run(
            lambda connected: connected.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))
        )
