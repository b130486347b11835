"""What background work reads and writes of a session: its own marks and summaries, under the guard of the session's life.

Each within one transaction of its caller. Marks change neither content nor ETag; a summary is a new content revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.sessions import Backlog, Message, SessionGuard, Summarization
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.intents import request_work
from agent_memory_server.stores.redis.session_messages import (
    kept_by_id,
    marked_messages,
    member_of,
    put_rows,
    read_messages,
    take_members,
)
from agent_memory_server.stores.redis.session_rows import (
    Head,
    SessionKeys,
    memories_from,
    memories_to,
    read_head,
    save_head,
)
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import micros


async def unpromoted_messages(link: Link, guard: SessionGuard, *, now: datetime, limit: int) -> tuple[Message, ...]:
    keys = SessionKeys(guard.scope)
    found = await read_messages(link, guard.scope, "ZRANGE", keys.unpromoted, 0, limit - 1)
    if found is None or found[0].epoch != guard.epoch or not found[0].is_live(now) or limit <= 0:
        return ()
    return tuple(kept.message for kept in found[2])


async def unextracted_messages(link: Link, guard: SessionGuard, *, now: datetime, limit: int, context: int) -> Backlog:
    keys = SessionKeys(guard.scope)
    found = await read_messages(link, guard.scope, "ZRANGE", keys.unextracted, 0, limit - 1)
    if found is None or found[0].epoch != guard.epoch or not found[0].is_live(now) or not found[2] or limit <= 0:
        return Backlog(messages=())
    messages = tuple(kept.message for kept in found[2])
    if context <= 0:
        return Backlog(messages=messages)
    before = await read_messages(
        link, guard.scope, "ZREVRANGEBYSCORE", keys.all, f"({found[2][0].seq}", "-inf", "LIMIT", 0, context
    )
    if before is None or before[0].epoch != guard.epoch:
        return Backlog(messages=())
    return Backlog(messages=messages, before=tuple(kept.message for kept in reversed(before[2])))


async def _guarded(transaction: Transaction, guard: SessionGuard) -> Head | None:
    head = await read_head(transaction, guard.scope)
    return head if head is not None and head.epoch == guard.epoch else None


async def mark_promoted(
    transaction: Transaction,
    guard: SessionGuard,
    *,
    message_ids: Sequence[str],
    memory_ids: Sequence[str],
    at: datetime,
) -> bool:
    head = await _guarded(transaction, guard)
    if head is None or not head.is_live(at):
        return False
    keys = SessionKeys(guard.scope)
    if message_ids:
        kept = await marked_messages(transaction, keys, message_ids, lambda message: replace(message, persisted_at=at))
        take_members(transaction, "ZREM", keys.unpromoted, [member_of(each.seq) for each in kept])
    if memory_ids:
        named = set(memory_ids)
        body = dict((await transaction.document(keys.body)) or {})
        body["memories"] = memories_to(
            replace(memory, persisted_at=at) if memory.id in named else memory for memory in memories_from(body)
        )
        transaction.put(keys.body, body)
    save_head(transaction, guard.scope, head, before=head)
    return True


async def mark_extracted(transaction: Transaction, guard: SessionGuard, *, message_ids: Sequence[str]) -> bool:
    head = await _guarded(transaction, guard)
    if head is None:
        return False
    keys = SessionKeys(guard.scope)
    kept = await marked_messages(transaction, keys, message_ids, lambda message: replace(message, extracted=True))
    take_members(transaction, "ZREM", keys.unextracted, [member_of(each.seq) for each in kept])
    save_head(transaction, guard.scope, head, before=head)
    return True


async def archive_messages(
    transaction: Transaction,
    guard: SessionGuard,
    *,
    messages: Sequence[Message],
    context: str,
    if_context: str | None,
    tokens: int,
    at: datetime,
) -> bool:
    head = await _guarded(transaction, guard)
    keys = SessionKeys(guard.scope)
    if head is None:
        return False
    body = dict((await transaction.document(keys.body)) or {})
    if body.get("context") != if_context:
        return False
    stored = await kept_by_id(transaction.link, keys, [message.id for message in messages])
    leaving = [
        kept
        for message in messages
        if (kept := stored.get(message.id)) is not None
        and not kept.archived
        and (kept.message.role, kept.message.content) == (message.role, message.content)
    ]
    if len(leaving) != len(messages):
        return False
    put_rows(transaction, keys, [replace(kept, archived=True) for kept in leaving])
    for key in (keys.live, keys.recent):
        take_members(transaction, "ZREM", key, [member_of(kept.seq) for kept in leaving])
    body["context"] = context
    transaction.put(keys.body, body)
    changed = replace(
        head,
        tokens=head.tokens + tokens,
        revision=head.revision + 1,
        updated_at=micros(at),
        live_count=head.live_count - len(leaving),
        archived_count=head.archived_count + len(leaving),
        live_tokens=head.live_tokens - sum(kept.message.token_count for kept in leaving),
    )
    save_head(transaction, guard.scope, changed, before=head)
    return True


async def request_summary(transaction: Transaction, scope: Scope, intent: Intent, *, at: datetime) -> bool:
    head = await read_head(transaction, scope)
    if head is None or not head.is_live(at):
        return False
    save_head(transaction, scope, replace(head, summarization=Summarization.PENDING.value), before=head)
    await request_work(transaction, (intent,), at=at)
    return True


async def summarized(transaction: Transaction, guard: SessionGuard) -> bool:
    head = await _guarded(transaction, guard)
    if head is None:
        return False
    save_head(transaction, guard.scope, replace(head, summarization=Summarization.NONE.value), before=head)
    return True
