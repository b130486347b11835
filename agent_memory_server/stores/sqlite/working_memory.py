"""Working memory over SQLite: the port's methods, each one read or one write job."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

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
from agent_memory_server.stores.sqlite import session_background, session_writes
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import from_json
from agent_memory_server.stores.sqlite.outbox_rows import request_work
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.scoping import selected
from agent_memory_server.stores.sqlite.session_rows import (
    live_messages,
    live_rows,
    live_session,
    messages_where,
    position,
    session_of,
)
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import micros

_LOADED_AT_ONCE_MAX = 500
"""Messages that are read on the event loop; more are some milliseconds of work."""


class SqliteWorkingMemory:
    """``ports.working_memory.WorkingMemoryStore`` over one file."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    async def find(
        self, selector: ScopeSelector, /, *, session_id: str, now: datetime, limit: int = 2
    ) -> Sequence[Scope]:
        def work(connected: Connected) -> list[Scope]:
            selection = selected(connected, selector)
            if selection is None:
                return []
            where = selection.condition("x")
            rows = connected.rows(
                "SELECT s.namespace, s.user_id FROM sessions AS x JOIN scopes AS s ON s.id = x.scope_id "
                f"WHERE {where.sql} AND x.session_id = ? AND (x.expires_at IS NULL OR x.expires_at > ?) "
                "ORDER BY x.scope_id LIMIT ?",
                (*where.values, session_id, micros(now), limit),
            )
            return [Scope(selector.tenant, namespace, user_id, session_id) for namespace, user_id in rows]

        return await self._readers.run(work)

    async def load(self, scope: Scope, /, *, now: datetime, recent_messages: int | None = None) -> Session | None:
        def work(connected: Connected) -> Session | None:
            row = live_session(connected, scope, now=now)
            if row is None:
                return None
            if (recent_messages or row.live_count) > _LOADED_AT_ONCE_MAX:
                connected.leave_event_loop()
            return session_of(row, scope, live_messages(connected, row.id, recent=recent_messages))

        return await self._readers.run(work)

    async def load_rows(
        self, scope: Scope, /, *, now: datetime, recent_messages: int | None = None
    ) -> tuple[Session, Sequence[MessageRow]] | None:
        def work(connected: Connected) -> tuple[Session, Sequence[MessageRow]] | None:
            row = live_session(connected, scope, now=now)
            if row is None:
                return None
            if (recent_messages or row.live_count) > _LOADED_AT_ONCE_MAX:
                connected.leave_event_loop()
            return session_of(row, scope, ()), live_rows(connected, row.id, recent=recent_messages)

        return await self._readers.run(work)

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
        def work(connected: Connected) -> Session:
            session = session_writes.replace_session(
                connected, draft, at=at, epoch=epoch, if_match=if_match, if_none_match=if_none_match
            )
            request_work(connected, intents, at=at)
            return session

        return await self._writer.run(work)

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
        def work(connected: Connected) -> Appended:
            appended = session_writes.append_messages(
                connected, scope, messages, at=at, epoch=epoch, live_max=live_max, if_match=if_match
            )
            request_work(connected, intents, at=at)
            return appended

        return await self._writer.run(work)

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
        def work(connected: Connected) -> Session | None:
            session = session_writes.patch_session(connected, scope, patch, at=at, if_match=if_match)
            if session is not None:
                request_work(connected, intents, at=at)
            return session

        return await self._writer.run(work)

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

        def work(connected: Connected) -> MessagePage | None:
            row = live_session(connected, scope, now=now)
            if row is None:
                return None
            conditions, values = ["1"], ()
            if not include_archived:
                conditions.append("archived = 0")
            if after is not None:
                conditions.append("seq < ?" if descending else "seq > ?")
                values = (after,)
            found = messages_where(
                connected,
                row.id,
                " AND ".join(conditions),
                values,
                order="DESC" if descending else "ASC",
                limit=limit + 1,
            )
            shown = found[:limit]
            return MessagePage(
                messages=tuple(message for _, message in shown),
                total=row.live_count + (row.archived_count if include_archived else 0),
                next_cursor=str(shown[-1][0]) if len(found) > limit and shown else None,
                etag=row.etag,
            )

        return await self._readers.run(work)

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
        return await self._writer.run(
            lambda connected: session_writes.delete_session(
                connected, scope, cascade=cascade, operation_id=operation_id, actor=actor, at=at, if_match=if_match
            )
        )

    async def list(self, selector: ScopeSelector, /, *, now: datetime, limit: int, offset: int = 0) -> SessionListing:
        def work(connected: Connected) -> SessionListing:
            selection = selected(connected, selector)
            if selection is None:
                return SessionListing(session_ids=(), total=0)
            where = selection.condition("x")
            live = f"{where.sql} AND (x.expires_at IS NULL OR x.expires_at > ?)"
            values = (*where.values, micros(now))
            total = connected.value(f"SELECT count(*) FROM sessions AS x WHERE {live}", values)
            ids = connected.value(
                "SELECT json_group_array(session_id ORDER BY updated_at DESC, session_id, scope_id) FROM ("
                f"SELECT x.session_id, x.updated_at, x.scope_id FROM sessions AS x WHERE {live} "
                "ORDER BY x.updated_at DESC, x.session_id, x.scope_id LIMIT ? OFFSET ?)",
                (*values, limit, offset),
            )
            return SessionListing(session_ids=tuple(from_json(ids)), total=total)

        return await self._readers.run(work)

    async def unpromoted(self, guard: SessionGuard, /, *, now: datetime, limit: int) -> Sequence[Message]:
        return await self._readers.run(
            lambda connected: session_writes.unpromoted_messages(connected, guard, now=now, limit=limit)
        )

    async def mark_promoted(
        self, guard: SessionGuard, /, *, message_ids: Sequence[str], memory_ids: Sequence[str], at: datetime
    ) -> bool:
        return await self._writer.run(
            lambda connected: session_writes.mark_promoted(
                connected, guard, message_ids=message_ids, memory_ids=memory_ids, at=at
            )
        )

    async def unextracted(self, guard: SessionGuard, /, *, now: datetime, limit: int, context: int) -> Backlog:
        return await self._readers.run(
            lambda connected: session_background.unextracted_messages(
                connected, guard, now=now, limit=limit, context=context
            )
        )

    async def mark_extracted(self, guard: SessionGuard, /, *, message_ids: Sequence[str]) -> bool:
        return await self._writer.run(
            lambda connected: session_background.mark_extracted(connected, guard, message_ids=message_ids)
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
        return await self._writer.run(
            lambda connected: session_background.archive_messages(
                connected,
                guard,
                messages=messages,
                context=context,
                if_context=if_context,
                tokens=tokens,
                at=at,
            )
        )

    async def request_summary(self, scope: Scope, intent: Intent, /, *, at: datetime) -> bool:
        return await self._writer.run(
            lambda connected: session_background.request_summary(connected, scope, intent, at=at)
        )

    async def summarized(self, guard: SessionGuard, /) -> bool:
        return await self._writer.run(lambda connected: session_background.summarized(connected, guard))

    async def purge_expired(self, *, now: datetime, limit: int) -> int:
        return await self._writer.run(
            lambda connected: session_writes.purge_expired_sessions(connected, now=now, limit=limit)
        )
