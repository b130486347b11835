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
    SessionPatch,
    Strategy,
    Summarization,
    merge_patch,
)
from agent_memory_server.errors import InvalidInput, MessageConflict
from agent_memory_server.stores.redis.deleting import delete_stored
from agent_memory_server.stores.redis.journalling import begin_operation, operation_key
from agent_memory_server.stores.redis.memory_keys import (
    session_key,
)
from agent_memory_server.stores.redis.rows import Stored, stored_memories
from agent_memory_server.stores.redis.session_messages import (
    insert_messages,
    kept_by_id,
    known_messages,
    live_messages,
    remember_messages,
    remove_messages,
    with_marks,
)
from agent_memory_server.stores.redis.session_rows import (
    Body,
    Head,
    SessionKeys,
    check_match,
    expiry,
    memories_from,
    memories_to,
    new_head,
    read_head,
    remove_session,
    save_head,
    session_of,
)
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import micros


async def _live_or_cleared(transaction: Transaction, scope: Scope, *, at: datetime) -> Head | None:
    """The live session; an expired one is removed first, so that nothing of it comes back."""
    head = await read_head(transaction, scope)
    if head is not None and not head.is_live(at):
        await remove_session(transaction, scope)
        return None
    return head


async def replace_session(
    transaction: Transaction,
    draft: SessionDraft,
    *,
    at: datetime,
    epoch: str,
    if_match: Sequence[str] | None,
    if_none_match: bool,
) -> Session:
    scope, keys = draft.scope, SessionKeys(draft.scope)
    before = await _live_or_cleared(transaction, scope, at=at)
    check_match(before, if_match, if_none_match=if_none_match)
    head = new_head(epoch=epoch, at=at) if before is None else before
    body: Body = {} if before is None else (await transaction.document(keys.body)) or {}
    messages, next_seq = await _replaced_messages(transaction, keys, head, draft.messages)
    kept = {(memory.id, memory.text): memory for memory in memories_from(body)}
    created_at = head.created_at if draft.created_at is None else micros(draft.created_at)
    head = replace(
        head,
        revision=head.revision + 1,
        created_at=created_at,
        updated_at=micros(at),
        last_accessed=micros(draft.last_accessed or at),
        expires_at=expiry(at, draft.ttl_seconds),
        ttl_seconds=draft.ttl_seconds,
        tokens=draft.tokens,
        strategy=draft.strategy.name,
        live_count=len(messages),
        next_seq=next_seq,
        live_tokens=sum(message.token_count for message in messages),
    )
    body = {
        # While messages are archived the context is their summary, and a draft without one keeps it.
        "context": body.get("context") if draft.context is None and head.archived_count else draft.context,
        "data": None if draft.data is None else dict(draft.data),
        "strategy_config": dict(draft.strategy.config) or None,
        "memories": memories_to(_with_persisted(memory, kept) for memory in draft.memories),
    }
    transaction.put(keys.body, body)
    save_head(transaction, scope, head, before=before)
    return session_of(head, body, scope, messages)


def _with_persisted(memory: Memory, kept: dict[tuple[str, str], Memory]) -> Memory:
    before = kept.get((memory.id, memory.text))
    if before is None or before.persisted_at is None:
        return memory
    return replace(memory, persisted_at=before.persisted_at)


async def _replaced_messages(
    transaction: Transaction, keys: SessionKeys, head: Head, drafted: Sequence[Message]
) -> tuple[tuple[Message, ...], int]:
    """Make the live messages those of the draft; what stays at the front is not written again.

    Returns them with their marks, and the next sequence.
    """
    before = await live_messages(transaction, keys, head)
    if head.archived_count:
        known = await kept_by_id(transaction.link, keys, [message.id for message in drafted])
        drafted = [message for message in drafted if message.id not in known or not known[message.id].archived]
    marked = {(kept.message.id, kept.message.role, kept.message.content): kept.message for kept in before}
    after: list[Message] = []
    for message in drafted:
        stored = marked.get((message.id, message.role, message.content))
        after.append(message if stored is None else with_marks(message, stored))
    same = 0
    while same < len(before) and same < len(after) and before[same].message == after[same]:
        same += 1
    remove_messages(transaction, keys, before[same:])
    new = insert_messages(transaction, keys, after[same:], first_seq=head.next_seq)
    remember_messages(transaction, keys, [*before[:same], *new])
    return tuple(after), head.next_seq + len(after) - same


