"""Which memories a forgetting policy removes. Pure: the caller passes the time and walks the rows.

Rules (wire contract, section 7.9): pinned memories and those named by the caller are spared. With both ages set, a memory
goes when it is older than ``max_age_days * hard_age_multiplier``, or older than ``max_age_days`` *and* unused for more than
``max_inactive_days``. With one set, that condition alone decides. What survives enters the budget: the ``budget`` most
recent by the recency score stay.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from agent_memory_server.domain.recency import RecencyWeights, recency_score
from agent_memory_server.domain.records import Memory, MemoryType

_DAY_S = 86_400.0


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
        return self.max_age_days is None and self.max_inactive_days is None and self.budget is None


def may_forget(memory: Memory, policy: ForgettingPolicy, spared_ids: Collection[str]) -> bool:
    """Whether the policy may touch this memory at all."""
    if memory.pinned or memory.id in spared_ids:
        return False
    return policy.memory_types is None or memory.memory_type in policy.memory_types


def too_old(memory: Memory, policy: ForgettingPolicy, now: datetime) -> bool:
    """Whether age or inactivity alone removes it."""
    age_days = max(0.0, (now - memory.created_at).total_seconds() / _DAY_S)
    inactive_days = max(0.0, (now - memory.last_accessed).total_seconds() / _DAY_S)
    old = policy.max_age_days is not None and age_days > policy.max_age_days
    inactive = policy.max_inactive_days is not None and inactive_days > policy.max_inactive_days
    if policy.max_age_days is not None and policy.max_inactive_days is not None:
        return (old and inactive) or age_days > policy.max_age_days * policy.hard_age_multiplier
    return old or inactive


def budget_rank(memory: Memory, now: datetime) -> tuple[float, str]:
    """Sort key of the budget stage, the first to go first: least recent, then by id so that it is stable."""
    return recency_score(memory, RecencyWeights(), now), memory.id
