"""What a search notes about itself when somebody asks why: nothing is noted, and nothing is spent, when nobody does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.ranking import Ranking
from agent_memory_server.domain.search import Handle, KeywordCandidates, VectorCandidates
from agent_memory_server.domain.second_stage import Candidates


@dataclass(frozen=True, slots=True)
class Found:
    """Candidates with what their signals are made of, in one order."""

    handles: Sequence[Handle]
    candidates: Candidates
    total: int
    times: Mapping[Handle, tuple[int, int]]
    """(created_at, last_accessed) of the pool, in microseconds since the epoch."""


@dataclass(slots=True)
class SearchTrace:
    """Filled in by the search as it goes on; what a mode does not use stays empty."""

    now: datetime | None = None
    """The moment that expiry and recency were judged by."""
    matches: KeywordCandidates | None = None
    vector: Vector | None = None
    """The query's."""
    near: VectorCandidates | None = None
    found: Found | None = None
    pool: frozenset[Handle] = frozenset()
    """Candidates whose neighbours, speakers and times were looked at."""
    judged: Mapping[Handle, float] = field(default_factory=dict[Handle, float])
    """What a cross-encoder said of those that it read."""
    unjudged: Ranking | None = None
    """The ranking before it."""
    uncut: Ranking | None = None
    """Every candidate in order of relevance, before ``score_min`` and ``relative_cut``."""
    ranking: Ranking | None = None
    order: Sequence[int] = ()
    """Places of the ranking in final order."""
    times: Mapping[Handle, tuple[int, int]] = field(default_factory=dict[Handle, tuple[int, int]])
    """(created_at, last_accessed) of those that recency counts for."""
