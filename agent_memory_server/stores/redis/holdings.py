"""Everything that a Redis holds of ours, in portions: ``ports.transfer.Holdings`` over Redis.

Walks go over the key space or over the sets that list everything, so they need no search index, and they see whatever is there
from their beginning to their end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import numpy as np

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Embedded
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.domain.summary_views import Group, SummaryView, group_key
from agent_memory_server.domain.transfer import (
    HistoryRecord,
    Key,
    Kind,
    MemoryRecord,
    SessionMessage,
    SessionRecord,
    TaskRecord,
    WorkRecord,
)
from agent_memory_server.ports.transfer import Portion
from agent_memory_server.stores.redis import held_sessions, held_work, listing, naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.index import Index
from agent_memory_server.stores.redis.past import put_past
from agent_memory_server.stores.redis.rows import (
    FIELDS,
    TEXT_KIND,
    Stored,
    model_token,
    space_token,
    stored_of,
    tokens_field,
)
from agent_memory_server.stores.redis.session_rows import (
    SessionKeys,
    listing_key,
)
from agent_memory_server.stores.redis.summary_views import partition_key, partitions_key, views_of
from agent_memory_server.stores.redis.task_rows import expiring_key
from agent_memory_server.stores.redis.transactions import transact
from agent_memory_server.stores.values import micros

_NEVER_EXPIRED = datetime(1, 1, 1, tzinfo=UTC)


class RedisHoldings:
    def __init__(self, link: Link, index: Index) -> None:
        self._link = link
        self._index = index

    async def count(self, kind: Kind, /, *, now: datetime) -> int:
        link, tenants = self._link, await held_sessions.tenants(self._link)
        if kind is Kind.MEMORIES:
            return await self._count_memories()
        if kind is Kind.WORK:
            return sum(await link.reads(("ZCARD", naming.WAITING), ("ZCARD", naming.DEAD)))
        if not tenants:
            return 0
        if kind is Kind.SESSIONS:
            expired = await link.read("ZCOUNT", naming.EXPIRING_SESSIONS, "-inf", micros(now))
            return sum(await link.reads(*(("ZCARD", listing_key(tenant, "t")) for tenant in tenants))) - int(expired)
        if kind is Kind.TASKS:
            alive = f"({micros(now)}"
            return sum(await link.reads(*(("ZCOUNT", expiring_key(tenant), alive, "+inf") for tenant in tenants)))
        views = [view for tenant in tenants for view in await views_of(link, tenant)]
        if kind is Kind.SUMMARY_VIEWS:
            return len(views)
        return sum(await link.reads(*(("ZCARD", partitions_key(view)) for view in views))) if views else 0

    async def _count_memories(self) -> int:
        found, cursor = 0, "0"
        seen: set[bytes] = set()
        while True:
            keys, cursor = await self._scanned(cursor, 5_000)
            fresh = [key for key in keys if key not in seen]
            # A walk over a table that is growing or shrinking can see a key twice, always soon after another.
            seen = set(keys) if len(seen) > 50_000 else seen | set(keys)
            found += len(fresh)
            if cursor == "0":
                return found

    async def _scanned(self, cursor: str, limit: int) -> tuple[list[bytes], str]:
        following, keys = await self._link.read("SCAN", cursor, "MATCH", naming.MEMORY_PREFIX + "*", "COUNT", limit)
        return list(dict.fromkeys(keys)), _text(following)

    # -- memories

    async def walk_memories(self, *, after: str | None, limit: int) -> Portion[MemoryRecord]:
        keys, following = await self._scanned(after or "0", limit)
        found = await self._records([naming.handle_of_key(key) for key in keys])
        return Portion([record for record in found if record is not None], None if following == "0" else following)

    async def memories(self, keys: Sequence[MemoryKey], /, *, vectors: bool = True) -> Sequence[MemoryRecord | None]:
        return await self._records([naming.handle_of(*key) for key in keys], with_vectors=vectors)

    async def listed_memories(
        self, selector: ScopeSelector, /, *, limit: int, vectors: bool
    ) -> AsyncIterator[Sequence[MemoryRecord]]:
        criteria = MemoryFilter(selector=selector, include_superseded=True)
        async for handles in listing.handles(self._index, criteria, now=_NEVER_EXPIRED):
            for first in range(0, len(handles), limit):
                found = await self._records(handles[first : first + limit], with_vectors=vectors)
                yield [record for record in found if record is not None]

    async def _records(self, handles: Sequence[str], *, with_vectors: bool = True) -> list[MemoryRecord | None]:
        if not handles:
            return []
        spaces = await self._index.spaces() if with_vectors else {}
        wanted = (*FIELDS, *spaces, *{tokens_field(model) for model, _ in spaces.values()})
        answers = await self._link.reads(*(("HMGET", naming.memory_key(handle), *wanted) for handle in handles))
        found: list[MemoryRecord | None] = []
        for handle, values in zip(handles, answers, strict=True):
            fields = {name: value for name, value in zip(wanted, values, strict=True) if value is not None}
            gone = "doc" not in fields or "la" not in fields
            found.append(None if gone else _record_of(stored_of(handle, fields), fields, spaces))
        return found

    async def put_history(self, records: Sequence[HistoryRecord], /) -> None:
        await transact(self._link, lambda transaction: put_past(transaction, records))

    # -- sessions

    async def walk_sessions(self, *, after: str | None, limit: int, now: datetime) -> Portion[SessionRecord]:
        return await held_sessions.walk(self._link, after=after, limit=limit, now=now)

    async def session(self, scope: Scope, /, *, now: datetime) -> SessionRecord | None:
        return await held_sessions.session(self._link, scope, now=now)

    async def messages(self, scope: Scope, /, *, after: int, limit: int) -> Sequence[SessionMessage]:
        return await held_sessions.messages(self._link, scope, after=after, limit=limit)

    async def put_session(self, record: SessionRecord, messages: Sequence[SessionMessage], /) -> None:
        head = SessionKeys(record.session.scope).head
        await transact(self._link, lambda transaction: held_sessions.put(transaction, record, messages), alone=head)

    async def add_messages(self, scope: Scope, messages: Sequence[SessionMessage], /) -> None:
        head = SessionKeys(scope).head
        await transact(self._link, lambda transaction: held_sessions.add(transaction, scope, messages), alone=head)

    # -- summaries

    async def sources(self, view: SummaryView, /, *, group: Group) -> Sequence[MemoryKey]:
        held = await self._link.read("GET", partition_key(view, group_key(group)))
        handles: list[str] = [] if held is None else from_json(held)["sources"]
        found = await listing.fetched(self._link, handles)
        return [found[handle].key for handle in handles if handle in found]

    # -- pending work and tasks

    async def walk_work(self, *, after: str | None, limit: int) -> Portion[WorkRecord]:
        return await held_work.walk_work(self._link, after=after, limit=limit)

    async def work(self, keys: Sequence[Key], /) -> Sequence[WorkRecord | None]:
        return await held_work.work(self._link, keys)

    async def put_work(self, records: Sequence[WorkRecord], /) -> None:
        await transact(self._link, lambda transaction: held_work.put_work(transaction, records))

    async def walk_tasks(self, *, after: str | None, limit: int, now: datetime) -> Portion[TaskRecord]:
        return await held_work.walk_tasks(self._link, after=after, limit=limit, now=now)

    async def tasks(self, keys: Sequence[Key], /, *, now: datetime) -> Sequence[TaskRecord | None]:
        return await held_work.tasks(self._link, keys, now=now)

    async def put_tasks(self, records: Sequence[TaskRecord], /) -> None:
        await transact(self._link, lambda transaction: held_work.put_tasks(transaction, records))


def _record_of(stored: Stored, fields: dict[str, bytes], spaces: dict[str, tuple[str, int]]) -> MemoryRecord:
    vectors: list[Embedded] = []
    models = {model_token(model): model for model, _ in spaces.values()}
    embedded: set[str] = set()
    for space in stored.spaces:
        if space not in spaces or space not in fields:
            continue
        model, dimensions = spaces[space]
        # Older spaces do not say their kind; their name does.
        kind = TEXT_KIND if space == space_token(model, dimensions) else _kind_of(space, spaces)
        tokens = fields.get(tokens_field(model)) if kind == TEXT_KIND else None
        vector = np.frombuffer(fields[space], dtype="<f4")
        vectors.append(Embedded(model=model, vector=vector, kind=kind, tokens=tokens))
        if kind == TEXT_KIND:
            embedded.add(model_token(model))
    nothing = [models[token] for token in stored.spaces if token in models and token not in embedded]
    vectors += [Embedded(model=model, vector=None) for model in nothing]
    return MemoryRecord(
        memory=stored.memory,
        vectors=tuple(vectors),
        origin=stored.origin,
        is_copy=stored.is_copy,
        compared=not stored.due,
    )


def _kind_of(space: str, spaces: dict[str, tuple[str, int]]) -> str:
    named = spaces[space]
    return str(named[2]) if len(named) > 2 else TEXT_KIND


def _text(cursor: object) -> str:
    return cursor.decode() if isinstance(cursor, bytes) else str(cursor)
