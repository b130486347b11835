"""Everything that a file holds, in portions and in the order of its rows: ``ports.transfer.Holdings`` over SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

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
from agent_memory_server.ports.memories import Order
from agent_memory_server.ports.transfer import Portion
from agent_memory_server.stores.sqlite import held_sessions, held_work, listing
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.encoding import MEMORY_COLUMNS, MEMORY_TABLES, memory_of
from agent_memory_server.stores.sqlite.lookups import rows_of_each
from agent_memory_server.stores.sqlite.past import put_past
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.scoping import known_scope, known_tenant
from agent_memory_server.stores.sqlite.vectors import TEXT_KIND, TOKENS_KIND
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import micros, to_json

_COUNTS = {
    Kind.MEMORIES: "SELECT count(*) FROM memories",
    Kind.SESSIONS: "SELECT count(*) FROM sessions WHERE expires_at IS NULL OR expires_at > ?1",
    Kind.SUMMARY_VIEWS: "SELECT count(*) FROM summary_views",
    Kind.PARTITIONS: "SELECT count(*) FROM partitions",
    Kind.WORK: "SELECT count(*) FROM outbox",
    Kind.TASKS: "SELECT count(*) FROM tasks WHERE expires_at > ?1",
}
_WITH_TIME = frozenset({Kind.SESSIONS, Kind.TASKS})

_COLUMNS = f"m.handle, m.origin, m.is_copy, d.handle IS NULL, m.space_id, m.has_vector, {MEMORY_COLUMNS}"
_DUE = "LEFT JOIN comparisons_due AS d ON d.handle = m.handle"
_WALK = f"SELECT {_COLUMNS} FROM {MEMORY_TABLES} {_DUE} WHERE m.handle > ? ORDER BY m.handle LIMIT ?"
_MEMORIES = f"SELECT w.n, {_COLUMNS} FROM wanted AS w CROSS JOIN {MEMORY_TABLES} {_DUE} WHERE {{wanted}} ORDER BY w.n"
_MANY = 100
"""Records that are not read on the event loop: it would be begun there in vain."""
_NEVER_EXPIRED = datetime(1, 1, 1, tzinfo=UTC)

_SOURCES = """
SELECT c.namespace, c.user_id, x.memory_id FROM summary_views AS v
JOIN partitions AS p ON p.view = v.number AND p.group_key = ?3
JOIN partition_sources AS x ON x.partition = p.number
JOIN scopes AS c ON c.id = x.scope_id
WHERE v.tenant_id = ?1 AND v.id = ?2
"""


class SqliteHoldings:
    """Every read is one snapshot; every write one commit."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    async def count(self, kind: Kind, /, *, now: datetime) -> int:
        values = (micros(now),) if kind in _WITH_TIME else ()
        return await self._readers.run(lambda connected: connected.value(_COUNTS[kind], values))

    # -- memories

    async def walk_memories(self, *, after: str | None, limit: int) -> Portion[MemoryRecord]:
        def work(connected: Connected) -> Portion[MemoryRecord]:
            connected.leave_event_loop()
            rows = connected.rows(_WALK, (int(after or 0), limit + 1))
            shown = rows[:limit]
            following = str(shown[-1][0]) if len(rows) > limit else None
            return Portion(_records_of(connected, shown), following)

        return await self._readers.run(work)

    async def memories(self, keys: Sequence[MemoryKey], /, *, vectors: bool = True) -> Sequence[MemoryRecord | None]:
        def work(connected: Connected) -> list[MemoryRecord | None]:
            if len(keys) > _MANY:
                connected.leave_event_loop()
            wanted = [
                (
                    known_tenant(connected, key.tenant),
                    key.id,
                    known_scope(connected, key.tenant, key.namespace, key.user_id),
                )
                for key in keys
            ]
            named = "m.tenant_id = w.tenant_id AND m.id = w.id AND m.scope_id = w.scope_id"
            rows = rows_of_each(connected, ("tenant_id", "id", "scope_id"), wanted, _MEMORIES.format(wanted=named))
            records = _records_of(connected, [row[1:] for row in rows], with_vectors=vectors)
            found = dict(zip([row[0] for row in rows], records, strict=True))
            return [found.get(number) for number in range(len(keys))]

        return await self._readers.run(work)

    async def listed_memories(
        self, selector: ScopeSelector, /, *, limit: int, vectors: bool
    ) -> AsyncIterator[Sequence[MemoryRecord]]:
        criteria = MemoryFilter(selector=selector, include_superseded=True)

        def work(connected: Connected, cursor: str | None) -> tuple[list[MemoryRecord], str | None]:
            connected.leave_event_loop()
            found = listing.matching(connected, criteria, now=_NEVER_EXPIRED)
            if found is None:
                return [], None
            handles, following = listing.places(
                connected, found[1], limit=limit, offset=0, cursor=cursor, order=Order.CREATED_DESC
            )
            rows = rows_of_each(
                connected, ("handle",), [(each,) for each in handles], _MEMORIES.format(wanted="m.handle = w.handle")
            )
            return _records_of(connected, [row[1:] for row in rows], with_vectors=vectors), following

        cursor: str | None = None
        while True:
            records, cursor = await self._readers.run(partial(work, cursor=cursor))
            yield records
            if cursor is None:
                return

    async def put_history(self, records: Sequence[HistoryRecord], /) -> None:
        await self._writer.run(lambda connected: put_past(connected, records))

    # -- sessions

    async def walk_sessions(self, *, after: str | None, limit: int, now: datetime) -> Portion[SessionRecord]:
        return await self._readers.run(
            lambda connected: held_sessions.walk(connected, after=after, limit=limit, now=now)
        )

    async def session(self, scope: Scope, /, *, now: datetime) -> SessionRecord | None:
        return await self._readers.run(lambda connected: held_sessions.session(connected, scope, now=now))

    async def messages(self, scope: Scope, /, *, after: int, limit: int) -> Sequence[SessionMessage]:
        return await self._readers.run(
            lambda connected: held_sessions.messages(connected, scope, after=after, limit=limit)
        )

    async def put_session(self, record: SessionRecord, messages: Sequence[SessionMessage], /) -> None:
        await self._writer.run(lambda connected: held_sessions.put(connected, record, messages))

    async def add_messages(self, scope: Scope, messages: Sequence[SessionMessage], /) -> None:
        await self._writer.run(lambda connected: held_sessions.add(connected, scope, messages))

    # -- summaries

    async def sources(self, view: SummaryView, /, *, group: Group) -> Sequence[MemoryKey]:
        tenant = view.owner.tenant

        def work(connected: Connected) -> list[MemoryKey]:
            values = (known_tenant(connected, tenant), view.id, group_key(group))
            return [MemoryKey(tenant, *row) for row in connected.rows(_SOURCES, values)]

        return await self._readers.run(work)

    # -- pending work and tasks

    async def walk_work(self, *, after: str | None, limit: int) -> Portion[WorkRecord]:
        return await self._readers.run(lambda connected: held_work.walk_work(connected, after=after, limit=limit))

    async def work(self, keys: Sequence[Key], /) -> Sequence[WorkRecord | None]:
        return await self._readers.run(lambda connected: [held_work.work(connected, key) for key in keys])

    async def put_work(self, records: Sequence[WorkRecord], /) -> None:
        def work(connected: Connected) -> None:
            for record in records:
                held_work.put_work(connected, record)

        await self._writer.run(work)

    async def walk_tasks(self, *, after: str | None, limit: int, now: datetime) -> Portion[TaskRecord]:
        return await self._readers.run(
            lambda connected: held_work.walk_tasks(connected, after=after, limit=limit, now=now)
        )

    async def tasks(self, keys: Sequence[Key], /, *, now: datetime) -> Sequence[TaskRecord | None]:
        return await self._readers.run(lambda connected: [held_work.task(connected, key, now=now) for key in keys])

    async def put_tasks(self, records: Sequence[TaskRecord], /) -> None:
        def work(connected: Connected) -> None:
            for record in records:
                held_work.put_task(connected, record)

        await self._writer.run(work)


