"""Which memories a forgetting policy removes. Pure: the caller passes the time and walks the rows.

Rules (wire contract, section 7.9): pinned memories and those named by the caller are spared. With both ages set, a memory
goes when it is older than ``max_age_days * hard_age_multiplier``, or older than ``max_age_days`` *and* unused for more than
``max_inactive_days``. With one set, that condition alone decides. What survives enters the budget: the ``budget`` most
recent by the recency score stay; of those that tie, the older ones go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.recency import RecencyWeights, recency_scores
from agent_memory_server.domain.records import MemoryType

_DAY_US = 86_400.0 * 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgettingPolicy:
    """Ages are days. ``memory_types``: only these may be removed (None = all)."""

    max_age_days: float | None = None
    max_inactive_days: float | None = None
    budget: int | None = None
    memory_types: frozenset[MemoryType] | None = None
    hard_age_multiplier: float = 12.0

    @property
    def removes_nothing(self) -> bool:
        return not self.looks_at_age and self.budget is None

    @property
    def looks_at_age(self) -> bool:
        return self.max_age_days is not None or self.max_inactive_days is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """For how long memories of a namespace or a type are kept. What is not named means all."""

    name: str
    policy: ForgettingPolicy
    namespace: str | None = None


def too_old(
    created_us: NDArray[np.int64], accessed_us: NDArray[np.int64], policy: ForgettingPolicy, now: datetime
) -> NDArray[np.bool_]:
    """For each memory whether age or inactivity alone removes it; times are microseconds since the epoch."""
    now_us = now.timestamp() * 1e6
    age_days = np.maximum(0.0, (now_us - created_us) / _DAY_US)
    inactive_days = np.maximum(0.0, (now_us - accessed_us) / _DAY_US)
    none = np.zeros(len(created_us), dtype=np.bool_)
    old = none if policy.max_age_days is None else age_days > policy.max_age_days
    inactive = none if policy.max_inactive_days is None else inactive_days > policy.max_inactive_days
    if policy.max_age_days is not None and policy.max_inactive_days is not None:
        return (old & inactive) | (age_days > policy.max_age_days * policy.hard_age_multiplier)
    return old | inactive


def beyond_budget(
    created_us: NDArray[np.int64], accessed_us: NDArray[np.int64], budget: int, now: datetime
) -> NDArray[np.int64]:
    """Places of those that do not fit into the budget, the first to go first."""
    surplus = len(created_us) - budget
    if surplus <= 0:
        return np.empty(0, dtype=np.int64)
    scores = recency_scores(created_us, accessed_us, RecencyWeights(), now)
    # Far in the past all scores are zero: then the plain times decide, and at last the order of the rows.
    order = np.lexsort((created_us, accessed_us, scores))
    return order[:surplus].astype(np.int64)
