"""The contract's recency formula for one memory, in plain numbers: what the arrays of ``domain.recency`` are held against."""

from __future__ import annotations

import math
from datetime import datetime

from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.records import Memory


def recency_of(memory: Memory, weights: RecencyWeights, now: datetime) -> float:
    """r, for half-lives of a thousandth of a day and more."""

    def left(then: datetime, half_life_days: float) -> float:
        return math.exp(-math.log(2.0) * (now - then).total_seconds() / 86_400 / half_life_days)

    freshness = left(memory.last_accessed, weights.half_life_last_access_days)
    novelty = left(memory.created_at, weights.half_life_created_days)
    return min(1.0, max(0.0, weights.freshness_weight * freshness + weights.novelty_weight * novelty))


def blended(
    relevance: float, memory: Memory, weights: RecencyWeights, now: datetime, *, in_proportion: bool = False
) -> float:
    """The score that orders a page; ``in_proportion`` where relevance is a chance."""
    worth = weights.recency_weight * recency_of(memory, weights, now)
    return weights.semantic_weight * relevance + (worth * relevance if in_proportion else worth)
