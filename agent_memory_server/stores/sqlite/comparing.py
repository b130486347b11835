"""Memories that are due to be compared, exact copies, and neighbours by stored vectors, over SQLite.

Marks are written with the change that causes them (``comparison_marks``). Neighbours are looked for an owner scope at a time: its
vectors are read once for all the memories that are compared there.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import orjson
from numpy.typing import NDArray

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import Handle
from agent_memory_server.domain.strategies import StrategyName
from agent_memory_server.ports.comparisons import Due, Stage
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.filtering import Condition
from agent_memory_server.stores.sqlite.listing import fetched
from agent_memory_server.stores.sqlite.nearest import EXACT_MAX, vectors_of
from agent_memory_server.stores.sqlite.packed_vectors import PackedCopy, PackedVectors
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.scoping import known_scope, selected
from agent_memory_server.stores.sqlite.vectors import known_space
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import micros

_QUERIES_AT_ONCE = 512
"""Memories whose neighbours are looked for in one read: bounds its time and memory."""
_ROWS_AT_ONCE = 8_192
_PACKED_ERROR_MAX = 0.01
"""How much a distance by packed vectors may be off: what is this near beyond the threshold is compared exactly."""
_NOTED_AT_ONCE = 1_000
_DELTA = 1e-6

Found = dict[Handle, dict[Handle, float]]
_Place = tuple[int, int, str]
"""(tenant, scope, memory type): what is compared with each other."""

_COMPARABLE = (
    "m.superseded_by IS NULL AND m.pinned = 0 AND m.has_vector = 1 AND m.memory_type <> 'message' "
    f"AND m.strategy <> '{StrategyName.SUMMARY.value}' AND (m.expires_at IS NULL OR m.expires_at > ?)"
)


class SqliteComparisons:
    """``ports.comparisons.ComparisonStore`` over one file."""

    def __init__(self, readers: Readers, writer: Writer, packed: PackedVectors, *, exact_max: int = EXACT_MAX) -> None:
        """``exact_max``: an owner with more memories than this is compared through packed vectors first."""
        self._readers = readers
        self._writer = writer
        self._packed = packed
        self._exact_max = exact_max

    async def tenants_due(self, *, stage_max: Stage) -> Sequence[str]:
        rows = await self._readers.run(
            lambda connected: connected.rows(
                "SELECT name FROM tenants AS t WHERE EXISTS "
                "(SELECT 1 FROM comparisons_due AS d WHERE d.tenant_id = t.id AND d.stage <= ?) ORDER BY t.id",
                (stage_max.value,),
            )
        )
        return [name for (name,) in rows]

    async def due(
        self, selector: ScopeSelector, /, *, stage_max: Stage, limit: int, after: Due | None = None
    ) -> Sequence[Due]:
        return await self._readers.run(
            lambda connected: _due(connected, selector, stage_max=stage_max, limit=limit, after=after)
        )

    async def compared(self, due: Sequence[Due], /, *, stage: Stage | None, failed: bool = False) -> int:
        noted = 0
        for start in range(0, len(due), _NOTED_AT_ONCE):
            some = orjson.dumps([(each.handle, each.stamp) for each in due[start : start + _NOTED_AT_ONCE]]).decode()
            noted += await self._writer.run(lambda connected, some=some: _noted(connected, some, stage, failed))
        return noted

    async def copies(self, due: Sequence[Due], /, *, now: datetime) -> Sequence[Sequence[Memory]]:
        handles = orjson.dumps([each.handle for each in due]).decode()
        return await self._readers.run(lambda connected: _copies(connected, handles, micros(now)))

    async def near(
        self, handles: Sequence[Handle], /, *, model: str, now: datetime, distance_max: float, limit: int
    ) -> Mapping[Handle, Mapping[Handle, float]]:
        numbers = [handle for handle in handles if isinstance(handle, int)]
        asked = await self._readers.run(
            lambda connected: _places(connected, numbers, model=model, now_us=micros(now), exact_max=self._exact_max)
        )
        if asked is None:
            return {}
        within = _Within(space_id=asked.space_id, now_us=micros(now), distance_max=distance_max, limit=limit)
        found: Found = {}
        for some in _portions(asked.small):
            found |= await self._readers.run(lambda connected, some=some: _near(connected, some, within))
        for place, queries in asked.large:
            found |= await self._near_in_large(place, queries, within)
        return found

    async def _near_in_large(self, place: _Place, queries: Sequence[int], within: _Within) -> Found:
        """In portions, and with the products between the reads: a read has a time limit that they would use up."""
        candidates, copy = await self._readers.run(lambda connected: _packed(connected, self._packed, place, within))
        rows = np.isin(copy.handles, candidates).nonzero()[0]
        found: Found = {}
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            some = queries[start : start + _QUERIES_AT_ONCE]
            held, asked = await self._readers.run(
                lambda connected, some=some: vectors_of(
                    connected, some, space_id=within.space_id, dimensions=copy.codes.shape[1]
                )
            )
            if len(held):
                chosen = await asyncio.to_thread(_chosen_by_packed, copy, rows, held, asked, within.distance_max)
                found |= await self._readers.run(
                    lambda connected, some=some, chosen=chosen: _compared(connected, some, chosen, within)
                )
        return found


def _due(
    connected: Connected, selector: ScopeSelector, *, stage_max: Stage, limit: int, after: Due | None
) -> list[Due]:
    selection = selected(connected, selector)
    if selection is None:
        return []
    where = selection.condition("d")
    if after is not None:
        owner = after.owner
        scope_id = known_scope(connected, owner.tenant, owner.namespace, owner.user_id)
        place = (after.stage.value, scope_id, after.handle)
        where = Condition.all_of(where, Condition("(d.stage, d.scope_id, d.handle) > (?, ?, ?)", place))
    rows = connected.rows(
        "SELECT d.handle, s.namespace, s.user_id, d.stage, d.attempts, d.stamp FROM comparisons_due AS d "
        f"JOIN scopes AS s ON s.id = d.scope_id WHERE {where.sql} AND d.stage <= ? "
        "ORDER BY d.stage, d.scope_id, d.handle LIMIT ?",
        (*where.values, stage_max.value, limit),
    )
    return [
        Due(
            handle=handle,
            owner=Scope(selector.tenant, namespace, user_id),
            stage=Stage(stage),
            attempts=attempts,
            stamp=stamp,
        )
        for handle, namespace, user_id, stage, attempts, stamp in rows
    ]


def _noted(connected: Connected, stamped: str, stage: Stage | None, failed: bool) -> int:
    these = (
        "handle IN (SELECT d.handle FROM json_each(?1) AS j CROSS JOIN comparisons_due AS d "
        "WHERE d.handle = j.value ->> 0 AND d.stamp = j.value ->> 1)"
    )
    if stage is None:
        return connected.changed(f"DELETE FROM comparisons_due WHERE {these}", (stamped,))
    return connected.changed(
        f"UPDATE comparisons_due SET stage = ?2, attempts = attempts + ?3 WHERE {these}",
        (stamped, stage.value, int(failed)),
    )


def _copies(connected: Connected, handles: str, now_us: int) -> list[list[Memory]]:
    connected.leave_event_loop()
    rows = connected.rows(
        "SELECT json_group_array(x.handle ORDER BY x.created_at, x.id) FROM ("
        "SELECT DISTINCT m.tenant_id, m.memory_hash, m.scope_id FROM json_each(?1) AS h "
        "CROSS JOIN memories AS m WHERE m.handle = h.value AND m.memory_hash <> '') AS d "
        "CROSS JOIN memories AS x WHERE x.tenant_id = d.tenant_id AND x.memory_hash = d.memory_hash "
        "AND x.scope_id = d.scope_id AND x.superseded_by IS NULL AND (x.expires_at IS NULL OR x.expires_at > ?2) "
        "AND NOT (x.memory_type = 'message' AND x.strategy = 'message') "
        "GROUP BY d.tenant_id, d.memory_hash, d.scope_id HAVING count(*) > 1",
        (handles, now_us),
    )
    groups: list[list[int]] = [orjson.loads(text) for (text,) in rows]
    memories = fetched(connected, [handle for group in groups for handle in group]) if groups else {}
    return [[memories[handle] for handle in group] for group in groups]


@dataclass(frozen=True, slots=True)
class _Within:
    """What a search for neighbours keeps to."""

    space_id: int
    now_us: int
    distance_max: float
    limit: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """The memories whose neighbours are asked for, by place: small owners together, and those with very many memories."""

    space_id: int
    small: list[tuple[_Place, list[int]]]
    large: list[tuple[_Place, list[int]]]


def _places(connected: Connected, handles: Sequence[int], *, model: str, now_us: int, exact_max: int) -> _Asked | None:
    space_id = known_space(connected, model)
    if space_id is None:
        return None
    rows = connected.rows(
        "SELECT m.handle, m.tenant_id, m.scope_id, m.memory_type, s.documents FROM json_each(?) AS h "
        "CROSS JOIN memories AS m JOIN scopes AS s ON s.id = m.scope_id "
        f"WHERE m.handle = h.value AND {_COMPARABLE}",
        (orjson.dumps(list(handles)).decode(), now_us),
    )
    small: defaultdict[_Place, list[int]] = defaultdict(list)
    large: defaultdict[_Place, list[int]] = defaultdict(list)
    for handle, tenant_id, scope_id, memory_type, documents in rows:
        (large if documents > exact_max else small)[(tenant_id, scope_id, memory_type)].append(handle)
    return _Asked(space_id, list(small.items()), list(large.items()))


def _portions(places: list[tuple[_Place, list[int]]]) -> Iterator[list[tuple[_Place, list[int]]]]:
    """Places that are read together: as many as hold a bounded number of memories, or a part of a single one."""
    portion: list[tuple[_Place, list[int]]] = []
    held = 0
    for place, queries in places:
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            some = queries[start : start + _QUERIES_AT_ONCE]
            if portion and held + len(some) > _QUERIES_AT_ONCE:
                yield portion
                portion, held = [], 0
            portion.append((place, some))
            held += len(some)
    if portion:
        yield portion


def _near(connected: Connected, places: Sequence[tuple[_Place, list[int]]], within: _Within) -> Found:
    connected.leave_event_loop()
    found: Found = {}
    for place, queries in places:
        candidates = _comparable(connected, place, now_us=within.now_us)
        if len(candidates) > 1:
            found |= _compared(connected, queries, candidates, within)
    return found


def _packed(
    connected: Connected, packed: PackedVectors, place: _Place, within: _Within
) -> tuple[NDArray[np.int64], PackedCopy]:
    """What may be compared in a very large place, and the tenant's packed copy."""
    connected.leave_event_loop()
    dimensions = connected.value(
        "SELECT length(vector) / 4 FROM vectors WHERE space_id = ? AND tenant_id = ? AND scope_id = ? LIMIT 1",
        (within.space_id, *place[:2]),
    )
    copy = packed.current(connected, space_id=within.space_id, tenant_id=place[0], dimensions=dimensions or 0)
    return _comparable(connected, place, now_us=within.now_us), copy


