"""Moving a memory to another key of its tenant, with its copies, its history and the summaries that were made of it."""

from __future__ import annotations

from dataclasses import replace

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import Put
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.errors import Conflict, InvalidInput, StaleRevision
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.deleting import copies_of
from agent_memory_server.stores.sqlite.journalling import Journalling
from agent_memory_server.stores.sqlite.past import move_past
from agent_memory_server.stores.sqlite.rows import Stored, renew_handle, stored_memory, update_memory
from agent_memory_server.stores.sqlite.scoping import known_scope
from agent_memory_server.stores.sqlite.summary_rows import rekey_sources


def moved(
    journalling: Journalling, change: Put, previous: MemoryKey, at_target: Stored | None, *, scope_id: int
) -> tuple[Stored | None, Stored | None]:
    """Move the record under ``previous_key`` (with its history and its copies) to the new key, before the edit.

    Returns how it stood before and after the move; None twice when there was none.
    """
    connected, tenant_id = journalling.connected, journalling.tenant_id
    key = change.memory.key
    if previous.tenant != key.tenant:
        raise InvalidInput("A memory cannot move to another tenant.")
    if at_target is not None:
        raise Conflict("Another memory already has this id there.")
    previous_scope = known_scope(connected, previous.tenant, previous.namespace, previous.user_id)
    if previous_scope is None:
        return None, None
    source = stored_memory(connected, tenant_id=tenant_id, scope_id=previous_scope, memory_id=previous.id)
    if source is None:
        return None, None
    if change.if_operation is not None and source.memory.operation_id != change.if_operation:
        raise StaleRevision("The memory was changed meanwhile; read it again.")
    for copy in copies_of(connected, source):
        taken = stored_memory(connected, tenant_id=tenant_id, scope_id=scope_id, memory_id=copy.memory.id)
        if scope_id != previous_scope and taken is not None:
            raise Conflict("A duplicate of this memory has an id that another memory already has there.")
        superseded_by = key.id if copy.memory.superseded_by == previous.id else copy.memory.superseded_by
        _rekey(connected, copy, key.namespace, key.user_id, copy.memory.id, scope_id, superseded_by)
    return source, _rekey(connected, source, key.namespace, key.user_id, key.id, scope_id, source.memory.superseded_by)


def _rekey(
    connected: Connected,
    stored: Stored,
    namespace: str | None,
    user_id: str | None,
    memory_id: str,
    scope_id: int,
    superseded_by: str | None,
) -> Stored:
    """Put a record, its rows and its history under another key of the same tenant."""
    moving = stored if scope_id == stored.scope_id else renew_handle(connected, stored)
    scope = Scope(stored.memory.scope.tenant, namespace, user_id, stored.memory.scope.session_id)
    memory = replace(stored.memory, id=memory_id, scope=scope, superseded_by=superseded_by)
    update_memory(connected, moving, memory, scope_id=scope_id, is_copy=stored.is_copy, terms=stored.terms)
    connected.execute(
        "UPDATE entries SET scope_id = ?, memory_id = ?, "
        "scope_then = CASE WHEN before IS NULL THEN scope_then ELSE ifnull(scope_then, ?) END "
        "WHERE scope_id = ? AND memory_id = ?",
        (scope_id, memory_id, stored.scope_id, stored.scope_id, stored.memory.id),
    )
    move_past(
        connected,
        scope_id=stored.scope_id,
        memory_id=stored.memory.id,
        new_scope_id=scope_id,
        new_memory_id=memory_id,
    )
    rekey_sources(
        connected,
        scope_id=stored.scope_id,
        memory_id=stored.memory.id,
        new_scope_id=scope_id,
        new_memory_id=memory_id,
    )
    return Stored(moving.handle, moving.tenant_id, scope_id, moving.is_copy, moving.terms, memory)
