"""Replacing, appending to, patching and deleting a session: each within one transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import OperationKind
from agent_memory_server.domain.records import MESSAGE_STRATEGY, Memory
from agent_memory_server.domain.sessions import (
    Appended,
    Message,
    Session,
    SessionDraft,
    SessionGuard,
    SessionPatch,
    Strategy,
    Summarization,
    merge_patch,
)
from agent_memory_server.errors import InvalidInput, MessageConflict
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.deleting import delete_stored
from agent_memory_server.stores.sqlite.encoding import from_json, mapping_to_json
from agent_memory_server.stores.sqlite.journalling import begin_operation
from agent_memory_server.stores.sqlite.rows import stored_by_handle
from agent_memory_server.stores.sqlite.scoping import interned_scope, interned_tenant, known_scope
from agent_memory_server.stores.sqlite.session_rows import (
    SessionRow,
    check_match,
    expiry,
    insert_messages,
    insert_session,
    live_messages,
    live_session,
    memories_from,
    memories_to,
    messages_where,
    remove_session,
    save_session,
    session_of,
    session_row,
    with_marks,
)
from agent_memory_server.stores.values import micros, to_json


def _live_or_cleared(connected: Connected, scope: Scope, *, at: datetime) -> SessionRow | None:
    """The live session; an expired one is removed first, so that nothing of it comes back."""
    row = session_row(connected, scope)
    if row is not None and not row.is_live(at):
        remove_session(connected, row, scope)
        return None
    return row


def _created(connected: Connected, scope: Scope, *, epoch: str, at: datetime) -> SessionRow:
    if scope.session_id is None:
        raise InvalidInput("A session has an id.")
    return insert_session(
        connected,
        tenant_id=interned_tenant(connected, scope.tenant),
        scope_id=interned_scope(connected, scope.tenant, scope.namespace, scope.user_id),
        session_id=scope.session_id,
        epoch=epoch,
        at=at,
    )


def replace_session(
    connected: Connected,
    draft: SessionDraft,
    *,
    at: datetime,
    epoch: str,
    if_match: Sequence[str] | None,
    if_none_match: bool,
) -> Session:
    row = _live_or_cleared(connected, draft.scope, at=at)
    check_match(row, if_match, if_none_match=if_none_match)
    is_new = row is None
    if row is None:
        row = _created(connected, draft.scope, epoch=epoch, at=at)
    messages, next_seq = _replaced_messages(connected, row, draft.messages)
    kept = {(memory.id, memory.text): memory for memory in memories_from(row.memories)}
    row = replace(
        row,
        revision=row.revision + 1,
        created_at=micros(draft.created_at)
        if draft.created_at is not None
        else micros(at)
        if is_new
        else row.created_at,
        updated_at=micros(at),
        last_accessed=micros(draft.last_accessed or at),
        expires_at=expiry(at, draft.ttl_seconds),
        ttl_seconds=draft.ttl_seconds,
        # Without one the archived messages would lose their summary.
        context=row.context if draft.context is None and row.archived_count else draft.context,
        tokens=draft.tokens,
        data=mapping_to_json(draft.data),
        strategy=draft.strategy.name,
        strategy_config=_config(draft.strategy),
        memories=memories_to(_with_persisted(memory, kept) for memory in draft.memories),
        live_count=len(messages),
        next_seq=next_seq,
        live_tokens=sum(message.token_count for message in messages),
    )
    save_session(connected, row)
    return session_of(row, draft.scope, messages)


def _config(strategy: Strategy) -> str | None:
    return mapping_to_json(strategy.config) if strategy.config else None


def _with_persisted(memory: Memory, kept: dict[tuple[str, str], Memory]) -> Memory:
    before = kept.get((memory.id, memory.text))
    if before is None or before.persisted_at is None:
        return memory
    return replace(memory, persisted_at=before.persisted_at)


def _replaced_messages(
    connected: Connected, row: SessionRow, drafted: Sequence[Message]
) -> tuple[tuple[Message, ...], int]:
    """Make the live messages those of the draft; what stays at the front is not written again.

    Returns them with their marks, and the next sequence.
    """
    before = live_messages(connected, row.id) if row.live_count else ()
    if row.archived_count:
        archived = {
            found
            for (found,) in connected.rows("SELECT id FROM messages WHERE session = ? AND archived = 1", (row.id,))
        }
        drafted = [message for message in drafted if message.id not in archived]
    marked = {(message.id, message.role, message.content): message for message in before}
    after: list[Message] = []
    for message in drafted:
        known = marked.get((message.id, message.role, message.content))
        after.append(message if known is None else with_marks(message, known))
    same = 0
    while same < len(before) and same < len(after) and before[same] == after[same]:
        same += 1
    next_seq = row.next_seq
    if same < len(before):
        connected.execute(
            "DELETE FROM messages WHERE session = ?1 AND archived = 0 AND seq >= "
            "(SELECT seq FROM messages WHERE session = ?1 AND id = ?2)",
            (row.id, before[same].id),
        )
    if same < len(after):
        insert_messages(connected, row.id, after[same:], first_seq=next_seq)
        next_seq += len(after) - same
    return tuple(after), next_seq


def append_messages(
    connected: Connected,
    scope: Scope,
    messages: Sequence[Message],
    *,
    at: datetime,
    epoch: str,
    live_max: int,
    if_match: Sequence[str] | None,
) -> Appended:
    row = _live_or_cleared(connected, scope, at=at)
    check_match(row, if_match)
    if row is None:
        row = _created(connected, scope, epoch=epoch, at=at)
    known = _known_messages(connected, row, messages)
    new: list[Message] = []
    for message in messages:
        before = known.get(message.id)
        if before is None:
            known[message.id] = (message.role, message.content)
            new.append(message)
        elif before != (message.role, message.content):
            raise MessageConflict("A message with this id is stored already, with another role or content.")
    if row.live_count + len(new) > live_max:
        raise InvalidInput(
            f"A session holds at most {live_max} live messages; this one has {row.live_count}.",
            field=("body", "messages"),
        )
    insert_messages(connected, row.id, new, first_seq=row.next_seq)
    is_changed = bool(new) or row.revision == 0
    row = replace(
        row,
        revision=row.revision + int(is_changed),
        updated_at=micros(at) if is_changed else row.updated_at,
        expires_at=expiry(at, row.ttl_seconds),
        live_count=row.live_count + len(new),
        next_seq=row.next_seq + len(new),
        live_tokens=row.live_tokens + sum(message.token_count for message in new),
    )
    connected.execute(
        "UPDATE sessions SET revision = ?, updated_at = ?, expires_at = ?, live_count = ?, next_seq = ?, "
        "live_tokens = ? WHERE id = ?",
        (row.revision, row.updated_at, row.expires_at, row.live_count, row.next_seq, row.live_tokens, row.id),
    )
    return Appended(
        appended=len(new),
        duplicates=len(messages) - len(new),
        total=row.live_count + row.archived_count,
        etag=row.etag,
        live_tokens=row.live_tokens,
        summarization=Summarization(row.summarization),
    )


def _known_messages(connected: Connected, row: SessionRow, messages: Sequence[Message]) -> dict[str, tuple[str, str]]:
    if row.next_seq == 1:
        return {}
    known: dict[str, tuple[str, str]] = {}
    for message in messages:
        found = connected.one("SELECT role, content FROM messages WHERE session = ? AND id = ?", (row.id, message.id))
        if found is not None:
            known[message.id] = (found[0], found[1])
    return known


def patch_session(
    connected: Connected, scope: Scope, patch: SessionPatch, *, at: datetime, if_match: Sequence[str] | None
) -> Session | None:
    row = _live_or_cleared(connected, scope, at=at)
    if row is None:
        return None
    check_match(row, if_match)
    changes: dict[str, object] = {}
    if "data" in patch.fields:
        if patch.data is None:
            changes["data"] = None
        else:
            changes["data"] = to_json(merge_patch(from_json(row.data or "{}"), patch.data))
    if "context" in patch.fields:
        changes["context"] = patch.context
    if "ttl_seconds" in patch.fields:
        changes["ttl_seconds"] = patch.ttl_seconds
    if "strategy" in patch.fields:
        strategy = patch.strategy or Strategy()
        changes["strategy"] = strategy.name
        changes["strategy_config"] = _config(strategy)
    ttl_seconds = patch.ttl_seconds if "ttl_seconds" in patch.fields else row.ttl_seconds
    row = replace(
        row,
        **changes,
        revision=row.revision + 1,
        updated_at=micros(at),
        expires_at=expiry(at, ttl_seconds),
    )
    save_session(connected, row)
    return session_of(row, scope, live_messages(connected, row.id))


def delete_session(
    connected: Connected,
    scope: Scope,
    *,
    cascade: bool,
    operation_id: str,
    actor: str,
    at: datetime,
    if_match: Sequence[str] | None,
) -> bool:
    row = _live_or_cleared(connected, scope, at=at)
    if row is None:
        return False
    check_match(row, if_match)
    remove_session(connected, row, scope)
    tenant_id = interned_tenant(connected, scope.tenant)
    scope_id = interned_scope(connected, scope.tenant, scope.namespace, scope.user_id)
    # What was merged of them goes with its sources, and leaves those of other sessions.
    extracted = (
        "OR ((origin IN ('extract', 'promote') OR json_extract(extra, '$.extracted_from') IS NOT NULL) "
        "AND json_extract(extra, '$.derived_from') IS NULL)"
    )
    handles = connected.rows(
        "SELECT handle FROM memories WHERE tenant_id = ? AND session_id = ? AND scope_id = ? "
        f"AND (strategy = ? {extracted if cascade else ''}) ORDER BY handle",
        (tenant_id, scope.session_id, scope_id, MESSAGE_STRATEGY),
    )
    known = connected.value("SELECT 1 FROM operations WHERE tenant_id = ? AND id = ?", (tenant_id, operation_id))
    if not handles or known is not None:
        return True
    journalling = begin_operation(
        connected,
        tenant_id=tenant_id,
        tenant=scope.tenant,
        operation_id=operation_id,
        kind=OperationKind.DELETE,
        actor=actor,
        at=at,
        reason="session deleted",
    )
    for number, (handle,) in enumerate(handles):
        stored = stored_by_handle(connected, handle)
        if stored is not None:  # a copy may have gone with its survivor already
            delete_stored(journalling, number, 0, stored, scrub=True)
    return True


def mark_promoted(
    connected: Connected,
    guard: SessionGuard,
    *,
    message_ids: Sequence[str],
    memory_ids: Sequence[str],
    at: datetime,
) -> bool:
    row = live_session(connected, guard.scope, now=at)
    if row is None or row.epoch != guard.epoch:
        return False
    if message_ids:
        connected.many(
            "UPDATE messages SET persisted_at = ? WHERE session = ? AND id = ?",
            [(micros(at), row.id, message_id) for message_id in message_ids],
        )
        first_waiting = connected.value(
            "SELECT min(seq) FROM messages WHERE session = ? AND seq > ? AND persisted_at IS NULL",
            (row.id, row.promoted_through),
        )
        through = row.next_seq - 1 if first_waiting is None else first_waiting - 1
        connected.execute("UPDATE sessions SET promoted_through = ? WHERE id = ?", (through, row.id))
    if memory_ids:
        named = set(memory_ids)
        marked = [
            replace(memory, persisted_at=at) if memory.id in named else memory for memory in memories_from(row.memories)
        ]
        connected.execute("UPDATE sessions SET memories = ? WHERE id = ?", (memories_to(marked), row.id))
    return True


def unpromoted_messages(connected: Connected, guard: SessionGuard, *, now: datetime, limit: int) -> tuple[Message, ...]:
    row = live_session(connected, guard.scope, now=now)
    if row is None or row.epoch != guard.epoch:
        return ()
    found = messages_where(
        connected, row.id, "seq > ? AND persisted_at IS NULL", (row.promoted_through,), order="ASC", limit=limit
    )
    return tuple(message for _, message in found)


def purge_expired_sessions(connected: Connected, *, now: datetime, limit: int) -> int:
    rows = connected.rows(
        "SELECT t.name, s.namespace, s.user_id, x.session_id FROM sessions AS x JOIN scopes AS s ON s.id = x.scope_id "
        "JOIN tenants AS t ON t.id = x.tenant_id WHERE x.expires_at <= ? ORDER BY x.expires_at LIMIT ?",
        (micros(now), limit),
    )
    for tenant, namespace, user_id, session_id in rows:
        scope = Scope(tenant, namespace, user_id, session_id)
        known_scope(connected, tenant, namespace, user_id)
        row = session_row(connected, scope)
        if row is not None:
            remove_session(connected, row, scope)
    return len(rows)
