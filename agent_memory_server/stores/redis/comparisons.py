"""Memories that are due to be compared, exact copies, and neighbours by stored vectors, over Redis.

Marks are written with the change that causes them (``rows``). Neighbours are looked for an owner scope at a time: its vectors
are read once for all the memories that are compared there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.records import MESSAGE_STRATEGY, Memory, MemoryType
from agent_memory_server.domain.search import Handle
from agent_memory_server.domain.strategies import StrategyName
from agent_memory_server.ports.comparisons import Due, Stage
from agent_memory_server.stores.redis import listing, naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.index import Index
from agent_memory_server.stores.redis.memory_keys import (
    due_key,
)
from agent_memory_server.stores.redis.nearest import vectors_of
from agent_memory_server.stores.redis.rows import (
    PLAIN_FIELDS,
    due_of,
    due_parts,
    memory_of_fields,
    stored_memories,
    with_due,
)
from agent_memory_server.stores.redis.scopes import owners, pairs_of
from agent_memory_server.stores.redis.transactions import Transaction, transact
from agent_memory_server.stores.redis.walking import walk

_NOTED_AT_ONCE = 200
_LOOKED_AT = 1_000
_DELTA = 1e-6

_Place = tuple[Scope, MemoryType]
"""What is compared with each other."""


class RedisComparisons:
    """``ports.comparisons.ComparisonStore`` over one Redis."""

    def __init__(self, link: Link, index: Index) -> None:
        self._link = link
        self._index = index

    async def tenants_due(self, *, stage_max: Stage) -> Sequence[str]:
        tenants = sorted(name.decode() for name in pairs_of(await self._link.read("HGETALL", naming.TENANTS)).values())
        if not tenants:
            return []
        firsts = await self._link.reads(
            *(("ZRANGEBYLEX", due_key(tenant), "-", f"({stage_max.value + 1}", "LIMIT", 0, 1) for tenant in tenants)
        )
        return [tenant for tenant, first in zip(tenants, firsts, strict=True) if first]

    async def due(
        self, selector: ScopeSelector, /, *, stage_max: Stage, limit: int, after: Due | None = None
    ) -> Sequence[Due]:
        scopes = {
            naming.owner_digest(scope.namespace, scope.user_id): scope for scope in await owners(self._link, selector)
        }
        start = "-" if after is None else "(" + _member(after)
        found: list[Due] = []
        while len(found) < limit:
            members = await self._link.read(
                "ZRANGEBYLEX", due_key(selector.tenant), start, f"({stage_max.value + 1}", "LIMIT", 0, _LOOKED_AT
            )
            if not members:
                break
            start = "(" + members[-1].decode()
            mine = [member.decode().split(":") for member in members]
            mine = [each for each in mine if each[1] in scopes]
            if not mine:
                continue
            marks = await self._link.reads(*(("HGET", naming.memory_key(each[2]), "due") for each in mine))
            for (_, owner, handle), mark in zip(mine, marks, strict=True):
                if mark is None:
                    continue
                stage, attempts, stamp = due_parts(mark.decode())
                found.append(Due(handle=handle, owner=scopes[owner], stage=stage, attempts=attempts, stamp=stamp))
        return found[:limit]

    async def compared(self, due: Sequence[Due], /, *, stage: Stage | None, failed: bool = False) -> int:
        noted = 0
        for first in range(0, len(due), _NOTED_AT_ONCE):
            some = [each for each in due[first : first + _NOTED_AT_ONCE] if isinstance(each.handle, str)]

            async def work(transaction: Transaction, some: Sequence[Due] = some) -> int:
                found = await stored_memories(transaction, [str(each.handle) for each in some])
                count = 0
                for stored, each in zip(found, some, strict=True):
                    if stored is None or not stored.due or due_parts(stored.due)[2] != each.stamp:
                        continue
                    _, attempts, stamp = due_parts(stored.due)
                    mark = "" if stage is None else due_of(stage, attempts + int(failed), stamp)
                    with_due(transaction, stored, mark)
                    count += 1
                return count

            noted += await transact(self._link, work)
        return noted

    async def copies(self, due: Sequence[Due], /, *, now: datetime) -> Sequence[Sequence[Memory]]:
        memories = await listing.fetched(self._link, [str(each.handle) for each in due])
        hashes = {(each.scope.owner, each.memory_hash) for each in memories.values() if each.memory_hash}
        groups: list[list[Memory]] = []
        for owner, memory_hash in sorted(hashes, key=repr):
            handles = await listing.standing_copies(self._link, owner, memory_hash)
            if len(handles) < 2:
                continue
            standing = [
                each
                for each in (await listing.fetched(self._link, handles)).values()
                if (each.expires_at is None or each.expires_at > now)
                and not (each.memory_type is MemoryType.MESSAGE and each.extraction_strategy == MESSAGE_STRATEGY)
            ]
            if len(standing) > 1:
                groups.append(sorted(standing, key=lambda each: (each.created_at, each.id)))
        return groups

    async def near(
        self, handles: Sequence[Handle], /, *, model: str, now: datetime, distance_max: float, limit: int
    ) -> Mapping[Handle, Mapping[Handle, float]]:
        texts = [handle for handle in handles if isinstance(handle, str)]
        places: defaultdict[_Place, list[str]] = defaultdict(list)
        for handle, memory in (await listing.fetched(self._link, texts)).items():
            if _is_comparable(memory, now):
                places[(memory.scope.owner, memory.memory_type)].append(handle)
        found: dict[Handle, dict[Handle, float]] = {}
        for (owner, memory_type), queries in places.items():
            candidates = await self._candidates(owner, memory_type, now)
            if len(candidates) > 1:
                vectors = await vectors_of(self._link, self._index, candidates, model=model)
                found |= _nearest_of(queries, vectors, distance_max=distance_max, limit=limit)
        return found

    async def _candidates(self, owner: Scope, memory_type: MemoryType, now: datetime) -> list[str]:
        tag = "o" + naming.owner_digest(owner.namespace, owner.user_id)
        text = (
            f"(@s:{{{naming.index_token(owner.tenant, tag, live=True)}}} @typ:{{{naming.digest(memory_type.value)}}})"
        )
        rows = await walk(self._index, text, PLAIN_FIELDS, limit=None, after=None)
        found: list[str] = []
        for handle, row in rows:
            memory = memory_of_fields([row.get(name.encode()) for name in PLAIN_FIELDS])
            if memory is not None and _is_comparable(memory, now):
                found.append(handle)
        return found


def _member(due: Due) -> str:
    return f"{due.stage.value}:{naming.owner_digest(due.owner.namespace, due.owner.user_id)}:{due.handle}"


def _is_comparable(memory: Memory, now: datetime) -> bool:
    return (
        memory.superseded_by is None
        and not memory.pinned
        and memory.memory_type is not MemoryType.MESSAGE
        and memory.extraction_strategy != StrategyName.SUMMARY.value
        and (memory.expires_at is None or memory.expires_at > now)
    )


def _nearest_of(
    queries: Sequence[str], vectors: Mapping[Handle, object], *, distance_max: float, limit: int
) -> dict[Handle, dict[Handle, float]]:
    """Exact distances of these memories to all that have a vector, the nearest first."""
    held = sorted(str(handle) for handle in vectors)
    asked = [place for place, handle in enumerate(held) if handle in set(queries)]
    if len(held) < 2 or not asked:
        return {}
    matrix = np.stack([np.asarray(vectors[handle], dtype=np.float32) for handle in held])
    distances = np.clip(1.0 - matrix[asked] @ matrix.T, 0.0, 2.0)
    found: dict[Handle, dict[Handle, float]] = {}
    for row, place in zip(distances, asked, strict=True):
        near = [
            other for other in np.argsort(row, kind="stable") if other != place and row[other] <= distance_max + _DELTA
        ]
        found[held[place]] = {held[other]: float(row[other]) for other in near[:limit]}
    return found
