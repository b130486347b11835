"""The store that records are carried into, each kind through its own door: what is written is journalled as an import."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from itertools import groupby

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Carried, Delete, Effect, Operation, OperationKind, Put
from agent_memory_server.domain.past import stated
from agent_memory_server.domain.records import EmbeddingStatus, MemoryKey
from agent_memory_server.domain.summary_views import SummaryView, criteria
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.domain.transfer import (
    HistoryRecord,
    Key,
    Kind,
    Mark,
    MemoryRecord,
    PartitionRecord,
    Record,
    SessionRecord,
    TaskRecord,
    TokenRecord,
    ViewRecord,
    WorkRecord,
)
from agent_memory_server.errors import StaleRevision
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.transfer import Holdings, Item, Origin, Portion, Unreadable
from agent_memory_server.services.indexing import embedding_intent
from agent_memory_server.services.past_history import TRANSFER_ACTOR
from agent_memory_server.services.transfer_source import MESSAGES_AT_ONCE, StoreSource, memory_key, scope_of

_VIEWS_MAX = 1_000_000
_VIEW_KEY_PARTS = 2
_PUTS_A_TURN = 64
"""The words of so many memories are counted before the requests of others have their turn: a few milliseconds."""
_SOURCES_MAX = 1_000
"""The reference server summarised 200 memories of a group at most, by the time of the event the oldest first."""


class Target:
    """Writes into one store what comes from ``source``. ``transfer`` names the transfer in the journal."""

    def __init__(
        self, stores: Stores, holdings: Holdings, source: Origin, *, transfer: str, now: Callable[[], datetime]
    ) -> None:
        self._stores = stores
        self._holdings = holdings
        self._source = source
        self._reader = StoreSource(stores, holdings, now=now)
        self._transfer = transfer
        self._now = now
        self._committing = asyncio.Lock()
        """What is written is prepared beside a commit, and committed after it: two at once would ask for the same work to be done
        later, and an engine would have to decide one of them anew."""

    async def read(self, kind: Kind, keys: Sequence[Key], /, *, vectors: bool = True) -> Sequence[Record | None]:
        return await self._reader.read(kind, keys, vectors=vectors)

    async def walk(self, kind: Kind, /, *, after: str | None, limit: int) -> Portion[Item | Unreadable]:
        return await self._reader.walk(kind, after=after, limit=limit)

    async def count(self, kind: Kind, /) -> int:
        return await self._reader.count(kind)

    async def mark(self, record: Record) -> str:
        """What stands here, as the ledger would note it."""
        mark = Mark(record)
        if isinstance(record, SessionRecord):
            after = 0
            while found := await self._reader.messages(record, after=after, limit=MESSAGES_AT_ONCE):
                for message in found:
                    mark.add(message)
                after = found[-1].sequence
        return mark.text()

    def is_ours(self, record: MemoryRecord) -> bool:
        """Whether this transfer wrote the record's present content."""
        return record.memory.operation_id.startswith(self._transfer + ".")

    # -- writing

    async def put(self, kind: Kind, items: Sequence[Item], there: Sequence[Record | None]) -> Sequence[bool]:
        """Write each in place of what was ``there`` when it was read; False for one that could not be, as it changed since."""
        if kind is Kind.MEMORIES:
            return await self._put_memories(items, there)
        if kind is Kind.HISTORY:
            return await self._put_histories(items, there)
        if kind is Kind.WORK:
            await self._holdings.put_work([each.record for each in items if isinstance(each.record, WorkRecord)])
            return [True] * len(items)
        if kind is Kind.TASKS:
            await self._holdings.put_tasks([each.record for each in items if isinstance(each.record, TaskRecord)])
            return [True] * len(items)
        one: Callable[[Item], Awaitable[bool]] = {
            Kind.SESSIONS: self._put_session,
            Kind.SUMMARY_VIEWS: self._put_view,
            Kind.PARTITIONS: self._put_partition,
            Kind.TOKENS: self._put_token,
        }[kind]
        return [await one(item) for item in items]

    async def _put_memories(self, items: Sequence[Item], there: Sequence[Record | None]) -> Sequence[bool]:
        written: list[bool] = []
        several = zip(items, there, strict=True)
        for tenant, group in groupby(several, key=lambda each: each[0].record.key[0] or ""):
            portion = list(group)
            try:
                written += await self._commit(tenant, portion)
            except StaleRevision:
                # One of them was changed between reading and writing: each for itself.
                for each in portion:
                    try:
                        written += await self._commit(tenant, [each])
                    except StaleRevision:
                        written.append(False)
        return written

    def _new_operation_id(self) -> str:
        """Another each time: what a crash left is known by what stands there, and content that was deleted and comes again is
        another change. Under the id of the first one the store would take it for done."""
        return f"{self._transfer}.{secrets.token_hex(12)}"

    async def _commit(self, tenant: str, portion: Sequence[tuple[Item, Record | None]]) -> Sequence[bool]:
        changes: list[Put] = []
        for number, (item, before) in enumerate(portion):
            if number % _PUTS_A_TURN == 0:
                await asyncio.sleep(0)
            changes.append(_put(item, before))
        pending = any(each.memory.embedding is EmbeddingStatus.PENDING for each in changes)
        async with self._committing:
            committed = await self._stores.memories.commit(
                Operation(
                    id=self._new_operation_id(),
                    tenant=tenant,
                    kind=OperationKind.IMPORT,
                    actor=TRANSFER_ACTOR,
                    at=self._now(),
                    changes=tuple(changes),
                    reason=f"carried from {self._source.describe()}",
                    run=self._transfer,
                    intents=(embedding_intent(Scope(tenant)),) if pending else (),
                )
            )
        return [
            before is not None or outcome.effect is not Effect.UNCHANGED
            for (_, before), outcome in zip(portion, committed.outcomes, strict=True)
        ]

    async def _put_histories(self, items: Sequence[Item], there: Sequence[Record | None]) -> Sequence[bool]:
        """A past belongs to the memory that it was told of: what stands here under its id and is something else keeps its own."""
        records = [each.record for each in items if isinstance(each.record, HistoryRecord)]
        fit = [self._is_brought(record, before) for record, before in zip(records, there, strict=True)]
        asked = [number for number, fits in enumerate(fit) if not fits]
        memories = await self._holdings.memories([records[number].memory_key for number in asked], vectors=False)
        for number, memory in zip(asked, memories, strict=True):
            fit[number] = self._fits(records[number], there[number], memory)
        await self._holdings.put_history([record for record, fits in zip(records, fit, strict=True) if fits])
        return fit

    def _is_brought(self, record: HistoryRecord, before: Record | None) -> bool:
        """Whether this transfer brought the memory, and it is there. If it goes in this moment, no past is kept of it."""
        return (
            isinstance(before, HistoryRecord)
            and before.opened_by == self._transfer
            and not before.is_of_gone
            and not record.is_of_gone
        )

    def _fits(self, record: HistoryRecord, before: Record | None, memory: MemoryRecord | None) -> bool:
        if memory is None:
            return record.is_of_gone and before is None
        if record.is_of_gone or not isinstance(before, HistoryRecord):
            return False
        if before.opened_by is None:
            # The past that this transfer brought, as it brought it: nothing else is written over.
            return True
        told = None if record.memory is None else record.memory()
        if before.opened_by == self._transfer or told is None:
            return before.opened_by == self._transfer
        return stated(memory.memory) == stated(told)

    async def _put_session(self, item: Item) -> bool:
        record = item.record
        assert isinstance(record, SessionRecord)
        scope = record.session.scope
        await self._holdings.put_session(record, item.messages[:MESSAGES_AT_ONCE])
        for first in range(MESSAGES_AT_ONCE, len(item.messages), MESSAGES_AT_ONCE):
            await self._holdings.add_messages(scope, item.messages[first : first + MESSAGES_AT_ONCE])
        if item.more:
            after = item.messages[-1].sequence
            while found := await self._source.messages(record, after=after, limit=MESSAGES_AT_ONCE):
                await self._holdings.add_messages(scope, found)
                after = found[-1].sequence
        if item.intents:
            await self._stores.outbox.request(item.intents, at=self._now())
        return True

    async def _put_view(self, item: Item) -> bool:
        record = item.record
        assert isinstance(record, ViewRecord)
        return await self._stores.summary_views.add(record.view, views_max=_VIEWS_MAX)

    async def _put_partition(self, item: Item) -> bool:
        record = item.record
        assert isinstance(record, PartitionRecord)
        view = await self._view(record)
        if view is None:
            return False
        sources = record.sources
        if sources is None:
            sources = await self._supposed_sources(view, record)
        return await self._stores.summary_views.put_partition(view, record.partition, sources=sources)

    async def _view(self, record: PartitionRecord) -> SummaryView | None:
        selector = ScopeSelector(record.tenant)
        return await self._stores.summary_views.get(selector, view_id=record.partition.view_id)

    async def _supposed_sources(self, view: SummaryView, record: PartitionRecord) -> Sequence[MemoryKey]:
        """The memories that it can have been made of, where the source does not say: the oldest of the group. When one of
        them is deleted, the summary's text goes, and is made anew by the next run."""
        wanted = criteria(view, now=record.partition.computed_at, group=record.partition.group)
        oldest: deque[MemoryKey] = deque(maxlen=_SOURCES_MAX)
        cursor: str | None = None
        while True:
            page = await self._stores.summary_views.members(wanted, now=self._now(), limit=1_000, cursor=cursor)
            oldest.extend(member.key for member in page.members)
            cursor = page.next_cursor
            if cursor is None:
                return tuple(oldest)

    async def _put_token(self, item: Item) -> bool:
        record = item.record
        assert isinstance(record, TokenRecord)
        return await self._stores.access_tokens.add(record.token)

    # -- removing what is gone in the source

    async def remove(self, kind: Kind, key: Key) -> None:
        """Explicitly and for good, as it was in the source."""
        at = self._now()
        if kind is Kind.MEMORIES:
            memory = memory_key(key)
            await self._stores.memories.commit(
                Operation(
                    id=self._new_operation_id(),
                    tenant=memory.tenant,
                    kind=OperationKind.DELETE,
                    actor=TRANSFER_ACTOR,
                    at=at,
                    changes=(Delete(key=memory, scrub=True),),
                    reason=f"deleted in {self._source.describe()}",
                )
            )
        elif kind is Kind.SESSIONS:
            await self._stores.working_memory.delete(
                scope_of(key), operation_id=self._new_operation_id(), actor=TRANSFER_ACTOR, at=at
            )
        elif kind is Kind.TOKENS:
            await self._stores.access_tokens.remove(key[0] or "")
        elif kind in (Kind.SUMMARY_VIEWS, Kind.PARTITIONS):
            await self._remove_summaries(ScopeSelector(key[0] or ""), key, at)

    async def _remove_summaries(self, selector: ScopeSelector, key: Key, at: datetime) -> None:
        """A view with all its summaries, or the one summary that the key names."""
        views, view_id = self._stores.summary_views, key[1] or ""
        if len(key) == _VIEW_KEY_PARTS:
            await views.delete(selector, view_id=view_id, at=at)
            return
        view = await views.get(selector, view_id=view_id)
        if view is not None:
            await views.drop_partitions(view, groups=[dict(json.loads(key[2] or "[]"))])


async def mark_of(item: Item, origin: Origin) -> str:
    """What the ledger notes of an item, with all the messages of a session."""
    mark = Mark(item.record)
    for message in item.messages:
        mark.add(message)
    if item.more and isinstance(item.record, SessionRecord):
        after = item.messages[-1].sequence
        while found := await origin.messages(item.record, after=after, limit=MESSAGES_AT_ONCE):
            for message in found:
                mark.add(message)
            after = found[-1].sequence
    return mark.text()


def takes_several_writes(item: Item) -> bool:
    """Whether a crash can leave a part of it."""
    return item.more or len(item.messages) > MESSAGES_AT_ONCE


def _put(item: Item, before: Record | None) -> Put:
    record = item.record
    assert isinstance(record, MemoryRecord)
    memory = record.memory
    return Put(
        memory=memory,
        tokens=index_tokens(memory.text, memory.name, memory.topics, memory.entities),
        if_absent=before is None,
        if_operation=before.memory.operation_id if isinstance(before, MemoryRecord) else None,
        carried=Carried(
            origin=record.origin,
            is_copy=record.is_copy,
            compared=record.compared,
            vectors=record.vectors,
            past=item.past,
        ),
    )
