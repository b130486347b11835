"""The vector side of search: exact cosine over what the filter leaves, and a packed copy for very large selections.

An owner's few memories are read from the file, thousands are held in memory as they are stored (``held_vectors``), and beyond
some ten thousands a packed copy (``packed_vectors``) says which are worth an exact comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import orjson
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.search import VectorCandidates
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.filtering import Condition, narrowing
from agent_memory_server.stores.sqlite.held_vectors import HeldVectors, Owned
from agent_memory_server.stores.sqlite.packed_vectors import PackedCopy, PackedKey, PackedVectors, taking_part
from agent_memory_server.stores.sqlite.scoping import Selection, selected
from agent_memory_server.stores.sqlite.vectors import known_space
from agent_memory_server.stores.values import micros

EXACT_MAX = 20_000
"""Selections up to this many vectors are compared exactly, one by one; larger ones through a packed copy first."""

EXACT_TENANT_MAX = 4_000
"""The same for a whole tenant, whose packed copy is of that tenant alone: ten thousand exact comparisons took 40 ms, most of
them to fetch the vectors; a hundred thousand packed ones take 10."""

# All vectors as one value: SQLite joins the bytes, so that one step of the statement (and one turn of the interpreter
# lock) fetches them, however many. Text in SQLite is bytes with a length, so nothing is converted on the way.
_JOINED = "json_group_array(v.handle), CAST(group_concat(CAST(v.vector AS TEXT), '') AS BLOB)"


_NONE = np.empty(0, dtype=np.int64)


def nothing() -> VectorCandidates:
    return VectorCandidates(handles=[], distances=np.empty(0, dtype=np.float32), total=0)


def nearest(
    connected: Connected,
    packed: PackedVectors,
    held: HeldVectors,
    criteria: MemoryFilter,
    *,
    vector: Vector,
    model: str,
    now: datetime,
    limit: int,
    distance_max: float | None,
) -> VectorCandidates | PackedKey:
    """The port's ``nearest`` within one read; or which packed copy has to be built first (``PackedVectors.current``)."""
    space_id = known_space(connected, model)
    selection = selected(connected, criteria.selector, namespace=criteria.namespace, user_id=criteria.user_id)
    if space_id is None or selection is None:
        return nothing()
    query = _unit(vector)
    documents = _documents(connected, selection)
    if documents > (EXACT_TENANT_MAX if selection.scope_ids is None else EXACT_MAX):
        connected.leave_event_loop()
        key = PackedKey(space_id, selection.tenant_id, query.size)
        copy = packed.at_hand(connected, key)
        if copy is None:
            return key
        return _nearest_of_many(
            connected,
            copy,
            criteria,
            selection,
            query,
            space_id=space_id,
            now=now,
            limit=limit,
            distance_max=distance_max,
        )
    if selection.single is not None and held.holds(documents, query.size):
        owned = Owned(space_id, selection.tenant_id, selection.single, query.size)
        return _nearest_of_held(
            connected, held, criteria, selection, query, owned, now=now, limit=limit, distance_max=distance_max
        )
    condition = _matching(criteria, selection, space_id=space_id, now=now)
    handles, vectors = _fetched(connected, condition, dimensions=query.size)
    return _ranked(handles, _distances(vectors, query), limit=limit, distance_max=distance_max)


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


