"""Long-term memory over SQLite: the port's methods, each one read or one write job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Committed, Embedded, Operation, Vector
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.search import Handle, KeywordCandidates, VectorCandidates
from agent_memory_server.domain.second_stage import Pool
from agent_memory_server.ports.memories import Aged, Listing, Order
from agent_memory_server.stores.sqlite import aging, committing, keywords, listing, nearest, passages, vectors
from agent_memory_server.stores.sqlite.comparison_marks import mark_due
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import MEMORY_COLUMNS, MEMORY_TABLES, memory_of
from agent_memory_server.stores.sqlite.held_vectors import HeldVectors
from agent_memory_server.stores.sqlite.packed_vectors import PackedKey, PackedVectors
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.scoping import known_scope, known_tenant, selected
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import micros, to_json

_DROPPED_AT_ONCE = 2_000
"""Vectors removed in one transaction, so that other writers get their turn in between."""


def _numbers(handles: Sequence[Handle]) -> list[int]:
    """Handles of this engine are integers; another engine's mean nothing here."""
    return [handle for handle in handles if isinstance(handle, int)]


class SqliteMemories:
    """``ports.memories.MemoryStore`` over one file."""

    def __init__(self, readers: Readers, writer: Writer, packed: PackedVectors) -> None:
        self._readers = readers
        self._writer = writer
        self._packed = packed
        self._held = HeldVectors()
        self._packing = asyncio.Lock()

    async def commit(self, operation: Operation, /) -> Committed:
        return await self._writer.run(lambda connected: committing.commit(connected, operation))

    async def get(self, key: MemoryKey, /) -> Memory | None:
        def work(connected: Connected) -> Memory | None:
            tenant_id = known_tenant(connected, key.tenant)
            scope_id = known_scope(connected, key.tenant, key.namespace, key.user_id)
            row = connected.one(
                f"SELECT {MEMORY_COLUMNS} FROM {MEMORY_TABLES} WHERE m.tenant_id = ? AND m.id = ? AND m.scope_id = ?",
                (tenant_id, key.id, scope_id),
            )
            return None if row is None else memory_of(row)

        return await self._readers.run(work)

    async def find(self, selector: ScopeSelector, /, *, memory_id: str, limit: int = 2) -> Sequence[Memory]:
        def work(connected: Connected) -> list[Memory]:
            selection = selected(connected, selector)
            if selection is None:
                return []
            where = selection.condition("m")
            rows = connected.rows(
                f"SELECT {MEMORY_COLUMNS} FROM {MEMORY_TABLES} WHERE {where.sql} AND m.id = ? ORDER BY m.scope_id LIMIT ?",
                (*where.values, memory_id, limit),
            )
            return [memory_of(row) for row in rows]

        return await self._readers.run(work)

    async def get_many(self, handles: Sequence[Handle], /) -> Mapping[Handle, Memory]:
        numbers = _numbers(handles)
        if not numbers:
            return {}

        def work(connected: Connected) -> Mapping[Handle, Memory]:
            found: dict[Handle, Memory] = {**listing.fetched(connected, numbers)}
            return found

        return await self._readers.run(work)

    async def times(self, handles: Sequence[Handle], /) -> Mapping[Handle, tuple[int, int]]:
        numbers = _numbers(handles)
        return await self._readers.run(lambda connected: listing.times(connected, numbers)) if numbers else {}

    async def list(
        self,
        criteria: MemoryFilter,
        /,
        *,
        now: datetime,
        limit: int,
        offset: int = 0,
        cursor: str | None = None,
        order: Order = Order.CREATED_DESC,
    ) -> Listing:
        return await self._readers.run(
            lambda connected: listing.page(
                connected, criteria, now=now, limit=limit, offset=offset, cursor=cursor, order=order
            )
        )

    async def count(self, criteria: MemoryFilter, /, *, now: datetime) -> int:
        return await self._readers.run(lambda connected: listing.count(connected, criteria, now=now))

    async def nearest(
        self,
        criteria: MemoryFilter,
        /,
        *,
        vector: Vector,
        model: str,
        now: datetime,
        limit: int,
        distance_max: float | None = None,
    ) -> VectorCandidates:
        """Exact up to ``nearest.EXACT_MAX`` vectors (of a whole tenant: ``EXACT_TENANT_MAX``); beyond, by a packed copy first."""

        def work(connected: Connected) -> VectorCandidates | PackedKey:
            return nearest.nearest(
                connected,
                self._packed,
                self._held,
                criteria,
                vector=vector,
                model=model,
                now=now,
                limit=limit,
                distance_max=distance_max,
            )

        while isinstance(found := await self._readers.run(work), PackedKey):
            await self._pack(found)
        return found

    async def _pack(self, key: PackedKey) -> None:
        """Build a packed copy. Who needs one meanwhile waits here, and not on the threads that answer other reads."""
        async with self._packing:
            await self._readers.run(
                lambda connected: self._packed.current(
                    connected, space_id=key.space_id, tenant_id=key.tenant_id, dimensions=key.dimensions
                )
            )

    async def holding(
        self, criteria: MemoryFilter, /, *, tokens: Sequence[str], now: datetime, limit: int
    ) -> KeywordCandidates:
        return await self._readers.run(
            lambda connected: keywords.holding(connected, criteria, tokens=tokens, now=now, limit=limit)
        )

    async def vectors(self, handles: Sequence[Handle], /, *, model: str) -> Mapping[Handle, Vector]:
        numbers = _numbers(handles)

        def work(connected: Connected) -> Mapping[Handle, Vector]:
            space_id = vectors.known_space(connected, model)
            if space_id is None or not numbers:
                return {}
            found, stored = nearest.vectors_of(connected, numbers, space_id=space_id)
            return {int(handle): vector for handle, vector in zip(found, stored, strict=True)}

        return await self._readers.run(work)

    async def token_vectors(self, handles: Sequence[Handle], /, *, model: str) -> Mapping[Handle, bytes]:
        numbers = _numbers(handles)
        return await self._readers.run(lambda connected: vectors.token_vectors(connected, numbers, model=model))

    async def neighbours(self, handles: Sequence[Handle], /, *, span: int) -> Mapping[Handle, Sequence[Handle]]:
        numbers = _numbers(handles)
        if not numbers:
            return {}
        return await self._readers.run(lambda connected: passages.neighbours(connected, numbers, span=span))

    async def pool(self, criteria: MemoryFilter, handles: Sequence[Handle], /, *, span: int, now: datetime) -> Pool:
        numbers = _numbers(handles)
        if not numbers:
            return Pool({}, {})
        return await self._readers.run(
            lambda connected: passages.pool(connected, criteria, numbers, span=span, now=now)
        )

    async def touch(self, handles_or_keys: Sequence[MemoryKey], /, *, at: datetime, interval_min_s: float) -> int:
        moment = micros(at)
        latest = moment - round(interval_min_s * 1_000_000)

        def work(connected: Connected) -> int:
            places = [
                (known_tenant(connected, key.tenant), key.id, scope_id)
                for key in handles_or_keys
                if (scope_id := known_scope(connected, key.tenant, key.namespace, key.user_id)) is not None
            ]
            return connected.changed(
                "UPDATE memories SET last_accessed = ?, access_count = access_count + 1 WHERE last_accessed <= ? "
                "AND handle IN (SELECT m.handle FROM json_each(?) AS k CROSS JOIN memories AS m "
                "ON m.tenant_id = k.value ->> 0 AND m.id = k.value ->> 1 AND m.scope_id = k.value ->> 2)",
                (moment, latest, to_json(places)),
            )

        return await self._writer.run_patiently(work) if handles_or_keys else 0

    async def without_vector(
        self, *, model: str, limit: int, after: Handle | None = None, tenant: str | None = None
    ) -> Sequence[tuple[Handle, MemoryKey, str, str]]:
        def work(connected: Connected) -> list[tuple[Handle, MemoryKey, str, str]]:
            space_id = vectors.known_space(connected, model)
            others = [None, *(found for (found,) in connected.rows("SELECT id FROM spaces") if found != space_id)]
            within = "" if tenant is None else "AND m.tenant_id = (SELECT id FROM tenants WHERE name = ?) "
            bound = () if tenant is None else (tenant,)
            found: dict[int, tuple[Handle, MemoryKey, str, str]] = {}
            for other in others:
                rows = connected.rows(
                    f"SELECT m.handle, t.name, s.namespace, s.user_id, m.id, m.text, m.operation_id FROM {MEMORY_TABLES} "
                    f"WHERE m.space_id IS ? AND m.handle > ? {within}AND NOT EXISTS (SELECT 1 FROM vectors AS v "
                    "WHERE v.space_id = ? AND v.tenant_id = m.tenant_id AND v.scope_id = m.scope_id "
                    "AND v.handle = m.handle) ORDER BY m.handle LIMIT ?",
                    (other, after if isinstance(after, int) else 0, *bound, space_id, limit),
                )
                for handle, name, namespace, user_id, memory_id, text, operation_id in rows:
                    key = MemoryKey(name, namespace, user_id, memory_id)
                    found[handle] = (handle, key, text, operation_id)
            return [found[handle] for handle in sorted(found)[:limit]]

        return await self._readers.run(work)

    async def put_vectors(self, vectors_of: Sequence[tuple[Handle, str, Embedded]], /) -> int:
        def work(connected: Connected) -> int:
            stored = 0
            for handle, operation_id, embedded in vectors_of:
                row = connected.one(
                    "SELECT tenant_id, scope_id, superseded_by IS NULL, memory_type <> 'message' FROM memories "
                    "WHERE handle = ? AND operation_id = ?",
                    (handle, operation_id),
                )
                if row is not None and isinstance(handle, int):
                    vectors.store_vector(
                        connected, embedded, handle=handle, tenant_id=row[0], scope_id=row[1], live=bool(row[2])
                    )
                    if row[2] and row[3]:
                        mark_due(connected, handle, tenant_id=row[0], scope_id=row[1])
                    stored += 1
            return stored

        return await self._writer.run(work) if vectors_of else 0

    async def drop_vectors_except(self, *, model: str) -> int:
        def work(connected: Connected) -> tuple[int, int]:
            """How many rows went, and how many of them were texts' vectors."""
            rows = connected.rows(
                "SELECT v.space_id, v.tenant_id, v.scope_id, v.handle FROM vectors AS v "
                "WHERE v.space_id IN (SELECT id FROM spaces WHERE model <> ?) LIMIT ?",
                (model, _DROPPED_AT_ONCE),
            )
            connected.many(
                "DELETE FROM vectors WHERE space_id = ? AND tenant_id = ? AND scope_id = ? AND handle = ?", rows
            )
            connected.many(
                "INSERT INTO vector_changes (space_id, tenant_id, handle) VALUES (?, ?, ?)",
                [(space_id, tenant_id, handle) for space_id, tenant_id, _, handle in rows],
            )
            connected.many(
                "UPDATE memories SET space_id = NULL, has_vector = 0 WHERE handle = ? AND space_id = ?",
                [(handle, space_id) for space_id, _, _, handle in rows],
            )
            texts = {found for (found,) in connected.rows("SELECT id FROM spaces WHERE kind = ?", (vectors.TEXT_KIND,))}
            return len(rows), sum(row[0] in texts for row in rows)

        dropped = 0
        while (found := await self._writer.run(work))[0]:
            dropped += found[1]
        return dropped

    async def duplicate_groups(
        self, criteria: MemoryFilter, /, *, now: datetime, limit: int, after: str | None = None
    ) -> Sequence[Sequence[Memory]]:
        return await self._readers.run(
            lambda connected: listing.duplicate_groups(connected, criteria, now=now, limit=limit, after=after)
        )

    async def ages(
        self,
        criteria: MemoryFilter,
        /,
        *,
        now: datetime,
        limit: int,
        after: Handle | None = None,
        owner: Scope | None = None,
    ) -> Sequence[Aged]:
        return await self._readers.run(
            lambda connected: aging.ages(connected, criteria, now=now, limit=limit, after=after, owner=owner)
        )

    async def expired(self, *, now: datetime, limit: int) -> Sequence[MemoryKey]:
        return await self._readers.run(lambda connected: aging.expired(connected, now=now, limit=limit))

    async def owners(self, selector: ScopeSelector, /) -> Sequence[Scope]:
        return await self._readers.run(lambda connected: aging.owners(connected, selector))

    async def keys(self, handles: Sequence[Handle], /) -> Mapping[Handle, MemoryKey]:
        numbers = _numbers(handles)
        return await self._readers.run(lambda connected: aging.keys(connected, numbers)) if numbers else {}

    async def tenants(self) -> Sequence[str]:
        rows = await self._readers.run(lambda connected: connected.rows("SELECT name FROM tenants ORDER BY id"))
        return [name for (name,) in rows]
