"""``MemoryStore.commit``: one operation's changes, journal entries and intents, within one transaction."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from agent_memory_server.domain.operations import (
    Change,
    Committed,
    Delete,
    Effect,
    Operation,
    OperationKind,
    Outcome,
    Put,
    Restore,
    Supersede,
    is_spared,
)
from agent_memory_server.domain.records import EmbeddingStatus, Memory, MemoryKey
from agent_memory_server.errors import Conflict, InvalidInput, StaleRevision
from agent_memory_server.ports.comparisons import Stage
from agent_memory_server.stores.past_documents import pasts_of
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.deleting import delete_stored, scrub_gone
from agent_memory_server.stores.redis.intents import request_work, row_digest, row_key
from agent_memory_server.stores.redis.journalling import Journalling, begin_operation, operation_key
from agent_memory_server.stores.redis.memory_keys import (
    hash_key,
)
from agent_memory_server.stores.redis.moving import moved
from agent_memory_server.stores.redis.past import put_past
from agent_memory_server.stores.redis.restoring import restore
from agent_memory_server.stores.redis.rows import (
    FIELDS,
    Stored,
    due_of,
    insert_memory,
    is_compared,
    store_vector,
    stored_memories,
    stored_memory,
    touch_memory,
    update_memory,
    with_due,
)
from agent_memory_server.stores.redis.session_background import mark_extracted
from agent_memory_server.stores.redis.session_rows import (
    guard_holds,
)
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import micros, packed, sorted_terms

_MAKING = frozenset({OperationKind.CREATE, OperationKind.PROMOTE, OperationKind.EXTRACT, OperationKind.IMPORT})
_CHANGES_A_TURN = 32
"""So many changes are decided before the requests of others have their turn: some ten milliseconds."""
_CHAIN_MAX = 64
"""How far a chain of superseded memories is followed to the one that stands for the first."""


async def commit(transaction: Transaction, operation: Operation, *, token_key: bytes) -> Committed:
    """Apply the operation, or return the outcomes it had when it was committed before."""
    # One round trip for what nearly every operation looks at.
    digests = [row_digest(each.tenant, each.namespace, each.user_id, each.kind, each.key) for each in operation.intents]
    known_key = operation_key(operation.tenant, operation.id)
    _expect(transaction, operation, known_key)
    await transaction.documents((known_key, naming.CLOCK, *(row_key(digest) for digest in digests)))
    earlier = await transaction.document(known_key)
    if earlier is not None:
        # A write, so that a strict store confirms from its disk also what an earlier attempt did not see confirmed.
        transaction.releases = True
        transaction.command("SET", naming.PROBE, transaction.token)
        return Committed(applied=True, outcomes=_earlier_outcomes(operation.tenant, earlier))
    if operation.guard is not None and not await guard_holds(transaction, operation.guard, now=operation.at):
        return Committed(applied=False, outcomes=())
    transaction.releases = bool(operation.changes) and all(isinstance(each, Delete) for each in operation.changes)
    journalling = await begin_operation(
        transaction,
        tenant=operation.tenant,
        operation_id=operation.id,
        kind=operation.kind,
        actor=operation.actor,
        at=operation.at,
        reason=operation.reason,
        details=operation.details,
        run=operation.run,
    )
    keys = [_key_of(change) for change in operation.changes]
    if keys:
        await transaction.rows([naming.memory_key(naming.handle_of(*key)) for key in keys], FIELDS)
        await transaction.all_members(_hash_keys(operation))
    outcomes: list[Outcome] = []
    for number, change in enumerate(operation.changes):
        if number and number % _CHANGES_A_TURN == 0:
            await asyncio.sleep(0)
        outcomes.append(await _apply(journalling, number, change, operation, token_key=token_key))
    await put_past(transaction, pasts_of(operation, outcomes))
    if operation.guard is not None and operation.extracted:
        await mark_extracted(transaction, operation.guard, message_ids=operation.extracted)
    await request_work(transaction, operation.intents, at=operation.at)
    journalling.finish()
    return Committed(applied=True, outcomes=tuple(outcomes))


def _expect(transaction: Transaction, operation: Operation, known_key: str) -> None:
    """What is new nearly always: the operation, and what is made of new text."""
    transaction.expect_absent(documents=(known_key,))
    if operation.kind in _MAKING:
        new = [each for each in operation.changes if isinstance(each, Put) and each.previous_key is None]
        transaction.expect_absent(
            rows=[naming.memory_key(naming.handle_of(*each.memory.key)) for each in new],
            members=_hash_keys(operation),
        )


def _hash_keys(operation: Operation) -> list[str]:
    """Where the memories are that might say the same already."""
    return [
        hash_key(each.memory.scope.owner, each.memory.memory_hash)
        for each in operation.changes
        if isinstance(each, Put) and each.deduplicate and each.memory.memory_hash
    ]


def _key_of(change: Change) -> MemoryKey:
    return change.memory.key if isinstance(change, Put) else change.key


def _earlier_outcomes(tenant: str, earlier: dict[str, list[list[str]]]) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(key=MemoryKey(tenant, namespace, user_id, memory_id), effect=Effect(effect), survivor=survivor)
        for namespace, user_id, memory_id, effect, survivor in earlier["outcomes"]
    )


async def _apply(
    journalling: Journalling, number: int, change: Change, operation: Operation, *, token_key: bytes
) -> Outcome:
    key = _key_of(change)
    if key.tenant != operation.tenant:
        raise InvalidInput("An operation cannot change memories of another tenant.")
    if isinstance(change, Put):
        effect, survivor = await _put(journalling, number, change, token_key=token_key)
    elif isinstance(change, Supersede):
        effect, survivor = await _supersede(journalling, number, change)
    elif isinstance(change, Restore):
        effect, survivor = await restore(journalling, number, change, token_key=token_key)
    else:
        effect, survivor = await _delete(journalling, number, change)
    return Outcome(key=key, effect=effect, survivor=survivor)


# -- put --------------------------------------------------------------------------------------------------------------


async def _put(journalling: Journalling, number: int, change: Put, *, token_key: bytes) -> tuple[Effect, str]:
    transaction, key = journalling.transaction, change.memory.key
    previous = stored = await stored_memory(transaction, key)
    is_moved = change.previous_key is not None and change.previous_key != key
    if change.previous_key is not None and is_moved:
        previous, stored = await moved(journalling, change, change.previous_key, stored)
    if change.if_operation is not None and (stored is None or stored.memory.operation_id != change.if_operation):
        raise StaleRevision("The memory was changed meanwhile; read it again.")
    if stored is not None and change.if_absent:
        survivor = await _survivor(transaction, stored)
        journalling.entry(number, 0, key=key, effect=Effect.UNCHANGED, survivor=survivor)
        return Effect.UNCHANGED, survivor
    duplicate_of = await _duplicate_of(journalling, change.memory) if change.deduplicate else None
    memory = _as_stored(journalling, change.memory, stored, duplicate_of=duplicate_of)
    terms = packed(sorted_terms(token_key, change.tokens, transaction.digests))
    survivor = key.id if memory.superseded_by is None else memory.superseded_by
    is_copy = duplicate_of is not None or (change.carried is not None and change.carried.is_copy)
    if stored is None:
        effect = Effect.CREATED
        after = insert_memory(
            transaction,
            Stored(
                handle=naming.handle_of(*key),
                is_copy=is_copy,
                terms=terms,
                spaces=(),
                origin=journalling.kind.value if change.carried is None else change.carried.origin,
                due="",
                embedding="",
                memory=memory,
            ),
        )
    else:
        is_same = not is_moved and _same_content(memory, stored.memory) and terms == stored.terms
        effect, after = (Effect.UNCHANGED, stored) if is_same else (Effect.UPDATED, stored)
        if effect is Effect.UPDATED:
            after = update_memory(transaction, stored, memory, is_copy=is_copy, terms=terms)
    wants_vector = stored is not None and stored.memory.embedding is EmbeddingStatus.PENDING
    if change.embedded is not None and (effect is not Effect.UNCHANGED or wants_vector):
        after = store_vector(transaction, after, change.embedded)
    if change.carried is not None:
        for each in change.carried.vectors:
            after = store_vector(transaction, after, each)
        if change.carried.compared:
            after = with_due(transaction, after, "")
    if change.deduplicate and effect is not Effect.UNCHANGED and is_compared(memory):
        with_due(transaction, after, due_of(Stage.NEW, 0, transaction.token))
    if duplicate_of is not None and effect is not Effect.UNCHANGED:
        effect = Effect.DUPLICATE
    changed = None if effect is Effect.UNCHANGED else previous
    journalling.change(number, key=key, effect=effect, survivor=survivor, previous=changed)
    return effect, survivor


def _as_stored(journalling: Journalling, memory: Memory, stored: Stored | None, *, duplicate_of: str | None) -> Memory:
    """The record with what the store sets: who wrote it first, when it was copied, its revision."""
    before = None if stored is None else stored.memory
    return replace(
        memory,
        superseded_by=duplicate_of if duplicate_of is not None else memory.superseded_by,
        persisted_at=memory.persisted_at if before is None or before.persisted_at is None else before.persisted_at,
        author=memory.author if before is None else before.author,
        revision=1 if before is None else before.revision + 1,
        operation_id=journalling.operation_id,
        embedding=EmbeddingStatus.PENDING,
    )


def _same_content(new: Memory, old: Memory) -> bool:
    """Equal but for what changes without the content: access, time of update, and the store's own fields."""
    return new == replace(
        old,
        updated_at=new.updated_at,
        last_accessed=new.last_accessed,
        access_count=new.access_count,
        revision=new.revision,
        operation_id=new.operation_id,
        embedding=new.embedding,
    )


