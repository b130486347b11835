"""What ties summaries to the memories they were made of: each function is part of its caller's transaction."""

from __future__ import annotations

from typing import Any

from agent_memory_server.domain.summary_views import SOURCE_DELETED
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.memory_keys import (
    summaries_key,
)
from agent_memory_server.stores.redis.transactions import Transaction

PartitionRow = dict[str, Any]


def partition_key(handle: str, place: str) -> str:
    """The partition ``place`` (view and group digests) of the tenant of a memory."""
    return naming.beside(handle, "partition").rpartition(":")[0] + ":" + place


def untie(transaction: Transaction, place: str, row: PartitionRow) -> None:
    """The summary is no longer made of its sources."""
    for handle in row["sources"]:
        transaction.discard(summaries_key(handle), place)


async def scrub_summaries(transaction: Transaction, handle: str) -> None:
    """Take away the text of every summary that this memory, which is deleted for good, went into."""
    for place in sorted(await transaction.members(summaries_key(handle))):
        key = partition_key(handle, place)
        row = await transaction.document(key)
        transaction.discard(summaries_key(handle), place)
        if row is None:
            continue
        untie(transaction, place, row)
        emptied: PartitionRow = {
            "summary": "",
            "memory_count": 0,
            "fingerprint": None,
            "empty_reason": SOURCE_DELETED,
            "sources": [],
        }
        transaction.put(key, {**row, **emptied})
