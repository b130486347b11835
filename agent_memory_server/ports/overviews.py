"""What a person who looks at a store wants to know: how much there is, whose it is, and how it grew. Never anybody's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Live memories by type, those that stepped back, and live sessions."""

    by_type: Mapping[str, int]
    superseded: int
    sessions: int
    owners: int
    """Owner scopes that hold a live memory."""

    @property
    def memories(self) -> int:
        return sum(self.by_type.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerCount:
    """How many live memories one owner scope holds."""

    owner: Scope
    memories: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLine:
    """A session in a list of sessions; ``scope`` has its id."""

    scope: Scope
    created_at: datetime
    updated_at: datetime
    messages: int
    archived: int
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLines:
    sessions: Sequence[SessionLine]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPoints:
    """Memories with their vectors, newest first. ``vectors``: shape (points, dimensions), unit length."""

    owners: Sequence[Scope]
    ids: Sequence[str]
    types: Sequence[str]
    topics: Sequence[str | None]
    """The first topic of each."""
    created_us: NDArray[np.int64]
    """Microseconds since the epoch."""
    vectors: NDArray[np.float32]


class Overviews(Protocol):
    """Every call is bounded: none reads more of a store than what it returns or counts."""

    async def counts(self, selector: ScopeSelector, /, *, now: datetime) -> Counts: ...

    async def largest_owners(
        self, selector: ScopeSelector, /, *, limit: int, offset: int = 0, user_prefix: str | None = None
    ) -> Sequence[OwnerCount]:
        """Owner scopes with live memories, those with the most first, then by user and namespace."""
        ...

    async def growth(self, selector: ScopeSelector, /, *, since: datetime, now: datetime) -> Mapping[date, int]:
        """Live memories by the day (UTC) of their ``created_at``, from ``since`` to ``now``; days without any are missing."""
        ...

    async def sessions(self, selector: ScopeSelector, /, *, now: datetime, limit: int, offset: int = 0) -> SessionLines:
        """Live sessions, most recently updated first, then by id."""
        ...

    async def map_points(self, criteria: MemoryFilter, /, *, model: str, now: datetime, limit: int) -> MapPoints:
        """The newest ``limit`` matching memories that have a vector of ``model``."""
        ...
