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

from agent_memory_server.domain.cohesion import GROUP_SIZE_MAX, Near, cohesive_groups
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.sameness import difference, marks_of
from agent_memory_server.domain.search import Handle
from agent_memory_server.ports.comparisons import ComparisonStore
from agent_memory_server.ports.memories import MemoryStore

NEIGHBOURS_MAX = 32
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
        memories = dict(await self._store.get_many(_standing_in(near)))
        rules = _Rules(memories)
        # Some ten thousands of pairs in a crowd: not on the event loop, where requests wait.
        kept = await asyncio.to_thread(rules.kept, near)
        others = {
            other
            for around in kept.values()
            for other in sorted(around, key=lambda each: around[each])[:GROUP_SIZE_MAX]
            if other not in kept
        }
        beyond = await self._near(sorted(others, key=str), distance_max)
        memories |= await self._store.get_many([handle for handle in _standing_in(beyond) if handle not in memories])
        kept |= await asyncio.to_thread(rules.kept, beyond)
        return Neighbourhood(memories=memories, near=kept)

    async def _near(self, handles: Sequence[Handle], distance_max: float) -> dict[Handle, Mapping[Handle, float]]:
        if not handles:
            return {}
        found = await self._comparisons.near(
            handles, model=self._model, now=self._now(), distance_max=distance_max, limit=NEIGHBOURS_MAX
        )
        return dict(found)


def _standing_in(near: Near) -> list[Handle]:
    """Whoever has a neighbour, and the neighbours."""
    return list(dict.fromkeys(each for handle, around in near.items() if around for each in (handle, *around)))


class _Rules:
    """Parts pairs by rule, each once, and reads each text once."""

    def __init__(self, memories: Mapping[Handle, Memory]) -> None:
        self._memories = memories
        self._read = cache(marks_of)
        self._verdicts: dict[frozenset[Handle], bool] = {}

    def kept(self, near: Near) -> dict[Handle, Mapping[Handle, float]]:
        """The pairs that no rule parts; what is gone meanwhile is left out."""
        return {
            handle: {other: distance for other, distance in around.items() if self._are_kept(handle, other)}
            for handle, around in near.items()
        }

    def _are_kept(self, one: Handle, other: Handle) -> bool:
        pair = frozenset((one, other))
        if pair not in self._verdicts:
            here, there = self._memories.get(one), self._memories.get(other)
            self._verdicts[pair] = (
                here is not None and there is not None and difference(here, there, self._read) is None
            )
        return self._verdicts[pair]