def _records_of(connected: Connected, rows: Sequence[Row], *, with_vectors: bool = True) -> list[MemoryRecord]:
    """The records of rows of ``_COLUMNS``, with their vectors if asked for."""
    vectors: dict[int, list[Embedded]] = {}
    tokens: dict[tuple[int, str], bytes] = {}
    models: dict[int, str] = dict(connected.rows("SELECT id, model FROM spaces"))
    handles = to_json([row[0] for row in rows] if with_vectors else [])
    for handle, model, kind, packed in connected.rows(
        "SELECT v.handle, s.model, s.kind, v.vector FROM vectors AS v JOIN spaces AS s ON s.id = v.space_id "
        "WHERE v.handle IN (SELECT value FROM json_each(?)) ORDER BY v.handle, s.id",
        (handles,),
    ):
        if kind == TOKENS_KIND:
            tokens[(handle, model)] = packed
            continue
        vector = np.frombuffer(packed, dtype="<f4")
        vectors.setdefault(handle, []).append(Embedded(model=model, vector=vector, kind=kind))
    records: list[MemoryRecord] = []
    for handle, origin, is_copy, compared, space_id, has_vector, *columns in rows:
        found: list[Embedded] = [
            replace(each, tokens=tokens.get((handle, each.model))) if each.kind == TEXT_KIND else each
            for each in vectors.get(handle, [])
        ]
        newest = models.get(space_id) if with_vectors else None
        if newest is not None and not has_vector:
            found = [*found, Embedded(model=newest, vector=None)]
        if len(found) > 1:
            # The newest last: storing them in this order leaves the memory as it is here.
            found = sorted(found, key=lambda each, newest=newest: each.model == newest and each.kind == TEXT_KIND)
        records.append(
            MemoryRecord(
                memory=memory_of(columns),
                vectors=tuple(found),
                origin=origin,
                is_copy=bool(is_copy),
                compared=bool(compared),
            )
        )
    return records
