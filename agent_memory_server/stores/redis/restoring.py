"""Bringing a memory back to a state that the journal remembers, when nothing that came later would be overwritten."""

from __future__ import annotations

from dataclasses import replace

from agent_memory_server.domain.operations import Effect, Put, Restore
from agent_memory_server.domain.records import EmbeddingStatus, Memory, MemoryKey
from agent_memory_server.errors import Conflict
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.journalling import Journalling
from agent_memory_server.stores.redis.memory_keys import (
    copies_key,
    history_key,
)
from agent_memory_server.stores.redis.moving import moved
from agent_memory_server.stores.redis.rows import (
    Stored,
    insert_memory,
    remove_memory,
    store_vector,
    stored_memory,
    update_memory,
    with_due,
)
from agent_memory_server.stores.redis.scopes import pairs_of
from agent_memory_server.stores.values import pack_terms


async def restore(journalling: Journalling, number: int, change: Restore, *, token_key: bytes) -> tuple[Effect, str]:
    """The change, with its journal entry. Raises Conflict."""
    key = change.key
    stored = await stored_memory(journalling.transaction, key)
    origin = await _checked_origin(journalling, change)
    if change.memory is not None:
        return await _brought_back(
            journalling, number, change, change.memory, stored, token_key=token_key, origin=origin
        )
    if stored is None:
        raise Conflict(f"The memory {key.id} is not there any more.")
    await _check_nobody_behind(journalling, stored)
    remove_memory(journalling.transaction, stored)
    journalling.change(number, key=key, effect=Effect.DELETED, survivor=key.id, previous=stored)
    return Effect.DELETED, key.id


async def _checked_origin(journalling: Journalling, change: Restore) -> str:
    """The kind of the operation that first wrote the memory, when its newest revision is the expected one."""
    history = history_key(naming.handle_of(*change.key))
    transaction = journalling.transaction
    held = pairs_of(await transaction.link.read("HGETALL", history))
    transaction.unchanged_length(history, len(held))
    if held:
        names = sorted(held, key=lambda each: tuple(int(part) for part in each.split(b":")))
        name = names[-1]
        newest = from_json(held[name])
        if newest["operation"][0] == change.if_operation:
            if newest["scrubbed"]:
                raise Conflict(f"The text of the memory {change.key.id} was deleted for good.")
            transaction.unchanged_field(history, name, held[name])
            return from_json(held[names[0]])["operation"][1]
    raise Conflict(f"The memory {change.key.id} was changed meanwhile; look at it again.")


async def _brought_back(
    journalling: Journalling,
    number: int,
    change: Restore,
    memory: Memory,
    stored: Stored | None,
    *,
    token_key: bytes,
    origin: str,
) -> tuple[Effect, str]:
    transaction, key = journalling.transaction, memory.key
    previous = stored
    if key != change.key:
        moving = Put(memory=memory, tokens=change.tokens, previous_key=change.key)
        target = await stored_memory(transaction, key)
        previous, stored = await moved(journalling, moving, change.key, target)
    if memory.superseded_by is not None:
        by = await stored_memory(transaction, MemoryKey(*key[:3], memory.superseded_by))
        if by is None:
            raise Conflict(f"The memory that took the place of {key.id} is not there any more.")
    again = _as_it_was(journalling, memory, stored)
    terms = pack_terms(token_key, change.tokens)
    is_copy = change.is_copy and again.superseded_by is not None
    if stored is None:
        after = insert_memory(transaction, _new(again, origin, is_copy=is_copy, terms=terms))
    else:
        after = update_memory(transaction, stored, again, is_copy=is_copy, terms=terms)
    if change.embedded is not None and (stored is None or stored.memory.text != again.text):
        after = store_vector(transaction, after, change.embedded)
    if (stored is None or stored.memory.text == again.text) and after.due:
        with_due(transaction, after, "")
    effect = Effect.CREATED if stored is None else Effect.UPDATED
    if again.superseded_by is not None:
        effect = Effect.SUPERSEDED
    survivor = again.superseded_by or key.id
    journalling.change(number, key=key, effect=effect, survivor=survivor, previous=previous)
    return effect, survivor


def _new(memory: Memory, origin: str, *, is_copy: bool, terms: bytes) -> Stored:
    return Stored(
        handle=naming.handle_of(*memory.key),
        is_copy=is_copy,
        terms=terms,
        spaces=(),
        origin=origin,
        due="",
        embedding="",
        memory=memory,
    )


def _as_it_was(journalling: Journalling, memory: Memory, stored: Stored | None) -> Memory:
    """The state then, as a new revision: what was read since stays counted."""
    now = memory if stored is None else stored.memory
    return replace(
        memory,
        updated_at=journalling.at,
        last_accessed=now.last_accessed,
        access_count=now.access_count,
        revision=now.revision + 1,
        operation_id=journalling.operation_id,
        embedding=EmbeddingStatus.PENDING,
    )


async def _check_nobody_behind(journalling: Journalling, stored: Stored) -> None:
    """Those that stepped back behind a memory would be hidden for ever if it went."""
    if await journalling.transaction.members(copies_key(stored.handle)):
        raise Conflict(f"The memory {stored.memory.id} cannot go: another has stepped back behind it since.")