def _unpacked(row: Row | None, dimensions: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if row is None or row[1] is None:
        return np.empty(0, dtype=np.int64), np.empty((0, dimensions), dtype=np.float32)
    handles, joined = row
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


def _documents(connected: Connected, selection: Selection) -> int:
    """How many live memories there are, by the scopes' own counts, which cost nothing."""
    if selection.scope_ids is None:
        held = connected.value("SELECT sum(documents) FROM scopes WHERE tenant_id = ?", (selection.tenant_id,))
    else:
        ids = orjson.dumps(selection.scope_ids).decode()
        held = connected.value("SELECT sum(documents) FROM scopes WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    return held or 0


def _nearest_of_held(
    connected: Connected,
    held: HeldVectors,
    criteria: MemoryFilter,
    selection: Selection,
    query: Vector,
    owned: Owned,
    *,
    now: datetime,
    limit: int,
    distance_max: float | None,
) -> VectorCandidates:
    """Compare one owner's vectors in memory."""
    found = held.current(connected, owned)
    if criteria.is_scope_only:
        allowed, without = None, _expired(connected, selection, now)
    else:
        allowed, without = _allowed(connected, criteria, selection, now), _NONE
    mask = taking_part(
        found.handles, found.live, allowed=allowed, without=without, include_superseded=criteria.include_superseded
    )
    if mask.all():
        handles, vectors = found.handles, found.vectors
    else:
        handles, vectors = found.handles[mask], found.vectors[mask]
    return _ranked(handles, _distances(vectors, query), limit=limit, distance_max=distance_max)


def _expired(connected: Connected, selection: Selection, now: datetime) -> NDArray[np.int64]:
    """Memories that expired and wait to be removed."""
    owned = selection.condition("m")
    text = connected.value(
        "SELECT json_group_array(m.handle) FROM memories AS m INDEXED BY memories_expiring "
        f"WHERE {owned.sql} AND m.expires_at <= ?",
        (*owned.values, micros(now)),
    )
    return np.array(orjson.loads(text), dtype=np.int64)


def _allowed(connected: Connected, criteria: MemoryFilter, selection: Selection, now: datetime) -> NDArray[np.int64]:
    """Every memory that matches the filter."""
    owned = selection.condition("m")
    narrowed = narrowing(criteria, now, tenant_id=selection.tenant_id, scope_id=selection.single)
    text = connected.value(
        f"SELECT json_group_array(m.handle) FROM memories AS m WHERE {owned.sql} AND {narrowed.sql}",
        (*owned.values, *narrowed.values),
    )
    return np.array(orjson.loads(text), dtype=np.int64)


def _nearest_of_many(
    connected: Connected,
    copy: PackedCopy,
    criteria: MemoryFilter,
    selection: Selection,
    query: Vector,
    *,
    space_id: int,
    now: datetime,
    limit: int,
    distance_max: float | None,
) -> VectorCandidates:
    """Choose by the tenant's packed copy, then compare the stored vectors of what was chosen."""
    if criteria.is_scope_only and selection.scope_ids is None:
        allowed, without = None, _expired(connected, selection, now)
    else:
        allowed, without = _allowed(connected, criteria, selection, now), _NONE
    mask = taking_part(
        copy.handles, copy.live, allowed=allowed, without=without, include_superseded=criteria.include_superseded
    )
    rows = copy.nearest(query, mask=mask, limit=limit)
    handles, vectors = _stored_vectors(
        connected, copy, rows, space_id=space_id, tenant_id=selection.tenant_id, dimensions=query.size
    )
    return _ranked(handles, _distances(vectors, query), total=int(mask.sum()), limit=limit, distance_max=distance_max)


def _stored_vectors(
    connected: Connected,
    copy: PackedCopy,
    rows: NDArray[np.int64],
    *,
    space_id: int,
    tenant_id: int,
    dimensions: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The vectors as stored of these rows, read in the order in which they lie in the file."""
    rows = rows[np.lexsort((copy.handles[rows], copy.scopes[rows]))]
    places = np.stack([copy.scopes[rows], copy.handles[rows]], axis=1)
    row = connected.one(
        f"SELECT {_JOINED} FROM json_each(?) AS h CROSS JOIN vectors AS v ON v.space_id = ? AND v.tenant_id = ? "
        "AND v.scope_id = h.value ->> 0 AND v.handle = h.value ->> 1 AND length(v.vector) = ?",
        (orjson.dumps(places, option=orjson.OPT_SERIALIZE_NUMPY).decode(), space_id, tenant_id, dimensions * 4),
    )
    return _unpacked(row, dimensions)


def _distances(vectors: NDArray[np.float32], query: Vector) -> NDArray[np.float32]:
    """Of each row. All are of unit length, so the product is the cosine."""
    return np.clip(1.0 - np.einsum("ij,j->i", vectors, query), 0.0, 2.0).astype(np.float32)


def _ranked(
    handles: NDArray[np.int64],
    distances: NDArray[np.float32],
    *,
    limit: int,
    distance_max: float | None,
    total: int | None = None,
) -> VectorCandidates:
    """By distance, then handle. ``total``: how many there are where not all of them were compared."""
    total = len(handles) if total is None else total
    if not len(handles) or limit <= 0:
        return VectorCandidates(handles=[], distances=np.empty(0, dtype=np.float32), total=total)
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
