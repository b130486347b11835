"""The vector side of search: exact cosine over what the filter leaves, computed by the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.search import Handle, VectorCandidates
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.index import Index, rows_of
from agent_memory_server.stores.redis.queries import query_of
from agent_memory_server.stores.redis.rows import space_token, tokens_field

_READ_AT_ONCE = 500


def nothing() -> VectorCandidates:
    return VectorCandidates(handles=[], distances=np.empty(0, dtype=np.float32), total=0)


async def nearest(
    index: Index,
    criteria: MemoryFilter,
    *,
    vector: Vector,
    model: str,
    now: datetime,
    limit: int,
    distance_max: float | None,
) -> VectorCandidates:
    """The port's ``nearest``: exact for every scope."""
    space = space_token(model, vector.size)
    query = await query_of(index, criteria, now)
    if query is None or (space not in index.known_spaces and space not in await index.spaces()):
        return nothing()
    held = f"({query.text} @sp:{{{space}}})"
    wanted = max(1, limit)
    counted, answer = await index.searches(
        ("FT.SEARCH", held, "LIMIT", 0, 0),
        (
            "FT.SEARCH", f"{held}=>[KNN {wanted} @{space} $vector AS distance]", "PARAMS", 2, "vector", unit(vector).tobytes(),
            "RETURN", 1, "distance", "SORTBY", "distance", "ASC", "LIMIT", 0, wanted,
        ),
    )  # fmt: skip
    found = sorted(
        (max(0.0, float(row[b"distance"])), naming.handle_of_key(key))
        for key, row in rows_of(answer)
        if b"distance" in row
    )[:limit]
    if distance_max is not None:
        found = [each for each in found if each[0] <= distance_max]
    return VectorCandidates(
        handles=[handle for _, handle in found],
        distances=np.array([distance for distance, _ in found], dtype=np.float32),
        total=counted[0],
    )


def unit(vector: Vector) -> Vector:
    """The vector at length one, as it is stored."""
    query = np.ascontiguousarray(vector, dtype="<f4")
    norm = float(np.linalg.norm(query))
    return np.asarray(query / np.float32(norm), dtype="<f4") if norm > 0 else query


async def vectors_of(link: Link, index: Index, handles: Sequence[str], *, model: str) -> Mapping[Handle, Vector]:
    """The stored vectors of these memories; those without one are missing."""
    spaces = [space for space, (named, _) in (await index.spaces()).items() if named == model]
    found: dict[Handle, Vector] = {}
    if not spaces:
        return found
    for first in range(0, len(handles), _READ_AT_ONCE):
        some = handles[first : first + _READ_AT_ONCE]
        answers = await link.reads(*(("HMGET", naming.memory_key(handle), *spaces) for handle in some))
        for handle, values in zip(some, answers, strict=True):
            for value in values:
                if value is not None:
                    found[handle] = np.frombuffer(value, dtype="<f4")
    return found


async def token_vectors(link: Link, handles: Sequence[str], *, model: str) -> Mapping[Handle, bytes]:
    """The packed vectors of these memories' words; those without are missing."""
    found: dict[Handle, bytes] = {}
    field = tokens_field(model)
    for first in range(0, len(handles), _READ_AT_ONCE):
        some = handles[first : first + _READ_AT_ONCE]
        answers = await link.reads(*(("HGET", naming.memory_key(handle), field) for handle in some))
        found.update({handle: value for handle, value in zip(some, answers, strict=True) if value is not None})
    return found