def _comparable(connected: Connected, place: _Place, *, now_us: int) -> NDArray[np.int64]:
    text = connected.value(
        "SELECT json_group_array(m.handle) FROM memories AS m "
        f"WHERE m.tenant_id = ? AND m.scope_id = ? AND m.memory_type = ? AND {_COMPARABLE}",
        (*place, now_us),
    )
    return np.array(orjson.loads(text), dtype=np.int64)


def _compared(connected: Connected, queries: Sequence[int], candidates: NDArray[np.int64], within: _Within) -> Found:
    """Exact distances of these memories to the candidates."""
    connected.leave_event_loop()
    wanted = np.union1d(candidates, np.array(queries, dtype=np.int64))
    held, vectors = vectors_of(connected, wanted.tolist(), space_id=within.space_id)
    if not len(held):
        return {}
    order = np.argsort(held)
    held, vectors = held[order], vectors[order]
    asked = np.isin(held, np.array(queries, dtype=np.int64)).nonzero()[0]
    found: Found = {}
    # One product of matrices for all of them; a single thread of BLAS does it, see cli/__init__.py.
    distances = np.clip(1.0 - vectors[asked] @ vectors.T, 0.0, 2.0)
    for row, place in zip(distances, asked, strict=True):
        near = (row <= within.distance_max + _DELTA).nonzero()[0]
        near = near[near != place]
        nearest = near[np.lexsort((held[near], row[near]))][: within.limit]
        found[int(held[place])] = {int(held[other]): float(row[other]) for other in nearest}
    return found


def _chosen_by_packed(
    copy: PackedCopy, rows: NDArray[np.int64], held: NDArray[np.int64], asked: Vector, distance_max: float
) -> NDArray[np.int64]:
    """Of a very large owner's memories, those that may lie within the threshold of any of these: the rest is never read."""
    needed = np.float32(1.0 - distance_max - _PACKED_ERROR_MAX)
    chosen: list[NDArray[np.int64]] = []
    transposed = np.ascontiguousarray(asked.T)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        products = copy.codes[part].astype(np.float32) @ transposed
        near = products * copy.scales[part, None] >= needed
        # Every memory is near itself: only what is near to another is worth reading.
        near &= copy.handles[part, None] != held
        chosen.append(copy.handles[part][near.any(axis=1)])
    return np.concatenate(chosen) if chosen else held[:0]
