"""Bringing a memory back to a state that the journal remembers, when nothing that came later would be overwritten."""

from __future__ import annotations

from dataclasses import replace

from agent_memory_server.domain.operations import Effect, Put, Restore
from agent_memory_server.domain.records import EmbeddingStatus, Memory
from agent_memory_server.errors import Conflict
from agent_memory_server.ports.comparisons import Stage
from agent_memory_server.stores.sqlite.comparison_marks import forget_due
from agent_memory_server.stores.sqlite.journalling import Journalling
from agent_memory_server.stores.sqlite.moving import moved
from agent_memory_server.stores.sqlite.rows import Stored, insert_memory, remove_memory, stored_memory, update_memory
from agent_memory_server.stores.sqlite.scoping import interned_scope
from agent_memory_server.stores.sqlite.vectors import store_vector
from agent_memory_server.stores.values import pack_terms


def restore(journalling: Journalling, number: int, change: Restore) -> tuple[Effect, str]:
    """The change, with its journal entry. Raises Conflict."""
    key = change.key
    scope_id = interned_scope(journalling.connected, key.tenant, key.namespace, key.user_id)
    stored = stored_memory(journalling.connected, tenant_id=journalling.tenant_id, scope_id=scope_id, memory_id=key.id)
    _check_newest(journalling, change, scope_id=scope_id)
    if change.memory is not None:
        return _brought_back(journalling, number, change, change.memory, stored)
    if stored is None:
        raise Conflict(f"The memory {key.id} is not there any more.")
    _check_nobody_behind(journalling, stored)
    remove_memory(journalling.connected, stored)
    journalling.change(
        number, scope_id=scope_id, memory_id=key.id, effect=Effect.DELETED, survivor=key.id, previous=stored
    )
    return Effect.DELETED, key.id


def _check_newest(journalling: Journalling, change: Restore, *, scope_id: int) -> None:
    newest = journalling.connected.one(
        "SELECT o.id, e.scrubbed FROM entries AS e JOIN operations AS o ON o.seq = e.operation "
        "WHERE e.scope_id = ? AND e.memory_id = ? AND e.effect NOT IN ('unchanged', 'absent', 'spared') "
        "AND e.operation < ? ORDER BY e.operation DESC, e.change DESC, e.part DESC LIMIT 1",
        (scope_id, change.key.id, journalling.sequence),
    )
    if newest is None or newest[0] != change.if_operation:
        raise Conflict(f"The memory {change.key.id} was changed meanwhile; look at it again.")
    if newest[1]:
        raise Conflict(f"The text of the memory {change.key.id} was deleted for good.")


def _brought_back(
    journalling: Journalling, number: int, change: Restore, memory: Memory, stored: Stored | None
) -> tuple[Effect, str]:
    connected, tenant_id = journalling.connected, journalling.tenant_id
    key = memory.key
    scope_id = interned_scope(connected, key.tenant, key.namespace, key.user_id)
    previous = stored
    if key != change.key:
        target = stored_memory(connected, tenant_id=tenant_id, scope_id=scope_id, memory_id=key.id)
        moving = Put(memory=memory, tokens=change.tokens, previous_key=change.key)
        previous, stored = moved(journalling, moving, change.key, target, scope_id=scope_id)
    if memory.superseded_by is not None:
        by = stored_memory(connected, tenant_id=tenant_id, scope_id=scope_id, memory_id=memory.superseded_by)
        if by is None:
            raise Conflict(f"The memory that took the place of {key.id} is not there any more.")
    again = _as_it_was(journalling, memory, stored)
    terms = pack_terms(connected.token_key, change.tokens)
    is_copy = change.is_copy and again.superseded_by is not None
    if stored is None:
        handle = insert_memory(
            connected,
            again,
            tenant_id=tenant_id,
            scope_id=scope_id,
            is_copy=is_copy,
            terms=terms,
            origin=_origin(journalling, scope_id=scope_id, memory_id=key.id),
            due=Stage.CHANGED,
        )
    else:
        handle = stored.handle
        update_memory(connected, stored, again, scope_id=scope_id, is_copy=is_copy, terms=terms)
    if change.embedded is not None and (stored is None or stored.memory.text != again.text):
        live = again.superseded_by is None
        store_vector(connected, change.embedded, handle=handle, tenant_id=tenant_id, scope_id=scope_id, live=live)
    if stored is None or stored.memory.text == again.text:
        forget_due(connected, handle)
    effect = Effect.CREATED if stored is None else Effect.UPDATED
    if again.superseded_by is not None:
        effect = Effect.SUPERSEDED
    survivor = again.superseded_by or key.id
    journalling.change(number, scope_id=scope_id, memory_id=key.id, effect=effect, survivor=survivor, previous=previous)
    return effect, survivor


def _origin(journalling: Journalling, *, scope_id: int, memory_id: str) -> str:
    """The kind of the operation that first wrote the memory."""
    return journalling.connected.value(
        "SELECT o.kind FROM entries AS e JOIN operations AS o ON o.seq = e.operation "
        "WHERE e.scope_id = ? AND e.memory_id = ? AND e.effect NOT IN ('unchanged', 'absent', 'spared') "
        "ORDER BY e.operation LIMIT 1",
        (scope_id, memory_id),
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


def _check_nobody_behind(journalling: Journalling, stored: Stored) -> None:
    """Those that stepped back behind a memory would be hidden for ever if it went."""
    behind = journalling.connected.value(
        "SELECT id FROM memories WHERE scope_id = ? AND superseded_by = ? AND id <> ? LIMIT 1",
        (stored.scope_id, stored.memory.id, stored.memory.id),
    )
    if behind is not None:
        raise Conflict(f"The memory {stored.memory.id} cannot go: {behind} has stepped back behind it since.")
