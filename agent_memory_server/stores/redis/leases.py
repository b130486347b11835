"""Named, expiring claims over Redis; a claim is one transaction, so that two processes cannot both get it."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.transactions import Transaction, transact
from agent_memory_server.stores.values import micros


def _key(name: str) -> str:
    return naming.PREFIX + "lease:" + naming.digest(name)


class RedisLeases:
    """``ports.leases.Leases`` over one Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def acquire(self, name: str, /, *, holder: str, now: datetime, ttl_s: float) -> bool:
        until = micros(now + timedelta(seconds=ttl_s))

        async def work(transaction: Transaction) -> bool:
            held = await transaction.document(_key(name))
            if held is not None and held[0] != holder and held[1] > micros(now):
                return False
            transaction.put(_key(name), [holder, until, name])
            return True

        return await transact(self._link, work, alone=_key(name))

    async def release(self, name: str, /, *, holder: str) -> None:
        async def work(transaction: Transaction) -> None:
            transaction.releases = True
            held = await transaction.document(_key(name))
            if held is not None and held[0] == holder:
                transaction.drop(_key(name))

        await transact(self._link, work)
