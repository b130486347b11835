"""Letting go of the texts that the journal keeps of memories which are gone for long."""

from __future__ import annotations

from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.journalling import scrub_history, to_thin_key
from agent_memory_server.stores.redis.transactions import Transaction, transact


async def thin(link: Link, tenant: str, *, gone_before_us: int, limit: int) -> int:
    """How many memories that were removed before then lost their text; one that is back again keeps it."""
    key = to_thin_key(tenant)
    held = await link.read("ZRANGEBYSCORE", key, "-inf", f"({gone_before_us}", "LIMIT", 0, limit)
    for member in held:
        handle = member.decode()

        async def work(transaction: Transaction, handle: str = handle) -> None:
            (row,) = await transaction.rows([naming.memory_key(handle)], ())
            if row is None:
                await scrub_history(transaction, handle)
            transaction.command("ZREM", key, handle)

        await transact(link, work)
    return len(held)
