"""Taking a memory away: by policy with its state kept in the journal, or for good with everything that repeats its text."""

from __future__ import annotations

from dataclasses import replace

from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.journalling import Journalling, operation_key, scrub_history
from agent_memory_server.stores.redis.memory_keys import (
    copies_key,
)
from agent_memory_server.stores.redis.rows import (
    Stored,
    remove_memory,
    stored_memories,
    stored_memory,
    update_memory,
)
from agent_memory_server.stores.redis.summary_rows import scrub_summaries
from agent_memory_server.stores.redis.transactions import Transaction


async def delete_stored(journalling: Journalling, number: int, part: int, stored: Stored, *, scrub: bool) -> int:
    """Remove a memory; with ``scrub`` also what repeats its text: its history, the copies it had taken the place of, and
    what was merged of it, whose other sources live again.

    Returns the next free part number of this change.
    """
    transaction = journalling.transaction
    copies = await copies_of(transaction, stored) if scrub else []
    for gone in (stored, *copies):
        remove_memory(transaction, gone)
        if scrub:
            await scrub_everywhere(transaction, gone.handle)
        journalling.entry(
            number,
            part,
            key=gone.memory.key,
            effect=Effect.DELETED,
            survivor=gone.memory.id,
            before=gone.memory,
            is_copy=gone.is_copy,
            scrubbed=scrub,
        )
        part += 1
    return await _unmerge(journalling, number, part, stored) if scrub else part


async def scrub_everywhere(transaction: Transaction, handle: str) -> None:
    """Take a memory's text out of its history and out of the summaries that were made of it."""
    await scrub_history(transaction, handle)
    await scrub_summaries(transaction, handle)


async def _unmerge(journalling: Journalling, number: int, part: int, source: Stored) -> int:
    """Take back the merges that a memory went into, because it is deleted for good: what says its text goes, and the other
    sources live again, from where compaction makes of them what they still are together.

    A merged memory that somebody edited or pinned since is theirs and stays, without the history that repeats the source.
    """
    transaction = journalling.transaction
    merged = await _merged_of(transaction, source)
    if merged is None:
        return part
    made_by = await transaction.link.read("GET", operation_key(journalling.tenant, merged.memory.operation_id))
    kind = None if made_by is None else from_json(made_by)["kind"]
    if kind == OperationKind.EDIT.value or merged.memory.pinned:
        await scrub_everywhere(transaction, merged.handle)
        return part
    part = await _unmerge(journalling, number, part, merged)
    for memory_id in merged.memory.derived_from:
        if memory_id != source.memory.id:
            part = await _revive(journalling, number, part, merged, memory_id)
    remove_memory(transaction, merged)
    await scrub_everywhere(transaction, merged.handle)
    journalling.entry(
        number, part, key=merged.memory.key, effect=Effect.DELETED, survivor=merged.memory.id, scrubbed=True
    )
    return part + 1


async def _merged_of(transaction: Transaction, source: Stored) -> Stored | None:
    """The memory that this one was merged into, if it was."""
    by = source.memory.superseded_by
    if by is None:
        return None
    found = await stored_memory(transaction, _sibling(source, by))
    return found if found is not None and source.memory.id in found.memory.derived_from else None


async def _revive(journalling: Journalling, number: int, part: int, merged: Stored, memory_id: str) -> int:
    """Let a source of a merge that is taken back stand for itself again."""
    other = await stored_memory(journalling.transaction, _sibling(merged, memory_id))
    if other is None or other.memory.superseded_by != merged.memory.id:
        return part
    revived = replace(
        other.memory,
        superseded_by=None,
        updated_at=journalling.at,
        revision=other.memory.revision + 1,
        operation_id=journalling.operation_id,
    )
    update_memory(journalling.transaction, other, revived, is_copy=False, terms=other.terms)
    journalling.entry(
        number,
        part,
        key=other.memory.key,
        effect=Effect.UPDATED,
        survivor=memory_id,
        before=other.memory,
        is_copy=other.is_copy,
    )
    return part + 1


def _sibling(stored: Stored, memory_id: str) -> MemoryKey:
    return MemoryKey(*stored.memory.key[:3], memory_id)


async def copies_of(transaction: Transaction, stored: Stored) -> list[Stored]:
    """The duplicates that step back behind this memory, and behind those, in the same owner scope."""
    found: list[Stored] = []
    seen = {stored.handle}
    ahead = [stored.handle]
    while ahead:
        handles = sorted(await transaction.members(copies_key(ahead.pop())) - seen)
        for copy in await stored_memories(transaction, handles):
            if copy is not None and copy.is_copy:
                seen.add(copy.handle)
                ahead.append(copy.handle)
                found.append(copy)
    return found