async def append_messages(
    transaction: Transaction,
    scope: Scope,
    messages: Sequence[Message],
    *,
    at: datetime,
    epoch: str,
    live_max: int,
    if_match: Sequence[str] | None,
) -> Appended:
    keys = SessionKeys(scope)
    before = await _live_or_cleared(transaction, scope, at=at)
    check_match(before, if_match)
    head = new_head(epoch=epoch, at=at) if before is None else before
    new = await _new_messages(transaction, keys, head, messages)
    if head.live_count + len(new) > live_max:
        raise InvalidInput(
            f"A session holds at most {live_max} live messages; this one has {head.live_count}.",
            field=("body", "messages"),
        )
    known = known_messages(transaction, keys) if head.live_count else ()
    inserted = insert_messages(transaction, keys, new, first_seq=head.next_seq)
    if known is not None:
        remember_messages(transaction, keys, [*known, *inserted])
    is_changed = bool(new) or head.revision == 0
    head = replace(
        head,
        revision=head.revision + int(is_changed),
        updated_at=micros(at) if is_changed else head.updated_at,
        expires_at=expiry(at, head.ttl_seconds),
        live_count=head.live_count + len(new),
        next_seq=head.next_seq + len(new),
        live_tokens=head.live_tokens + sum(message.token_count for message in new),
    )
    save_head(transaction, scope, head, before=before)
    return Appended(
        appended=len(new),
        duplicates=len(messages) - len(new),
        total=head.live_count + head.archived_count,
        etag=head.etag,
        live_tokens=head.live_tokens,
        summarization=Summarization(head.summarization),
    )


async def _new_messages(
    transaction: Transaction, keys: SessionKeys, head: Head, messages: Sequence[Message]
) -> list[Message]:
    """Those that are not stored yet. Raises MessageConflict for a stored id with other content."""
    known: dict[str, tuple[str, str]] = {}
    ids = [message.id for message in messages]
    if head.next_seq > 1 and not transaction.expects_no_fields(keys.ids, ids):
        stored = await kept_by_id(transaction.link, keys, ids)
        known = {found: (kept.message.role, kept.message.content) for found, kept in stored.items()}
    new: list[Message] = []
    for message in messages:
        before = known.get(message.id)
        if before is None:
            known[message.id] = (message.role, message.content)
            new.append(message)
        elif before != (message.role, message.content):
            raise MessageConflict("A message with this id is stored already, with another role or content.")
    return new


async def patch_session(
    transaction: Transaction, scope: Scope, patch: SessionPatch, *, at: datetime, if_match: Sequence[str] | None
) -> Session | None:
    keys = SessionKeys(scope)
    before = await _live_or_cleared(transaction, scope, at=at)
    if before is None:
        return None
    check_match(before, if_match)
    body: Body = dict((await transaction.document(keys.body)) or {})
    if "data" in patch.fields:
        body["data"] = None if patch.data is None else merge_patch(body.get("data") or {}, patch.data)
    if "context" in patch.fields:
        body["context"] = patch.context
    head = before
    if "strategy" in patch.fields:
        strategy = patch.strategy or Strategy()
        head = replace(head, strategy=strategy.name)
        body["strategy_config"] = dict(strategy.config) or None
    ttl_seconds = patch.ttl_seconds if "ttl_seconds" in patch.fields else head.ttl_seconds
    head = replace(
        head,
        revision=head.revision + 1,
        updated_at=micros(at),
        ttl_seconds=ttl_seconds,
        expires_at=expiry(at, ttl_seconds),
    )
    live = await live_messages(transaction, keys, before)
    remember_messages(transaction, keys, live)
    transaction.put(keys.body, body)
    save_head(transaction, scope, head, before=before)
    return session_of(head, body, scope, tuple(kept.message for kept in live))


async def delete_session(
    transaction: Transaction,
    scope: Scope,
    *,
    cascade: bool,
    operation_id: str,
    actor: str,
    at: datetime,
    if_match: Sequence[str] | None,
) -> bool:
    transaction.releases = True
    before = await _live_or_cleared(transaction, scope, at=at)
    if before is None:
        return False
    check_match(before, if_match)
    await remove_session(transaction, scope)
    handles = sorted(await transaction.members(session_key(scope)))
    going = [
        stored
        for stored in await stored_memories(transaction, handles)
        if stored is not None
        and (stored.memory.extraction_strategy == MESSAGE_STRATEGY or (cascade and _is_extracted(stored)))
    ]
    known = await transaction.document(operation_key(scope.tenant, operation_id))
    if not going or known is not None:
        return True
    journalling = await begin_operation(
        transaction,
        tenant=scope.tenant,
        operation_id=operation_id,
        kind=OperationKind.DELETE,
        actor=actor,
        at=at,
        reason="session deleted",
    )
    for number, each in enumerate(going):
        # A copy may have gone with its survivor already.
        (stored,) = await stored_memories(transaction, (each.handle,))
        if stored is not None:
            await delete_stored(journalling, number, 0, stored, scrub=True)
    journalling.finish()
    return True


_EXTRACTED = frozenset({OperationKind.EXTRACT.value, OperationKind.PROMOTE.value})


def _is_extracted(stored: Stored) -> bool:
    """What was merged of such memories goes with its sources, and leaves those of other sessions."""
    if stored.memory.derived_from:
        return False
    return stored.origin in _EXTRACTED or stored.memory.extracted_from is not None


async def purge_expired_session(transaction: Transaction, scope: Scope, *, now: datetime) -> bool:
    """Remove the session if it has expired; False when it lives (again) or is gone."""
    transaction.releases = True
    head = await read_head(transaction, scope)
    if head is None or head.is_live(now):
        return False
    await remove_session(transaction, scope)
    return True
