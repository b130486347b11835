"""What a person sees first of a store: counts, owners, growth, sessions, within what the caller may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.projection import two_dimensions
from agent_memory_server.ports.overviews import Counts, MapPoints, Overviews, OwnerCount, SessionLines

GROWTH_DAYS = 90
GROWTH_WHOLE_MAX = 300_000
"""Memories of which all are counted by day; of more, only those of the last days."""
BARS_MAX = 120
DAYS_MIN = 14
"""Days that are shown at the least."""
MAP_POINTS_MAX = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """``bars``: the first day of each period with how many memories are from it, the oldest first, without gaps."""

    unit: str
    """day · month · year"""
    bars: Sequence[tuple[date, int]]


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

    async def growth(self, selector: ScopeSelector, *, memories: int) -> Growth:
        """How many of the live memories are from when: by the day, or by the month or year where they span more.

        Of more than ``GROWTH_WHOLE_MAX`` ``memories`` only those of the last ``GROWTH_DAYS`` days are shown.
        """
        now = self._now()
        whole = memories <= GROWTH_WHOLE_MAX
        since = datetime.min.replace(tzinfo=UTC) if whole else now - timedelta(days=GROWTH_DAYS - 1)
        found = await self._store.growth(selector, since=since, now=now)
        return binned(found, until=now.astimezone(UTC).date())

    async def sessions(self, selector: ScopeSelector, *, limit: int, offset: int = 0) -> SessionLines:
        return await self._store.sessions(selector, now=self._now(), limit=limit, offset=offset)

    async def memory_map(self, criteria: MemoryFilter, *, limit: int = MAP_POINTS_MAX) -> MapPoints:
        """The newest memories with their vectors, for ``placed``."""
        return await self._store.map_points(criteria, model=self._model, now=self._now(), limit=limit)


def binned(found: Mapping[date, int], *, until: date) -> Growth:
    """The counts by day as bars up to ``until``, in the smallest unit that needs no more than ``BARS_MAX``."""
    if not found:
        return Growth(unit="day", bars=())
    first = min(found)
    days = (until - first).days + 1
    if days <= BARS_MAX:
        begins = max(1, min(days, BARS_MAX))
        every = [until - timedelta(days=before) for before in range(max(begins, DAYS_MIN) - 1, -1, -1)]
        return Growth(unit="day", bars=[(day, found.get(day, 0)) for day in every])
    unit, months = ("month", 1) if days <= BARS_MAX * 28 else ("year", 12)
    held: dict[date, int] = {}
    begin = _begin_of(first, months)
    while begin <= until:
        held[begin] = 0
        begin = _begin_of(begin + timedelta(days=31 * months), months)
    for day, count in found.items():
        held[_begin_of(day, months)] += count
    return Growth(unit=unit, bars=list(held.items())[-BARS_MAX:])


def _begin_of(day: date, months: int) -> date:
    return date(day.year, day.month if months == 1 else 1, 1)


def placed(points: MapPoints) -> NDArray[np.float32]:
    """Where the points lie: shape (points, 2). Some tens of milliseconds at 20,000 points: not for the event loop."""
    return two_dimensions(points.vectors)
