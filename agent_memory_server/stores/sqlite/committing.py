"""``MemoryStore.commit``: one operation's changes, journal entries and intents, within one transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

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
from agent_memory_server.domain.sessions import SessionGuard
from agent_memory_server.errors import Conflict, InvalidInput, StaleRevision
from agent_memory_server.ports.comparisons import Stage
from agent_memory_server.stores.past_documents import pasts_of
from agent_memory_server.stores.sqlite.comparison_marks import forget_due, is_compared, mark_due
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.deleting import delete_stored, scrub_gone
from agent_memory_server.stores.sqlite.journalling import Journalling, begin_operation
from agent_memory_server.stores.sqlite.moving import moved
from agent_memory_server.stores.sqlite.outbox_rows import request_work
from agent_memory_server.stores.sqlite.past import put_past
from agent_memory_server.stores.sqlite.putting_many import put_many
from agent_memory_server.stores.sqlite.restoring import restore
from agent_memory_server.stores.sqlite.rows import Stored, insert_memory, stored_memory, update_memory
from agent_memory_server.stores.sqlite.scoping import interned_scope, interned_tenant, known_scope
from agent_memory_server.stores.sqlite.session_background import mark_extracted
from agent_memory_server.stores.sqlite.vectors import store_vector
from agent_memory_server.stores.values import micros, pack_terms

_CHAIN_MAX = 64
"""How far a chain of superseded memories is followed to the one that stands for the first."""


def commit(connected: Connected, operation: Operation) -> Committed:
    """Apply the operation, or return the outcomes it had when it was committed before."""
    tenant_id = interned_tenant(connected, operation.tenant)
    sequence = connected.value("SELECT seq FROM operations WHERE tenant_id = ? AND id = ?", (tenant_id, operation.id))
    if sequence is not None:
        return Committed(applied=True, outcomes=_earlier_outcomes(connected, operation.tenant, sequence))
    if operation.guard is not None and not guard_holds(connected, operation.guard, now=operation.at):
        return Committed(applied=False, outcomes=())
    journalling = begin_operation(
        connected,
        tenant_id=tenant_id,
        tenant=operation.tenant,
        operation_id=operation.id,
        kind=operation.kind,
        actor=operation.actor,
        at=operation.at,
        reason=operation.reason,
        details=operation.details,
        run=operation.run,
    )
    done = put_many(journalling, operation.changes)
    outcomes = tuple(
        done[number] if number in done else _apply(journalling, number, change, operation)
        for number, change in enumerate(operation.changes)
    )
    put_past(connected, pasts_of(operation, outcomes))
    if operation.guard is not None and operation.extracted:
        mark_extracted(connected, operation.guard, message_ids=operation.extracted)
    request_work(connected, operation.intents, at=operation.at)
    return Committed(applied=True, outcomes=outcomes)


def guard_holds(connected: Connected, guard: SessionGuard, *, now: datetime) -> bool:
    """Whether the session lives the life that the guard saw."""
    scope = guard.scope
    scope_id = known_scope(connected, scope.tenant, scope.namespace, scope.user_id)
    found = connected.value(
        "SELECT 1 FROM sessions WHERE tenant_id = (SELECT id FROM tenants WHERE name = ?) AND session_id = ? "
        "AND scope_id = ? AND epoch = ? AND (expires_at IS NULL OR expires_at > ?)",
        (scope.tenant, scope.session_id, scope_id, guard.epoch, micros(now)),
    )
    return found is not None


def _earlier_outcomes(connected: Connected, tenant: str, sequence: int) -> tuple[Outcome, ...]:
    rows = connected.rows(
        "SELECT s.namespace, s.user_id, e.memory_id, e.effect, e.survivor FROM entries AS e "
        "JOIN scopes AS s ON s.id = e.scope_id WHERE e.operation = ? AND e.part = 0 ORDER BY e.change",
        (sequence,),
    )
    return tuple(
        Outcome(key=MemoryKey(tenant, namespace, user_id, memory_id), effect=Effect(effect), survivor=survivor)
        for namespace, user_id, memory_id, effect, survivor in rows
    )


def _apply(journalling: Journalling, number: int, change: Change, operation: Operation) -> Outcome:
    key = change.memory.key if isinstance(change, Put) else change.key
    if key.tenant != operation.tenant:
        raise InvalidInput("An operation cannot change memories of another tenant.")
    if isinstance(change, Put):
        effect, survivor = _put(journalling, number, change)
    elif isinstance(change, Supersede):
        effect, survivor = _supersede(journalling, number, change)
    elif isinstance(change, Restore):
        effect, survivor = restore(journalling, number, change)
    else:
        effect, survivor = _delete(journalling, number, change)
    return Outcome(key=key, effect=effect, survivor=survivor)


# -- put --------------------------------------------------------------------------------------------------------------


def _put(journalling: Journalling, number: int, change: Put) -> tuple[Effect, str]:
    connected, tenant_id = journalling.connected, journalling.tenant_id
    key = change.memory.key
    scope_id = interned_scope(connected, key.tenant, key.namespace, key.user_id)
    stored = stored_memory(connected, tenant_id=tenant_id, scope_id=scope_id, memory_id=key.id)
    previous = stored
    if change.previous_key is not None and change.previous_key != key:
        previous, stored = moved(journalling, change, change.previous_key, stored, scope_id=scope_id)
    if change.if_operation is not None and (stored is None or stored.memory.operation_id != change.if_operation):
        raise StaleRevision("The memory was changed meanwhile; read it again.")
    if stored is not None and change.if_absent:
        survivor = _survivor(connected, stored)
        journalling.entry(number, 0, scope_id=scope_id, memory_id=key.id, effect=Effect.UNCHANGED, survivor=survivor)
        return Effect.UNCHANGED, survivor
    duplicate_of = _duplicate_of(journalling, change.memory, scope_id=scope_id) if change.deduplicate else None
    memory = _as_stored(journalling, change.memory, stored, duplicate_of=duplicate_of)
    terms = pack_terms(connected.token_key, change.tokens)
    survivor = key.id if memory.superseded_by is None else memory.superseded_by
    is_copy = duplicate_of is not None or (change.carried is not None and change.carried.is_copy)
    if stored is None:
        effect = Effect.CREATED
        handle = insert_memory(
            connected,
            memory,
            tenant_id=tenant_id,
            scope_id=scope_id,
            is_copy=is_copy,
            terms=terms,
            origin=journalling.kind.value if change.carried is None else change.carried.origin,
            due=Stage.NEW if change.deduplicate else Stage.CHANGED,
            embedded=change.embedded,
        )
    else:
        handle = stored.handle
        is_same = scope_id == stored.scope_id and key.id == stored.memory.id and _same_content(memory, stored.memory)
        effect = Effect.UNCHANGED if is_same and terms == stored.terms else Effect.UPDATED
        if effect is Effect.UPDATED:
            update_memory(connected, stored, memory, scope_id=scope_id, is_copy=is_copy, terms=terms)
    if change.embedded is not None and (effect is not Effect.UNCHANGED or _wants_vector(stored)):
        live = memory.superseded_by is None
        store_vector(
            connected,
            change.embedded,
            handle=handle,
            tenant_id=tenant_id,
            scope_id=scope_id,
            live=live,
            is_marked=stored is None,
        )
    if change.carried is not None:
        live = memory.superseded_by is None
        for each in change.carried.vectors:
            store_vector(connected, each, handle=handle, tenant_id=tenant_id, scope_id=scope_id, live=live)
        if change.carried.compared:
            forget_due(connected, handle)
    if change.deduplicate and effect is Effect.UPDATED and is_compared(memory):
        mark_due(connected, handle, tenant_id=tenant_id, scope_id=scope_id, stage=Stage.NEW)
    if duplicate_of is not None and effect is not Effect.UNCHANGED:
        effect = Effect.DUPLICATE
    changed = None if effect is Effect.UNCHANGED else previous
    journalling.change(number, scope_id=scope_id, memory_id=key.id, effect=effect, survivor=survivor, previous=changed)
    return effect, survivor


def _wants_vector(stored: Stored | None) -> bool:
    return stored is not None and stored.memory.embedding is EmbeddingStatus.PENDING


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


def _duplicate_of(journalling: Journalling, memory: Memory, *, scope_id: int) -> str | None:
    """The id of the live memory that says the same already; its last access becomes now. None: there is none.

    A pinned memory steps back only behind a pinned one: what is pinned is not to be forgotten.
    """
    if not memory.memory_hash:
        return None
    found = journalling.connected.one(
        "SELECT handle, id FROM memories WHERE tenant_id = ? AND memory_hash = ? AND scope_id = ? AND id <> ? "
        "AND superseded_by IS NULL AND (expires_at IS NULL OR expires_at > ?) AND pinned >= ? "
        "ORDER BY handle LIMIT 1",
        (
            journalling.tenant_id,
            memory.memory_hash,
            scope_id,
            memory.id,
            micros(journalling.at),
            int(memory.pinned),
        ),
    )
    if found is None:
        return None
    handle, survivor = found
    journalling.connected.execute(
        "UPDATE memories SET last_accessed = max(last_accessed, ?) WHERE handle = ?", (micros(journalling.at), handle)
    )
    return survivor


def _survivor(connected: Connected, stored: Stored) -> str:
    """Id of the memory that now stands for this one."""
    seen = {stored.memory.id}
    standing, following = stored.memory.id, stored.memory.superseded_by
    while following is not None and following not in seen and len(seen) < _CHAIN_MAX:
        row = connected.one(
            "SELECT superseded_by FROM memories WHERE tenant_id = ? AND id = ? AND scope_id = ?",
            (stored.tenant_id, following, stored.scope_id),
        )
        if row is None:
            break
        seen.add(following)
        standing, following = following, row[0]
    return standing


# -- supersede and delete ---------------------------------------------------------------------------------------------


def _supersede(journalling: Journalling, number: int, change: Supersede) -> tuple[Effect, str]:
    connected, key = journalling.connected, change.key
    scope_id = interned_scope(connected, key.tenant, key.namespace, key.user_id)
    stored = stored_memory(connected, tenant_id=journalling.tenant_id, scope_id=scope_id, memory_id=key.id)
    before: Memory | None = None
    survivor = key.id
    if change.if_operation is not None and (stored is None or stored.memory.operation_id != change.if_operation):
        raise StaleRevision("A memory that was to be superseded was changed meanwhile; read it again.")
    if stored is None:
        effect = Effect.ABSENT
    elif stored.memory.pinned:
        effect = Effect.SPARED
    elif stored.memory.superseded_by is not None or change.by == key.id:
        effect, survivor = Effect.UNCHANGED, _survivor(connected, stored)
    else:
        by = stored_memory(connected, tenant_id=journalling.tenant_id, scope_id=scope_id, memory_id=change.by)
        if by is None or not by.live:
            raise Conflict("The memory that is to take its place is not there.")
        if change.if_by_operation not in (None, by.memory.operation_id):
            raise StaleRevision("The memory that is to take its place was changed meanwhile; read it again.")
        effect, survivor, before = Effect.SUPERSEDED, change.by, stored.memory
        memory = replace(
            stored.memory,
            superseded_by=change.by,
            updated_at=journalling.at,
            revision=stored.memory.revision + 1,
            operation_id=journalling.operation_id,
        )
        is_same = bool(by.memory.memory_hash) and by.memory.memory_hash == stored.memory.memory_hash
        is_copy = is_same or journalling.kind is OperationKind.MERGE
        update_memory(connected, stored, memory, scope_id=scope_id, is_copy=is_copy, terms=stored.terms)
    journalling.entry(number, 0, scope_id=scope_id, memory_id=key.id, effect=effect, survivor=survivor, before=before)
    return effect, survivor


def _delete(journalling: Journalling, number: int, change: Delete) -> tuple[Effect, str]:
    connected, key = journalling.connected, change.key
    scope_id = interned_scope(connected, key.tenant, key.namespace, key.user_id)
    stored = stored_memory(connected, tenant_id=journalling.tenant_id, scope_id=scope_id, memory_id=key.id)
    if stored is not None and is_spared(change, stored.memory):
        journalling.entry(number, 0, scope_id=scope_id, memory_id=key.id, effect=Effect.SPARED, survivor=key.id)
        return Effect.SPARED, key.id
    if stored is None:
        if change.scrub:
            # Forgotten by policy before: the journal may still hold its text.
            scrub_gone(journalling, number, scope_id=scope_id, memory_id=key.id)
        journalling.entry(number, 0, scope_id=scope_id, memory_id=key.id, effect=Effect.ABSENT, survivor=key.id)
        return Effect.ABSENT, key.id
    delete_stored(journalling, number, 0, stored, scrub=change.scrub)
    return Effect.DELETED, key.id
