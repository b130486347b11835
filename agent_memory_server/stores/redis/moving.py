"""Moving a memory to another key of its tenant, with its copies, its history and the summaries that were made of it."""

from __future__ import annotations

from agent_memory_server.domain.operations import Put
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.errors import Conflict, InvalidInput, StaleRevision
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.deleting import copies_of
from agent_memory_server.stores.redis.journalling import Journalling, moved_key
from agent_memory_server.stores.redis.rows import Stored, rekey_memory, stored_memory
from agent_memory_server.stores.values import micros


async def moved(
    journalling: Journalling, change: Put, previous: MemoryKey, at_target: Stored | None
) -> tuple[Stored | None, Stored | None]:
    """Move the record under ``previous_key`` (with its history and its copies) to the new key, before the edit.

    Returns how it stood before and after the move; None twice when there was none.
    """
    transaction, key = journalling.transaction, change.memory.key
    if previous.tenant != key.tenant:
        raise InvalidInput("A memory cannot move to another tenant.")
    if at_target is not None:
        raise Conflict("Another memory already has this id there.")
    source = await stored_memory(transaction, previous)
    if source is None:
        return None, None
    if change.if_operation is not None and source.memory.operation_id != change.if_operation:
        raise StaleRevision("The memory was changed meanwhile; read it again.")
    for copy in await copies_of(transaction, source):
        target = MemoryKey(key.tenant, key.namespace, key.user_id, copy.memory.id)
        if previous[:3] != key[:3] and await stored_memory(transaction, target) is not None:
            raise Conflict("A duplicate of this memory has an id that another memory already has there.")
        superseded_by = key.id if copy.memory.superseded_by == previous.id else copy.memory.superseded_by
        _rekey(journalling, copy, target, superseded_by)
    return source, _rekey(journalling, source, key, source.memory.superseded_by)


def _rekey(journalling: Journalling, stored: Stored, key: MemoryKey, superseded_by: str | None) -> Stored:
    """Put it under the new key, and remember at the old one where its history went."""
    after = rekey_memory(journalling.transaction, stored, key, superseded_by)
    if after.handle != stored.handle:
        journalling.note_gone(stored.memory.key, after.handle)
        journalling.transaction.command("SADD", moved_key(stored.handle), after.handle)
        journalling.transaction.amend_row(naming.memory_key(after.handle), {"chg": micros(journalling.at)})
    return after
