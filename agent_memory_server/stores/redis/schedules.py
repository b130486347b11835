"""When schedules were last due, over Redis: noting it and asking for the work are one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agent_memory_server.domain.operations import Intent
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.clock import note_time
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.intents import request_work
from agent_memory_server.stores.redis.transactions import Transaction, transact
from agent_memory_server.stores.values import instant, micros, micros_or_none


def _key(name: str) -> str:
    return naming.PREFIX + "schedule:" + naming.digest(name)


class RedisSchedules:
    """``ports.schedules.ScheduleStore`` over one Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def last_run(self, name: str, /) -> datetime | None:
        held = await self._link.read("GET", _key(name))
        return None if held is None else instant(from_json(held))

    async def tick(self, name: str, /, *, last: datetime | None, at: datetime, intents: Sequence[Intent]) -> bool:
        async def work(transaction: Transaction) -> bool:
            if await transaction.document(_key(name)) != micros_or_none(last):
                return False
            transaction.put(_key(name), micros(at))
            await note_time(transaction, at)
            await request_work(transaction, intents, at=at)
            return True

        return await transact(self._link, work, alone=_key(name))