async def _duplicate_of(journalling: Journalling, memory: Memory) -> str | None:
    """The id of the live memory that says the same already; its last access becomes now. None: there is none.

    A pinned memory steps back only behind a pinned one: what is pinned is not to be forgotten.
    """
    if not memory.memory_hash:
        return None
    transaction, at = journalling.transaction, journalling.at
    own = naming.handle_of(*memory.key)
    handles = sorted(await transaction.members(hash_key(memory.scope.owner, memory.memory_hash)) - {own})
    standing = [
        each
        for each in await stored_memories(transaction, handles)
        if each is not None
        and each.live
        and (each.memory.expires_at is None or each.memory.expires_at > at)
        and each.memory.pinned >= memory.pinned
    ]
    if not standing:
        return None
    survivor = min(standing, key=lambda each: (each.memory.created_at, each.memory.id))
    if survivor.memory.last_accessed < at:
        touch_memory(transaction, survivor, at_us=micros(at), counts=False)
    return survivor.memory.id


async def _survivor(transaction: Transaction, stored: Stored) -> str:
    """Id of the memory that now stands for this one."""
    seen = {stored.memory.id}
    standing, following = stored.memory.id, stored.memory.superseded_by
    while following is not None and following not in seen and len(seen) < _CHAIN_MAX:
        found = await stored_memory(transaction, MemoryKey(*stored.memory.key[:3], following))
        if found is None:
            break
        seen.add(following)
        standing, following = following, found.memory.superseded_by
    return standing


