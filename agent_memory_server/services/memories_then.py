"""The memories of one filter as they were at one time, as a search reads them: what changed since stands beside the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

import numpy as np

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.search import Handle, KeywordCandidates, VectorCandidates
from agent_memory_server.domain.second_stage import Passage, Pool
from agent_memory_server.ports.memories import Listing, MemoryStore, Order
from agent_memory_server.services.earlier_states import FEW, EarlierStates, in_listing

CURSOR_PREFIX = "then-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThenListing:
    """``ports.memories.Listing``."""

    memories: Sequence[Memory]
    total: int
    next_cursor: str | None


class MemoriesThen:
    """As much of ``ports.memories.MemoryStore`` as a search asks for, over the memories of one filter as they were."""

    def __init__(
        self,
        store: MemoryStore,
        criteria: MemoryFilter,
        point: int,
        earlier: EarlierStates,
        *,
        together: MemoryStore | None = None,
    ) -> None:
        """``together``: all that matches the filter, read at once already."""
        self._store = store
        self._together = together or store
        self.criteria = replace(criteria, unchanged_since=point)
        """The filter with which these memories are to be asked for."""
        self._plain = criteria
        """Without the point: engines answer that in their fastest way, and what changed is taken out of what they find."""
        self._earlier = earlier
        self._hidden = earlier.hidden
        self._states = earlier.by_handle

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
        del cursor, order
        wanted = min(offset + limit, LIMITS.search_window_max)
        unchanged = await self._store.list(criteria, now=now, limit=wanted)
        # The states are in order already.
        together = sorted([*unchanged.memories, *islice(self._states.values(), wanted)], key=in_listing)
        total = unchanged.total + len(self._states)
        is_last = wanted >= total
        return ThenListing(
            memories=together[offset:wanted], total=total, next_cursor=None if is_last else f"{CURSOR_PREFIX}{wanted}"
        )

    async def get_many(self, handles: Sequence[Handle], /) -> Mapping[Handle, Memory]:
        found = dict(await self._together.get_many(self._living(handles)))
        found.update((handle, memory) for handle in handles if (memory := self._state(handle)) is not None)
        return found

    async def keys(self, handles: Sequence[Handle], /) -> Mapping[Handle, MemoryKey]:
        found = dict(await self._store.keys(self._living(handles)))
        found.update((handle, memory.key) for handle in handles if (memory := self._state(handle)) is not None)
        return found

    async def times(self, handles: Sequence[Handle], /) -> Mapping[Handle, tuple[int, int]]:
        found = dict(await self._together.times(self._living(handles)))
        found.update(
            (handle, self._earlier.times(handle))
            for handle in handles
            if isinstance(handle, str) and handle in self._states
        )
        return found

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
        near = await self._near(criteria, vector=vector, model=model, now=now, limit=limit, distance_max=distance_max)
        handles, rows = await self._earlier.vectors()
        if not handles:
            return near
        norm = float(np.linalg.norm(vector)) or 1.0
        # Not by a matrix product: the threads that some builds of it start take longer than it does.
        distances = np.clip(1.0 - np.einsum("ij,j->i", rows, vector / np.float32(norm)), 0.0, 2.0)
        total = near.total + len(handles)
        if distance_max is not None:
            within = np.flatnonzero(distances <= distance_max)
            handles, distances = [handles[place] for place in within.tolist()], distances[within]
        together = [*near.handles, *handles]
        measured = np.concatenate([near.distances, distances])
        places = np.arange(len(measured))
        if len(measured) > limit > 0:
            # All that tie with the last one stay in, so that the handle decides between them.
            places = np.flatnonzero(measured <= np.partition(measured, limit - 1)[limit - 1])
        order: list[int] = places[np.argsort(measured[places], kind="stable")].tolist()
        if len(order) > 1 and not np.diff(measured[order]).all():
            order.sort(key=lambda place: (measured[place], str(together[place])))
        del order[limit:]
        return VectorCandidates(
            handles=[together[place] for place in order],
            distances=measured[order].astype(np.float32),
            total=total,
        )

    async def _near(
        self,
        criteria: MemoryFilter,
        *,
        vector: Vector,
        model: str,
        now: datetime,
        limit: int,
        distance_max: float | None,
    ) -> VectorCandidates:
        """Of what did not change; the engine leaves out the rest where one answer cannot hold enough beside it."""
        enough = min(limit + len(self._hidden), LIMITS.search_window_max)
        # Mostly a few more than are wanted will do; counting those that changed is easier where all are there.
        few = enough if self._earlier.counted is None and len(self._hidden) > FEW else min(2 * limit, enough)
        for most in dict.fromkeys((few, enough)):
            found = await self._together.nearest(
                self._plain, vector=vector, model=model, now=now, limit=most, distance_max=distance_max
            )
            total = found.total - await self._counted(found, model, now)
            wanted = min(limit, total)
            places = (place for place, handle in enumerate(found.handles) if handle not in self._hidden)
            kept = list(islice(places, wanted)) if wanted else []
            if len(kept) == wanted or len(found.handles) < most:
                return VectorCandidates(
                    handles=[found.handles[place] for place in kept], distances=found.distances[kept], total=total
                )
        return await self._store.nearest(
            criteria, vector=vector, model=model, now=now, limit=limit, distance_max=distance_max
        )

    async def _counted(self, found: VectorCandidates, model: str, now: datetime) -> int:
        """How many of all matches with a vector changed since. As many as the last time, where as many matched."""
        if self._earlier.counted is None or self._earlier.counted[0] != found.total:
            if len(found.handles) == found.total:
                counted = sum(handle in self._hidden for handle in found.handles)
            else:
                today = await self._together.vectors(list(self._hidden), model=model)
                records = await self._together.get_many(list(today))
                counted = await asyncio.to_thread(self._matching, records.values(), now)
            self._earlier.counted = found.total, counted
        return self._earlier.counted[1]

    def _matching(self, records: Iterable[Memory], now: datetime) -> int:
        return sum(self._plain.matches(each, now) for each in records)

    async def _held(
        self, criteria: MemoryFilter, *, tokens: Sequence[str], now: datetime, limit: int
    ) -> KeywordCandidates:
        """Of what did not change, as ``_near``."""
        most = min(limit + len(self._hidden), LIMITS.search_window_max)
        found = await self._together.holding(self._plain, tokens=tokens, now=now, limit=most)
        kept = [place for place, handle in enumerate(found.handles) if handle not in self._hidden][:limit]
        if len(kept) < limit and len(found.handles) == most:
            return await self._store.holding(criteria, tokens=tokens, now=now, limit=limit)
        return replace(
            found,
            handles=[found.handles[place] for place in kept],
            counts=found.counts[kept],
            lengths=found.lengths[kept],
        )

    async def holding(
        self, criteria: MemoryFilter, /, *, tokens: Sequence[str], now: datetime, limit: int
    ) -> KeywordCandidates:
        held = await self._held(criteria, tokens=tokens, now=now, limit=limit)
        if not self._states:
            return held
        index = await self._earlier.index()
        handles, counts, lengths = index.holding(held.tokens)
        return KeywordCandidates(
            tokens=held.tokens,
            handles=[*held.handles, *handles][:limit],
            counts=np.concatenate([held.counts, counts])[:limit],
            lengths=np.concatenate([held.lengths, lengths])[:limit],
            statistics=index.together(held.statistics),
        )

    async def vectors(self, handles: Sequence[Handle], /, *, model: str) -> Mapping[Handle, Vector]:
        found = dict(await self._together.vectors(self._living(handles), model=model))
        states = [handle for handle in handles if isinstance(handle, str) and handle in self._states]
        if states:
            await self._earlier.vectors()
            vectors = ((handle, self._earlier.vector(handle)) for handle in states)
            found.update((handle, vector) for handle, vector in vectors if vector is not None)
        return found

    async def token_vectors(self, handles: Sequence[Handle], /, *, model: str) -> Mapping[Handle, bytes]:
        """Of those that did not change; the others are judged without."""
        return await self._together.token_vectors(self._living(handles), model=model)

    async def neighbours(self, handles: Sequence[Handle], /, *, span: int) -> Mapping[Handle, Sequence[Handle]]:
        """Of those that did not change; what changed among the neighbours is left out."""
        around = await self._together.neighbours(self._living(handles), span=span)
        return {handle: [each for each in window if each not in self._hidden] for handle, window in around.items()}

    async def pool(self, criteria: MemoryFilter, handles: Sequence[Handle], /, *, span: int, now: datetime) -> Pool:
        """As the store's. What changed stands alone: who was beside it then is not known."""
        del criteria
        living = [handle for handle in self._living(handles) if handle not in self._hidden]
        found = await self._together.pool(self._plain, living, span=span, now=now)
        passages: dict[Handle, Passage] = {
            handle: passage for handle, passage in found.passages.items() if handle not in self._hidden
        }
        passages.update(
            (handle, self._earlier.passage(handle))
            for handle in handles
            if isinstance(handle, str) and handle in self._states
        )
        return Pool.of(passages, found.around)

    async def touch(self, handles_or_keys: Sequence[MemoryKey], /, *, at: datetime, interval_min_s: float) -> int:
        """Looking back is no use of a memory: nothing is noted."""
        del handles_or_keys, at, interval_min_s
        return 0

    def _state(self, handle: Handle) -> Memory | None:
        return self._states.get(handle) if isinstance(handle, str) else None

    def _living(self, handles: Sequence[Handle]) -> list[Handle]:
        return [handle for handle in handles if self._state(handle) is None]
