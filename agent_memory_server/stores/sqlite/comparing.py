"""Memories that are due to be compared, exact copies, and neighbours by stored vectors, over SQLite.

Marks are written with the change that causes them (``comparison_marks``). Neighbours are looked for an owner scope at a time: its
vectors are read once for all the memories that are compared there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
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
from agent_memory_server.stores.sqlite.encoding import micros
from agent_memory_server.stores.sqlite.filtering import Condition
from agent_memory_server.stores.sqlite.listing import fetched
from agent_memory_server.stores.sqlite.nearest import EXACT_MAX, vectors_of
from agent_memory_server.stores.sqlite.packed_vectors import PackedVectors
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.scoping import known_scope, selected
from agent_memory_server.stores.sqlite.vectors import known_space
from agent_memory_server.stores.sqlite.writing import Writer

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

    def __init__(self, readers: Readers, writer: Writer, packed: PackedVectors) -> None:
        self._readers = readers
        self._writer = writer
        self._packed = packed

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
        found: Found = {}
        numbers = [handle for handle in handles if isinstance(handle, int)]
        for start in range(0, len(numbers), _QUERIES_AT_ONCE):
            some = numbers[start : start + _QUERIES_AT_ONCE]
            found |= await self._readers.run(
                lambda connected, some=some: _near(
                    connected, self._packed, some, model=model, now=now, distance_max=distance_max, limit=limit
                )
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


def _near(
    connected: Connected,
    packed: PackedVectors,
    handles: Sequence[int],
    *,
    model: str,
    now: datetime,
    distance_max: float,
    limit: int,
) -> Found:
    space_id = known_space(connected, model)
    if space_id is None:
        return {}
    rows = connected.rows(
        "SELECT m.handle, m.tenant_id, m.scope_id, m.memory_type FROM json_each(?) AS h CROSS JOIN memories AS m "
        f"WHERE m.handle = h.value AND {_COMPARABLE}",
        (orjson.dumps(list(handles)).decode(), micros(now)),
    )
    places: defaultdict[_Place, list[int]] = defaultdict(list)
    for handle, tenant_id, scope_id, memory_type in rows:
        places[(tenant_id, scope_id, memory_type)].append(handle)
    found: Found = {}
    for place, queries in places.items():
        candidates = _comparable(connected, place, now_us=micros(now))
        if len(candidates) < 2:
            continue
        if len(candidates) > EXACT_MAX:
            chosen = _chosen_by_packed(connected, packed, place, queries, candidates, space_id, distance_max)
        else:
            chosen = candidates
        found |= _compared(connected, queries, chosen, space_id=space_id, distance_max=distance_max, limit=limit)
    return found


def _comparable(connected: Connected, place: _Place, *, now_us: int) -> NDArray[np.int64]:
    text = connected.value(
        "SELECT json_group_array(m.handle) FROM memories AS m "
        f"WHERE m.tenant_id = ? AND m.scope_id = ? AND m.memory_type = ? AND {_COMPARABLE}",
        (*place, now_us),
    )
    return np.array(orjson.loads(text), dtype=np.int64)


def _compared(
    connected: Connected,
    queries: Sequence[int],
    candidates: NDArray[np.int64],
    *,
    space_id: int,
    distance_max: float,
    limit: int,
) -> Found:
    """Exact distances of these memories to the candidates."""
    wanted = np.union1d(candidates, np.array(queries, dtype=np.int64))
    held, vectors = vectors_of(connected, wanted.tolist(), space_id=space_id)
    if not len(held):
        return {}
    order = np.argsort(held)
    held, vectors = held[order], vectors[order]
    asked = np.isin(held, np.array(queries, dtype=np.int64)).nonzero()[0]
    found: Found = {}
    # One product of matrices for all of them; a single thread of BLAS does it, see cli/__init__.py.
    distances = np.clip(1.0 - vectors[asked] @ vectors.T, 0.0, 2.0)
    for row, place in zip(distances, asked, strict=True):
        near = (row <= distance_max + _DELTA).nonzero()[0]
        near = near[near != place]
        nearest = near[np.lexsort((held[near], row[near]))][:limit]
        found[int(held[place])] = {int(held[other]): float(row[other]) for other in nearest}
    return found


def _chosen_by_packed(
    connected: Connected,
    packed: PackedVectors,
    place: _Place,
    queries: Sequence[int],
    candidates: NDArray[np.int64],
    space_id: int,
    distance_max: float,
) -> NDArray[np.int64]:
    """Of a very large scope, those that may lie within the threshold of any of these: the rest is never read."""
    held, asked = vectors_of(connected, queries, space_id=space_id)
    if not len(held):
        return held
    copy = packed.current(connected, space_id=space_id, tenant_id=place[0], dimensions=asked.shape[1])
    rows = np.isin(copy.handles, candidates).nonzero()[0]
    needed: Vector = np.full(len(held), 1.0 - distance_max - _PACKED_ERROR_MAX, dtype=np.float32)
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