# -- supersede and delete ---------------------------------------------------------------------------------------------


async def _supersede(journalling: Journalling, number: int, change: Supersede) -> tuple[Effect, str]:
    transaction, key = journalling.transaction, change.key
    stored = await stored_memory(transaction, key)
    before: Memory | None = None
    survivor = key.id
    if change.if_operation is not None and (stored is None or stored.memory.operation_id != change.if_operation):
        raise StaleRevision("A memory that was to be superseded was changed meanwhile; read it again.")
    if stored is None:
        effect = Effect.ABSENT
    elif stored.memory.pinned:
        effect = Effect.SPARED
    elif stored.memory.superseded_by is not None or change.by == key.id:
        effect, survivor = Effect.UNCHANGED, await _survivor(transaction, stored)
    else:
        await _step_back(journalling, stored, change)
        effect, survivor, before = Effect.SUPERSEDED, change.by, stored.memory
    journalling.entry(number, 0, key=key, effect=effect, survivor=survivor, before=before)
    return effect, survivor


async def _step_back(journalling: Journalling, stored: Stored, change: Supersede) -> None:
    by = await stored_memory(journalling.transaction, MemoryKey(*change.key[:3], change.by))
    if by is None or not by.live:
        raise Conflict("The memory that is to take its place is not there.")
    if change.if_by_operation not in (None, by.memory.operation_id):
        raise StaleRevision("The memory that is to take its place was changed meanwhile; read it again.")
    memory = replace(
        stored.memory,
        superseded_by=change.by,
        updated_at=journalling.at,
        revision=stored.memory.revision + 1,
        operation_id=journalling.operation_id,
    )
    is_same = bool(by.memory.memory_hash) and by.memory.memory_hash == stored.memory.memory_hash
    is_copy = is_same or journalling.kind is OperationKind.MERGE
    update_memory(journalling.transaction, stored, memory, is_copy=is_copy, terms=stored.terms)


async def _delete(journalling: Journalling, number: int, change: Delete) -> tuple[Effect, str]:
    transaction, key = journalling.transaction, change.key
    stored = await stored_memory(transaction, key)
    if stored is not None and is_spared(change, stored.memory):
        journalling.entry(number, 0, key=key, effect=Effect.SPARED, survivor=key.id)
        return Effect.SPARED, key.id
    if stored is None:
        if change.scrub:
            # Forgotten by policy before: the journal may still hold its text.
            await scrub_gone(journalling, number, key)
        journalling.entry(number, 0, key=key, effect=Effect.ABSENT, survivor=key.id)
        return Effect.ABSENT, key.id
    await delete_stored(journalling, number, 0, stored, scrub=change.scrub)
    return Effect.DELETED, key.id
