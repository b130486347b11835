"""Duplicates by meaning: which memories lie near each other, hold together, and are parted by no rule.

Only stored vectors are compared. The nearest by meaning count whether or not they share a word: a duplicate that has no word in
common would be hidden by a search that fuses both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from agent_memory_server.domain.cohesion import Near, cohesive_groups
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.sameness import difference, marks_of
from agent_memory_server.domain.search import Handle
from agent_memory_server.ports.comparisons import ComparisonStore
from agent_memory_server.ports.memories import MemoryStore

NEIGHBOURS_MAX = 64
"""Nearest memories that are looked at for each: beyond a cluster of this size, compaction takes several rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """What was found around some memories: who is near whom, less the pairs that a rule parts, and what they are."""

    memories: Mapping[Handle, Memory]
    near: Near

    def groups(self, starts: Sequence[Handle], *, distance_max: float | None = None) -> list[tuple[Handle, ...]]:
        """Groups that hold together around these, within the distance or a closer one."""
        near = self.near
        if distance_max is not None:
            near = {
                handle: {other: distance for other, distance in around.items() if distance <= distance_max}
                for handle, around in near.items()
            }
        return cohesive_groups(starts, near)

    def has_neighbours(self, handle: Handle) -> bool:
        return bool(self.near.get(handle))


class NearDuplicates:
    def __init__(
        self, *, store: MemoryStore, comparisons: ComparisonStore, model: str, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._comparisons = comparisons
        self._model = model
        self._now = now

    async def around(self, handles: Sequence[Handle], *, distance_max: float) -> Neighbourhood:
        """The neighbourhood of these memories: they, their neighbours, and the neighbours of those."""
        near = await self._near(handles, distance_max)
        others = {other for around in near.values() for other in around}.difference(near)
        near |= await self._near(sorted(others, key=str), distance_max)
        crowded = [handle for handle, around in near.items() if around]
        memories = await self._store.get_many(crowded)
        # Some ten thousands of pairs in a crowd: not on the event loop, where requests wait.
        return await asyncio.to_thread(_parted, memories, near)

    async def _near(self, handles: Sequence[Handle], distance_max: float) -> dict[Handle, Mapping[Handle, float]]:
        if not handles:
            return {}
        found = await self._comparisons.near(
            handles, model=self._model, now=self._now(), distance_max=distance_max, limit=NEIGHBOURS_MAX
        )
        return dict(found)


def _parted(memories: Mapping[Handle, Memory], near: Near) -> Neighbourhood:
    """The neighbourhood without the pairs that a rule parts, and without what is gone meanwhile."""
    read = cache(marks_of)
    verdicts: dict[frozenset[Handle], bool] = {}

    def together(one: Handle, other: Handle) -> bool:
        pair = frozenset((one, other))
        if pair not in verdicts:
            verdicts[pair] = (
                one in memories and other in memories and difference(memories[one], memories[other], read) is None
            )
        return verdicts[pair]

    kept = {
        handle: {other: distance for other, distance in around.items() if together(handle, other)}
        for handle, around in near.items()
    }
    return Neighbourhood(memories=memories, near=kept)
