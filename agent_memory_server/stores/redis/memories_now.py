"""What one search reads of a small selection: a checked copy in this process stands for Redis, as of one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import Handle, KeywordCandidates, VectorCandidates
from agent_memory_server.domain.second_stage import Pool
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.stores.redis import naming, nearest
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.index import Index
from agent_memory_server.stores.redis.memories import RedisMemories
from agent_memory_server.stores.redis.scope_cache import ScopeCache
from agent_memory_server.stores.redis.snapshots import Snapshot
from agent_memory_server.stores.values import token_digest

FILTERED_ROWS_MAX = 2_000
"""Larger selections are filtered by the index of Redis: here each record would be looked at."""
_DECIDED_BY_RECORDS = frozenset(
    {
        "selector",
        "namespace",
        "user_id",
        "session_id",
        "topics",
        "entities",
        "memory_type",
        "extraction_strategy",
        "memory_hash",
        "created_at",
        "last_accessed",
        "event_date",
        "valid_at",
        "sources",
        "trust_min",
        "include_superseded",
    }
)
"""Parts of a filter that ``MemoryFilter.matches`` decides by the record alone."""
_OTHERS = tuple(each.name for each in fields(MemoryFilter) if each.name not in _DECIDED_BY_RECORDS)


def is_answerable(criteria: MemoryFilter) -> bool:
    """Whether a copy of the live memories holds everything that this filter looks at."""
    return not criteria.include_superseded and all(getattr(criteria, name) is None for name in _OTHERS)


class SearchedMemories(RedisMemories):
    """``ports.memories.MemoryStore`` and ``ReadsTogether``."""

    def __init__(self, link: Link, index: Index, *, token_key: bytes) -> None:
        super().__init__(link, index, token_key=token_key)
        self._scopes = ScopeCache(link, index)

    async def as_of_now(self, criteria: MemoryFilter, /) -> MemoryStore | None:
        selector, rest = naming.narrowed(criteria.selector, criteria.namespace, criteria.user_id)
        if rest or not is_answerable(criteria):
            return None
        snapshot = await self._scopes.snapshot(selector)
        if snapshot is None or (not criteria.is_scope_only and len(snapshot.rows) > FILTERED_ROWS_MAX):
            return None
        return _MemoriesNow(self._link, self._index, self._token_key, snapshot, self._scopes, selector)


class _MemoriesNow(RedisMemories):
    """The store with the reads of one search answered by a snapshot; everything else goes to Redis as ever.

    Only for the filter that the snapshot was taken for."""

    def __init__(
        self,
        link: Link,
        index: Index,
        token_key: bytes,
        snapshot: Snapshot,
        scopes: ScopeCache,
        selector: ScopeSelector,
    ) -> None:
        super().__init__(link, index, token_key=token_key)
        self._snapshot = snapshot
        self._scopes = scopes
        self._selector = selector

    async def get_many(self, handles: Sequence[Handle], /) -> Mapping[Handle, Memory]:
        return self._snapshot.memories(handles)

    async def times(self, handles: Sequence[Handle], /) -> Mapping[Handle, tuple[int, int]]:
        return self._snapshot.times(handles)

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
        space = self._scopes.space(model, vector.size)
        if space not in self._snapshot.spaces:
            # The first search with this model: copies are read with its vectors from now on.
            snapshot = await self._scopes.snapshot(self._selector)
            if snapshot is None or space not in snapshot.spaces:
                return await super().nearest(
                    criteria, vector=vector, model=model, now=now, limit=limit, distance_max=distance_max
                )
            self._snapshot = snapshot
        return self._snapshot.nearest(
            criteria, space, nearest.unit(vector), now=now, limit=limit, distance_max=distance_max
        )

    async def holding(
        self, criteria: MemoryFilter, /, *, tokens: Sequence[str], now: datetime, limit: int
    ) -> KeywordCandidates:
        names = tuple(dict.fromkeys(tokens))
        digests = [token_digest(self._token_key, name) for name in names]
        return self._snapshot.holding(criteria, names, digests, now=now, limit=limit)

    async def vectors(self, handles: Sequence[Handle], /, *, model: str) -> Mapping[Handle, Vector]:
        spaces = self._scopes.spaces_of(model)
        if not spaces or not set(spaces) <= set(self._snapshot.spaces):
            return await super().vectors(handles, model=model)
        return self._snapshot.vectors(handles, spaces)

    async def neighbours(self, handles: Sequence[Handle], /, *, span: int) -> Mapping[Handle, Sequence[Handle]]:
        return self._snapshot.neighbours(handles, span=span)

    async def pool(self, criteria: MemoryFilter, handles: Sequence[Handle], /, *, span: int, now: datetime) -> Pool:
        return self._snapshot.pool(criteria, handles, span=span, now=now)
