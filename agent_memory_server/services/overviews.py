"""What a person sees first of a store: counts, owners, growth, sessions, within what the caller may see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.projection import two_dimensions
from agent_memory_server.ports.overviews import Counts, MapPoints, Overviews, OwnerCount, SessionLines

GROWTH_DAYS = 90
MAP_POINTS_MAX = 20_000


class OverviewService:
    def __init__(self, *, store: Overviews, model: str, now: Callable[[], datetime]) -> None:
        self._store = store
        self._model = model
        self._now = now

    async def counts(self, selector: ScopeSelector) -> Counts:
        return await self._store.counts(selector, now=self._now())

    async def owners(
        self, selector: ScopeSelector, *, limit: int, offset: int = 0, user_prefix: str | None = None
    ) -> Sequence[OwnerCount]:
        """Owner scopes with live memories, those with the most first."""
        return await self._store.largest_owners(selector, limit=limit, offset=offset, user_prefix=user_prefix)

    async def growth(self, selector: ScopeSelector, *, days: int = GROWTH_DAYS) -> Sequence[tuple[date, int]]:
        """How many of the live memories were made on each of the last ``days`` days (UTC), the oldest first."""
        now = self._now()
        first = now - timedelta(days=days - 1)
        begins = first.replace(hour=0, minute=0, second=0, microsecond=0)
        found = await self._store.growth(selector, since=begins, now=now)
        every = (begins.date() + timedelta(days=day) for day in range(days))
        return [(day, found.get(day, 0)) for day in every]

    async def sessions(self, selector: ScopeSelector, *, limit: int, offset: int = 0) -> SessionLines:
        return await self._store.sessions(selector, now=self._now(), limit=limit, offset=offset)

    async def memory_map(self, criteria: MemoryFilter, *, limit: int = MAP_POINTS_MAX) -> MapPoints:
        """The newest memories with their vectors, for ``placed``."""
        return await self._store.map_points(criteria, model=self._model, now=self._now(), limit=limit)


def placed(points: MapPoints) -> NDArray[np.float32]:
    """Where the points lie: shape (points, 2). Some tens of milliseconds at 20,000 points: not for the event loop."""
    return two_dimensions(points.vectors)
