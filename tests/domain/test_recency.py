"""The recency formula of the wire contract, with hand-computed values and its edges."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.recency import RecencyWeights, blended_scores, recency_scores
from agent_memory_server.domain.records import Memory

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def memory(*, created_days_ago: float = 0.0, accessed_days_ago: float = 0.0) -> Memory:
    created = NOW - timedelta(days=created_days_ago)
    return Memory(
        id="m",
        scope=Scope("default"),
        text="tea",
        created_at=created,
        updated_at=created,
        last_accessed=NOW - timedelta(days=accessed_days_ago),
    )


def recency(of: Memory, weights: RecencyWeights | None = None) -> float:
    """r of one memory, at ``NOW``."""
    created, accessed = (np.array([round(each.timestamp() * 1e6)]) for each in (of.created_at, of.last_accessed))
    (score,) = recency_scores(created, accessed, weights or RecencyWeights(), NOW)
    return float(score)


def test_a_new_memory_has_all_of_it() -> None:
    """Made and used now, with the default weights that add up to one."""
    assert recency(memory()) == pytest.approx(1.0)


def test_half_lives() -> None:
    """After one half-life each part is halved."""
    aged = memory(created_days_ago=30.0, accessed_days_ago=7.0)
    assert recency(aged) == pytest.approx(0.5)


def test_freshness_follows_access_and_novelty_follows_creation() -> None:
    """Freshness is about the last access with its half-life, novelty about the creation with its own."""
    used_lately = memory(created_days_ago=3_000.0, accessed_days_ago=0.0)
    assert recency(used_lately) == pytest.approx(0.6, abs=1e-6)
    made_lately = memory(created_days_ago=0.0, accessed_days_ago=3_000.0)
    assert recency(made_lately) == pytest.approx(0.4, abs=1e-6)


def test_the_blend() -> None:
    """score = semantic_weight * relevance + recency_weight * r; of a chance, r counts in proportion."""
    relevance, shares = np.array([0.7, 0.1]), np.array([0.5, 1.0])
    plain = blended_scores(relevance, shares, RecencyWeights(), in_proportion=False)
    assert plain == pytest.approx([0.8 * 0.7 + 0.2 * 0.5, 0.8 * 0.1 + 0.2 * 1.0])
    of_chances = blended_scores(relevance, shares, RecencyWeights(), in_proportion=True)
    assert of_chances == pytest.approx([0.7 * (0.8 + 0.2 * 0.5), 0.1 * (0.8 + 0.2 * 1.0)])


def test_a_time_in_the_future_counts_as_now() -> None:
    """A clock that runs ahead gives no more than a new memory has."""
    ahead = memory(created_days_ago=-400.0, accessed_days_ago=-400.0)
    assert recency(ahead) == pytest.approx(1.0)


@pytest.mark.parametrize("half_life", [0.0, -5.0, 0.001])
def test_half_lives_are_floored(half_life: float) -> None:
    """Zero and negative half-lives mean a thousandth of a day, not a division by zero."""
    weights = RecencyWeights(half_life_last_access_days=half_life, half_life_created_days=half_life)
    aged = memory(created_days_ago=0.001, accessed_days_ago=0.001)
    assert recency(aged, weights) == pytest.approx(0.5)


@given(
    st.floats(-10, 10), st.floats(-10, 10), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(-1, 1e4), st.floats(-1, 1e4)
)
def test_recency_stays_a_share(
    freshness: float, novelty: float, created: float, accessed: float, half_created: float, half_accessed: float
) -> None:
    """Whatever a caller weighs with, r lies in 0..1 and is a number."""
    weights = RecencyWeights(
        freshness_weight=freshness,
        novelty_weight=novelty,
        half_life_created_days=half_created,
        half_life_last_access_days=half_accessed,
    )
    aged = memory(created_days_ago=min(created, 700_000), accessed_days_ago=min(accessed, 700_000))
    score = recency(aged, weights)
    assert math.isfinite(score)
    assert 0.0 <= score <= 1.0
