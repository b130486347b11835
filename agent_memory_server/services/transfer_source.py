"""A store of ours as something that is carried from: ``ports.transfer.Source`` over what its engine can walk through."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.summary_views import Group, SummaryView
from agent_memory_server.domain.transfer import (
    Key,
    Kind,
    MemoryRecord,
    PartitionRecord,
    Record,
    SessionMessage,
    SessionRecord,
    TokenRecord,
    ViewRecord,
)
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.transfer import Holdings, Item, Portion, Unreadable
from agent_memory_server.services.past_history import histories_told

MESSAGES_AT_ONCE = 500
"""Of one session, read or written in one go."""
_GONE_MAX = 10_000_000


class StoreSource:
    """Everything of one store. Its records are named by their keys."""

    def __init__(self, stores: Stores, holdings: Holdings, *, now: Callable[[], datetime]) -> None:
        self._stores = stores
        self._holdings = holdings
        self._now = now

    def describe(self) -> str:
        return self._stores.engine.describe()

    @property
    def kinds(self) -> Sequence[Kind]:
        return tuple(Kind)

    async def count(self, kind: Kind, /) -> int:
        if kind is Kind.TOKENS:
            return len(await self._stores.access_tokens.list())
        if kind is Kind.HISTORY:
            gone = [await self._gone(tenant) for tenant in await self._stores.memories.tenants()]
            return await self._holdings.count(Kind.MEMORIES, now=self._now()) + sum(map(len, gone))
        return await self._holdings.count(kind, now=self._now())

    async def walk(self, kind: Kind, /, *, after: str | None, limit: int) -> Portion[Item | Unreadable]:
        holdings = self._holdings
        if kind is Kind.MEMORIES:
            return _items(await holdings.walk_memories(after=after, limit=limit))
        if kind is Kind.HISTORY:
            return await self._histories(after, limit)
        if kind is Kind.SESSIONS:
            return await self._sessions(after, limit)
        if kind is Kind.WORK:
            return _items(await holdings.walk_work(after=after, limit=limit))
        if kind is Kind.TASKS:
            return _items(await holdings.walk_tasks(after=after, limit=limit, now=self._now()))
        if kind is Kind.TOKENS:
            tokens = await self._stores.access_tokens.list()
            # The oldest first, as they were made.
            return _items(Portion([TokenRecord(token=token) for token in reversed(tokens)], None))
        return await self._of_tenants(kind, after, limit)

    # -- the pasts of memories, and then of those that are gone, a tenant at a time

    async def _histories(self, after: str | None, limit: int) -> Portion[Item | Unreadable]:
        is_gone, place, offset = json.loads(after) if after else (False, None, 0)
        if is_gone:
            return await self._gone_histories(int(place or 0), offset, limit)
        found = await self._holdings.walk_memories(after=place, limit=limit)
        following = json.dumps([True, 0, 0] if found.next is None else [False, found.next, 0])
        told = await histories_told(self._stores.journal, [record.memory.key for record in found.records])
        pasts = [
            replace(past, memory=partial(_memory_of, each)) for past, each in zip(told, found.records, strict=True)
        ]
        return _items(Portion([past for past in pasts if past.revisions], following))

    async def _gone_histories(self, number: int, offset: int, limit: int) -> Portion[Item | Unreadable]:
        tenants = sorted(await self._stores.memories.tenants())
        if number >= len(tenants):
            return Portion((), None)
        keys = await self._gone(tenants[number])
        told = await histories_told(self._stores.journal, keys[offset : offset + limit])
        place = [True, number, offset + limit] if offset + limit < len(keys) else [True, number + 1, 0]
        return _items(Portion([past for past in told if past.is_of_gone], json.dumps(place)))

    async def _gone(self, tenant: str) -> Sequence[MemoryKey]:
        """Memories that are gone, of which an undo can still bring back what they said."""
        return sorted(await self._stores.journal.remembered(ScopeSelector(tenant), limit=_GONE_MAX), key=ref_of)

    async def _sessions(self, after: str | None, limit: int) -> Portion[Item | Unreadable]:
        found = await self._holdings.walk_sessions(after=after, limit=limit, now=self._now())
        items: list[Item | Unreadable] = []
        for record in found.records:
            first = await self._holdings.messages(record.session.scope, after=0, limit=MESSAGES_AT_ONCE)
            more = len(first) == MESSAGES_AT_ONCE
            items.append(Item(ref_of(record.key), record, tuple(first), more))
        return Portion(items, found.next)

    async def messages(self, record: SessionRecord, /, *, after: int, limit: int) -> Sequence[SessionMessage]:
        return await self._holdings.messages(record.session.scope, after=after, limit=limit)

    # -- views and their summaries, a tenant at a time

    async def _of_tenants(self, kind: Kind, after: str | None, limit: int) -> Portion[Item | Unreadable]:
        tenants = sorted(await self._stores.memories.tenants())
        number, view_number, offset = json.loads(after) if after else (0, 0, 0)
        if number >= len(tenants):
            return Portion((), None)
        views = await self._stores.summary_views.list(ScopeSelector(tenants[number]))
        following = json.dumps([number + 1, 0, 0]) if number + 1 < len(tenants) else None
        if kind is Kind.SUMMARY_VIEWS:
            return _items(Portion([ViewRecord(view=view) for view in views], following))
        if view_number >= len(views):
            return Portion((), following)
        page = await self._stores.summary_views.partitions(views[view_number], where={}, limit=limit, offset=offset)
        records = [await self._partition(views[view_number], each.group) for each in page.partitions]
        is_end = len(page.partitions) < limit
        place = [number, view_number + 1, 0] if is_end else [number, view_number, offset + limit]
        return _items(Portion([record for record in records if record is not None], json.dumps(place)))

    async def _partition(self, view: SummaryView, group: Group) -> PartitionRecord | None:
        partition = await self._stores.summary_views.partition(view, group=group)
        if partition is None:
            return None
        sources = await self._holdings.sources(view, group=partition.group)
        return PartitionRecord(tenant=view.owner.tenant, partition=partition, sources=tuple(sources))

    # -- what is still there

    def refs(self, kind: Kind, key: Key, /) -> Sequence[str]:  # noqa: ARG002
        return (ref_of(key),)

    async def present(self, kind: Kind, refs: Sequence[str], /) -> Sequence[bool]:
        return [record is not None for record in await self.read(kind, [key_of_ref(ref) for ref in refs])]

    async def read(self, kind: Kind, keys: Sequence[Key], /, *, vectors: bool = True) -> Sequence[Record | None]:
        """The records with these keys, without a session's messages; memories with their vectors, if asked for."""
        holdings, now = self._holdings, self._now()
        if kind is Kind.MEMORIES:
            return await holdings.memories([memory_key(key) for key in keys], vectors=vectors)
        if kind is Kind.HISTORY:
            found = await histories_told(self._stores.journal, [memory_key(key) for key in keys])
            return [record if record.revisions else None for record in found]
        if kind is Kind.WORK:
            return await holdings.work(keys)
        if kind is Kind.TASKS:
            return await holdings.tasks(keys, now=now)
        if kind is Kind.TOKENS:
            held = {token.id: TokenRecord(token=token) for token in await self._stores.access_tokens.list()}
            return [held.get(key[0] or "") for key in keys]
        one: Callable[[Key], Awaitable[Record | None]] = {
            Kind.SESSIONS: self._session,
            Kind.SUMMARY_VIEWS: self._view,
            Kind.PARTITIONS: self._summary,
        }[kind]
        return [await one(key) for key in keys]

    async def _session(self, key: Key) -> SessionRecord | None:
        return await self._holdings.session(scope_of(key), now=self._now())

    async def _view(self, key: Key) -> ViewRecord | None:
        tenant, view_id = key
        view = await self._stores.summary_views.get(ScopeSelector(tenant or ""), view_id=view_id or "")
        return None if view is None else ViewRecord(view=view)

    async def _summary(self, key: Key) -> PartitionRecord | None:
        tenant, view_id, group = key
        view = await self._stores.summary_views.get(ScopeSelector(tenant or ""), view_id=view_id or "")
        return None if view is None else await self._partition(view, dict(json.loads(group or "[]")))


def ref_of(key: Key) -> str:
    """How a store of ours names a record."""
    return json.dumps(list(key))


def key_of_ref(ref: str) -> Key:
    return tuple(json.loads(ref))


def memory_key(key: Key) -> MemoryKey:
    tenant, namespace, user_id, memory_id = key
    return MemoryKey(tenant or "", namespace, user_id, memory_id or "")


def scope_of(key: Key) -> Scope:
    tenant, namespace, user_id, session_id = key
    return Scope(tenant or "", namespace, user_id, session_id)


def _memory_of(record: MemoryRecord) -> Memory:
    return record.memory


def _items(found: Portion[Record]) -> Portion[Item | Unreadable]:
    return Portion([Item(ref_of(record.key), record) for record in found.records], found.next)
