"""Working memory over Redis: the port's methods, each one read or one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.sessions import (
    Appended,
    Backlog,
    Message,
    MessagePage,
    Session,
    SessionDraft,
    SessionGuard,
    SessionListing,
    SessionPatch,
)
from agent_memory_server.ports.working_memory import MessageRow
from agent_memory_server.stores.redis import naming, session_background, session_writes
from agent_memory_server.stores.redis.connections import Argument, Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.intents import request_work, row_keys
from agent_memory_server.stores.redis.scopes import scopes_key
from agent_memory_server.stores.redis.session_messages import (
    read_messages,
    read_rows,
)
from agent_memory_server.stores.redis.session_rows import (
    SessionKeys,
    expiring_key,
    head_of,
    listing_key,
    position,
    session_of,
)
from agent_memory_server.stores.redis.transactions import Transaction, transact
from agent_memory_server.stores.values import micros

Result = TypeVar("Result")


class RedisWorkingMemory:
    """``ports.working_memory.WorkingMemoryStore`` over one Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def _changed(self, scope: Scope, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        return await transact(self._link, work, alone=SessionKeys(scope).head, looks_later=True)

    async def find(
        self, selector: ScopeSelector, /, *, session_id: str, now: datetime, limit: int = 2
    ) -> Sequence[Scope]:
        keys = SessionKeys(Scope(selector.tenant, None, None, session_id))
        owners = sorted(await self._link.read("SMEMBERS", keys.named))
        if not owners:
            return []
        named = await self._link.read("HMGET", scopes_key(selector.tenant), *owners)
        parted = [from_json(parts) for parts in named if parts is not None]
        scopes = [Scope(selector.tenant, namespace, user_id, session_id) for namespace, user_id in parted]
        admitted = [scope for scope in scopes if selector.admits(scope)]
        if not admitted:
            return []
        heads = await self._link.read("MGET", *(SessionKeys(scope).head for scope in admitted))
        return [
            scope
            for scope, held in zip(admitted, heads, strict=True)
            if held is not None and (head := head_of(from_json(held))) is not None and head.is_live(now)
        ][:limit]

    async def load(self, scope: Scope, /, *, now: datetime, recent_messages: int | None = None) -> Session | None:
        found = await read_messages(self._link, scope, *_live(scope, recent_messages))
        if found is None or not found[0].is_live(now):
            return None
        head, body, kept = found
        if recent_messages is not None:
            kept.reverse()
        return session_of(head, body, scope, tuple(each.message for each in kept))

    async def load_rows(
        self, scope: Scope, /, *, now: datetime, recent_messages: int | None = None
    ) -> tuple[Session, Sequence[MessageRow]] | None:
        found = await read_rows(self._link, scope, *_live(scope, recent_messages))
        if found is None or not found[0].is_live(now):
            return None
        head, body, rows = found
        if recent_messages is not None:
            rows.reverse()
        return session_of(head, body, scope, ()), rows

    async def replace(
        self,
        draft: SessionDraft,
        /,
        *,
        at: datetime,
        epoch: str,
        if_match: Sequence[str] | None = None,
        if_none_match: bool = False,
        intents: Sequence[Intent] = (),
    ) -> Session:
        async def work(transaction: Transaction) -> Session:
            keys = SessionKeys(draft.scope)
            await transaction.documents((keys.head, keys.body, *row_keys(intents)))
            session = await session_writes.replace_session(
                transaction, draft, at=at, epoch=epoch, if_match=if_match, if_none_match=if_none_match
            )
            await request_work(transaction, intents, at=at)
            return session

        return await self._changed(draft.scope, work)

    async def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        /,
        *,
        at: datetime,
        epoch: str,
        live_max: int,
        if_match: Sequence[str] | None = None,
        intents: Sequence[Intent] = (),
    ) -> Appended:
        async def work(transaction: Transaction) -> Appended:
            await transaction.documents((SessionKeys(scope).head, *row_keys(intents)))
            appended = await session_writes.append_messages(
                transaction, scope, messages, at=at, epoch=epoch, live_max=live_max, if_match=if_match
            )
            await request_work(transaction, intents, at=at)
            return appended

        return await self._changed(scope, work)

    async def patch(
        self,
        scope: Scope,
        patch: SessionPatch,
        /,
        *,
        at: datetime,
        if_match: Sequence[str] | None = None,
        intents: Sequence[Intent] = (),
    ) -> Session | None:
        async def work(transaction: Transaction) -> Session | None:
            session = await session_writes.patch_session(transaction, scope, patch, at=at, if_match=if_match)
            if session is not None:
                await request_work(transaction, intents, at=at)
            return session

        return await self._changed(scope, work)

    async def page(
        self,
        scope: Scope,
        /,
        *,
        now: datetime,
        limit: int,
        cursor: str | None = None,
        descending: bool = False,
        include_archived: bool = False,
    ) -> MessagePage | None:
        after = None if cursor is None else position(cursor)
        keys = SessionKeys(scope)
        key = keys.all if include_archived else keys.live
        bound = None if after is None else f"({after}"
        command: tuple[Argument, ...] = (
            ("ZREVRANGEBYSCORE", key, bound or "+inf", "-inf")
            if descending
            else ("ZRANGEBYSCORE", key, bound or "-inf", "+inf")
        )
        found = await read_messages(self._link, scope, *command, "LIMIT", 0, limit + 1)
        if found is None or not found[0].is_live(now):
            return None
        head, _, kept = found
        shown = kept[:limit]
        return MessagePage(
            messages=tuple(each.message for each in shown),
            total=head.live_count + (head.archived_count if include_archived else 0),
            next_cursor=str(shown[-1].seq) if len(kept) > limit and shown else None,
            etag=head.etag,
        )

    async def delete(
        self,
        scope: Scope,
        /,
        *,
        cascade: bool = False,
        operation_id: str,
        actor: str,
        at: datetime,
        if_match: Sequence[str] | None = None,
    ) -> bool:
        return await self._changed(
            scope,
            lambda transaction: session_writes.delete_session(
                transaction, scope, cascade=cascade, operation_id=operation_id, actor=actor, at=at, if_match=if_match
            ),
        )

    async def list(self, selector: ScopeSelector, /, *, now: datetime, limit: int, offset: int = 0) -> SessionListing:
        tag = naming.tag_of(selector)
        listed, expiring = listing_key(selector.tenant, tag), expiring_key(selector.tenant, tag)
        expired = set(await self._link.read("ZRANGEBYSCORE", expiring, "-inf", micros(now)))
        count, members = await self._link.reads(
            ("ZCARD", listed),
            ("ZRANGE", listed, 0, offset + limit + len(expired) - 1) if limit > 0 else ("ZRANGE", listed, 1, 0),
        )
        live = [member for member in members if member not in expired]
        return SessionListing(
            session_ids=tuple(naming.text_of_member(member) for member in live[offset : offset + limit]),
            total=max(0, count - len(expired)),
        )

    async def unpromoted(self, guard: SessionGuard, /, *, now: datetime, limit: int) -> Sequence[Message]:
        return await session_background.unpromoted_messages(self._link, guard, now=now, limit=limit)

    async def mark_promoted(
        self, guard: SessionGuard, /, *, message_ids: Sequence[str], memory_ids: Sequence[str], at: datetime
    ) -> bool:
        return await self._changed(
            guard.scope,
            lambda transaction: session_background.mark_promoted(
                transaction, guard, message_ids=message_ids, memory_ids=memory_ids, at=at
            ),
        )

    async def unextracted(self, guard: SessionGuard, /, *, now: datetime, limit: int, context: int) -> Backlog:
        return await session_background.unextracted_messages(self._link, guard, now=now, limit=limit, context=context)

    async def mark_extracted(self, guard: SessionGuard, /, *, message_ids: Sequence[str]) -> bool:
        return await self._changed(
            guard.scope,
            lambda transaction: session_background.mark_extracted(transaction, guard, message_ids=message_ids),
        )

    async def archive(
        self,
        guard: SessionGuard,
        /,
        *,
        messages: Sequence[Message],
        context: str,
        if_context: str | None,
        tokens: int,
        at: datetime,
    ) -> bool:
        return await self._changed(
            guard.scope,
            lambda transaction: session_background.archive_messages(
                transaction,
                guard,
                messages=messages,
                context=context,
                if_context=if_context,
                tokens=tokens,
                at=at,
            ),
        )

    async def request_summary(self, scope: Scope, intent: Intent, /, *, at: datetime) -> bool:
        return await self._changed(
            scope, lambda transaction: session_background.request_summary(transaction, scope, intent, at=at)
        )

    async def summarized(self, guard: SessionGuard, /) -> bool:
        return await self._changed(guard.scope, lambda transaction: session_background.summarized(transaction, guard))

    async def purge_expired(self, *, now: datetime, limit: int) -> int:
        found = await self._link.read("ZRANGEBYSCORE", naming.EXPIRING_SESSIONS, "-inf", micros(now), "LIMIT", 0, limit)
        purged = 0
        for named in found:
            scope = Scope(*from_json(named))
            purged += await self._changed(
                scope,
                lambda transaction, scope=scope: session_writes.purge_expired_session(transaction, scope, now=now),
            )
        return purged


def _live(scope: Scope, recent_messages: int | None) -> tuple[Argument, ...]:
    """The command that names a session's live messages in order, or the newest of them, the latest first."""
    keys = SessionKeys(scope)
    if recent_messages is None:
        return ("ZRANGE", keys.live, 0, -1)
    last = max(0, recent_messages) - 1
    return ("ZREVRANGE", keys.recent, 0, last) if last >= 0 else ("ZRANGE", keys.recent, 1, 0)
