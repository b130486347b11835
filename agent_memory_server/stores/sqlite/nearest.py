"""The vector side of search: exact cosine over what the filter leaves, and a packed copy for very large selections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import orjson
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.search import VectorCandidates
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import micros
from agent_memory_server.stores.sqlite.filtering import Condition, narrowing
from agent_memory_server.stores.sqlite.scoping import Selection, selected
from agent_memory_server.stores.sqlite.sign_bits import PackedVectors
from agent_memory_server.stores.sqlite.vectors import known_space

EXACT_MAX = 20_000
"""Selections up to this many vectors are compared exactly, one by one; larger ones through their sign bits first."""

# All vectors as one value: SQLite joins the bytes, so that one step of the statement (and one turn of the interpreter
# lock) fetches them, however many. Text in SQLite is bytes with a length, so nothing is converted on the way.
_JOINED = "json_group_array(v.handle), CAST(group_concat(CAST(v.vector AS TEXT), '') AS BLOB)"


def nothing() -> VectorCandidates:
    return VectorCandidates(handles=[], distances=np.empty(0, dtype=np.float32), total=0)


def nearest(
    connected: Connected,
    packed: PackedVectors,
    criteria: MemoryFilter,
    *,
    vector: Vector,
    model: str,
    now: datetime,
    limit: int,
    distance_max: float | None,
) -> VectorCandidates:
    """The port's ``nearest`` within one read."""
    space_id = known_space(connected, model)
    selection = selected(connected, criteria.selector, namespace=criteria.namespace, user_id=criteria.user_id)
    if space_id is None or selection is None:
        return nothing()
    query = _unit(vector)
    condition = _matching(criteria, selection, space_id=space_id, now=now)
    if selection.single is None:
        total: int = connected.value(f"SELECT count(*) FROM vectors AS v WHERE {condition.sql}", condition.values)
        if total > EXACT_MAX:
            chosen = _nearest_by_sign(
                connected, packed, condition, query=query, space_id=space_id, tenant_id=selection.tenant_id, limit=limit
            )
            if chosen is not None:
                handles, vectors = chosen
                return _ranked(handles, vectors, query, total=total, limit=limit, distance_max=distance_max)
    handles, vectors = _fetched(connected, condition, dimensions=query.size)
    return _ranked(handles, vectors, query, total=len(handles), limit=limit, distance_max=distance_max)


def _matching(criteria: MemoryFilter, selection: Selection, *, space_id: int, now: datetime) -> Condition:
    """The vectors of matching memories: by their own columns as far as possible, since reading the memories costs more."""
    conditions = [Condition("v.space_id = ?", (space_id,))]
    place = selection.condition("v")
    if selection.scope_ids is not None and selection.single is None:
        place = Condition(f"{place.sql}", place.values)
    conditions.append(place)
    if criteria.is_scope_only:
        if not criteria.include_superseded:
            conditions.append(Condition("v.live = 1"))
        owned = selection.condition("e")
        conditions.append(
            Condition(
                "v.handle NOT IN (SELECT e.handle FROM memories AS e INDEXED BY memories_expiring "
                f"WHERE {owned.sql} AND e.expires_at <= ?)",
                (*owned.values, micros(now)),
            )
        )
    else:
        owned = selection.condition("m")
        narrowed = narrowing(criteria, now, tenant_id=selection.tenant_id, scope_id=selection.single)
        conditions.append(
            Condition(
                f"v.handle IN (SELECT m.handle FROM memories AS m WHERE {owned.sql} AND {narrowed.sql})",
                (*owned.values, *narrowed.values),
            )
        )
    return Condition.all_of(*conditions)


def _unit(vector: Vector) -> Vector:
    query = np.ascontiguousarray(vector, dtype=np.float32)
    norm = float(np.linalg.norm(query))
    return query / np.float32(norm) if norm > 0 else query


def _fetched(
    connected: Connected, condition: Condition, *, dimensions: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    row = connected.one(
        f"SELECT {_JOINED} FROM vectors AS v WHERE {condition.sql} AND length(v.vector) = ?",
        (*condition.values, dimensions * 4),
    )
    return _unpacked(row, dimensions)


def _unpacked(row: tuple[object, ...] | None, dimensions: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if row is None or row[1] is None:
        return np.empty(0, dtype=np.int64), np.empty((0, dimensions), dtype=np.float32)
    handles, joined = row
    assert isinstance(handles, str)
    assert isinstance(joined, bytes)
    numbers = np.array(orjson.loads(handles), dtype=np.int64)
    return numbers, np.frombuffer(joined, dtype="<f4").reshape(len(numbers), dimensions)


def vectors_of(
    connected: Connected, handles: Sequence[int], *, space_id: int, dimensions: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The stored vectors of these memories; those without one are missing. All have the same dimension."""
    row = connected.one(
        f"SELECT {_JOINED}, min(length(v.vector)), max(length(v.vector)) FROM json_each(?) AS h "
        "JOIN memories AS m ON m.handle = h.value JOIN vectors AS v "
        "ON v.space_id = ? AND v.tenant_id = m.tenant_id AND v.scope_id = m.scope_id AND v.handle = m.handle"
        + ("" if dimensions is None else " AND length(v.vector) = ?"),
        (
            orjson.dumps(list(handles)).decode(),
            space_id,
            *(() if dimensions is None else (dimensions * 4,)),
        ),
    )
    if row is None or row[1] is None:
        return _unpacked(None, dimensions or 0)
    return _unpacked(row[:2], row[3] // 4)


def _nearest_by_sign(
    connected: Connected,
    packed: PackedVectors,
    condition: Condition,
    *,
    query: Vector,
    space_id: int,
    tenant_id: int,
    limit: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    """The stored vectors of those whose sign bits are nearest; None when this selection does not lend itself to it."""
    copy = packed.current(connected, space_id=space_id, tenant_id=tenant_id, dimensions=query.size)
    if copy is None:
        return None
    text = connected.value(
        f"SELECT json_group_array(v.handle) FROM vectors AS v WHERE {condition.sql}", condition.values
    )
    allowed = np.array(orjson.loads(text), dtype=np.int64)
    chosen = copy.nearest(query, allowed=allowed, limit=limit)
    return vectors_of(connected, chosen.tolist(), space_id=space_id, dimensions=query.size)


def _ranked(
    handles: NDArray[np.int64],
    vectors: NDArray[np.float32],
    query: Vector,
    *,
    total: int,
    limit: int,
    distance_max: float | None,
) -> VectorCandidates:
    """By distance, then handle. The vectors are of unit length, so the product is the cosine."""
    if not len(handles) or limit <= 0:
        return VectorCandidates(handles=[], distances=np.empty(0, dtype=np.float32), total=total)
    distances = np.clip(1.0 - vectors @ query, 0.0, 2.0).astype(np.float32)
    if distance_max is not None:
        within = distances <= np.float32(distance_max)
        handles, distances = handles[within], distances[within]
    if len(handles) > limit:
        # All that tie with the last one stay in, so that the handle decides between them.
        last = np.partition(distances, limit - 1)[limit - 1]
        near = distances <= last
        handles, distances = handles[near], distances[near]
    order = np.lexsort((handles, distances))[:limit]
    return VectorCandidates(handles=handles[order].tolist(), distances=distances[order], total=total)
