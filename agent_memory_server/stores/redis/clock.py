"""What the store remembers of the time (``domain.clock_guard``), noted with every commit of an operation."""

from __future__ import annotations

from datetime import datetime

from agent_memory_server.domain.clock_guard import ClockRecord, is_worth_noting, observed
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.transactions import Transaction, transact
from agent_memory_server.stores.values import instant, instant_or_none, micros, micros_or_none


async def note_time(transaction: Transaction, now: datetime) -> ClockRecord:
    """Note the time within the caller's transaction; writes at most once a minute."""
    held = await transaction.document(naming.CLOCK)
    record = None
    if held is not None:
        record = ClockRecord(
            seen=instant(held[0]), stepped_from=instant_or_none(held[1]), stepped_at=instant_or_none(held[2])
        )
    if record is not None and not is_worth_noting(record, now):
        # Another minute noted by somebody else meanwhile changes nothing here.
        transaction.unchecked(naming.CLOCK)
        return record
    return _put(transaction, observed(record, now))


def _put(transaction: Transaction, record: ClockRecord) -> ClockRecord:
    transaction.put(
        naming.CLOCK, [micros(record.seen), micros_or_none(record.stepped_from), micros_or_none(record.stepped_at)]
    )
    return record


class RedisClock:
    """``ports.clock.ClockStore`` over one Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def observe(self, now: datetime, /) -> ClockRecord:
        return await transact(self._link, lambda transaction: note_time(transaction, now))

    async def trust(self, now: datetime, /) -> ClockRecord:
        async def work(transaction: Transaction) -> ClockRecord:
            return _put(transaction, ClockRecord(seen=now))

        return await transact(self._link, work)
