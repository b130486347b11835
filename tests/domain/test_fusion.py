"""Joining the channels: alpha's ends are the pure channels, and a missing vector is no verdict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory_server.domain.fusion import fused_scores

MEANING = np.array([0.9, 0.5, 0.1])
WORDS = np.array([0.0, 0.3, 0.8])
ALL = np.ones(3, dtype=np.bool_)


def test_alpha_zero_is_the_order_by_words() -> None:
    """With no weight on vectors the score is the keyword score."""
    assert fused_scores(MEANING, WORDS, has_vector=ALL, alpha=0.0) == pytest.approx(WORDS)


def test_alpha_one_is_the_order_by_meaning() -> None:
    """With all weight on vectors the score is the cosine."""
    assert fused_scores(MEANING, WORDS, has_vector=ALL, alpha=1.0) == pytest.approx(MEANING)


def test_alpha_tilts_without_jumps() -> None:
    """Raising alpha only ever raises what is near and lowers what only shares words."""
    scores = np.array([fused_scores(MEANING, WORDS, has_vector=ALL, alpha=step / 20) for step in range(21)])
    assert (np.diff(scores[:, 0]) >= 0).all()
    assert (np.diff(scores[:, 2]) <= 0).all()


def test_neither_channel_gates_the_other() -> None:
    """A memory that only one channel knows still scores by that one."""
    scores = fused_scores(np.array([0.8, 0.0]), np.array([0.0, 0.8]), has_vector=np.ones(2, dtype=np.bool_), alpha=0.7)
    assert (scores > 0.2).all()


def test_without_a_vector_words_decide() -> None:
    """A pending vector neither lifts nor sinks a memory: its words stand for it at every alpha."""
    scores = fused_scores(np.zeros(3), WORDS, has_vector=np.zeros(3, dtype=np.bool_), alpha=0.9)
    assert scores == pytest.approx(WORDS)


def test_opposite_meaning_counts_as_none() -> None:
    """A negative cosine does not push a memory below those that match nothing."""
    scores = fused_scores(np.array([-0.5]), np.array([0.2]), has_vector=np.ones(1, dtype=np.bool_), alpha=0.7)
    assert 0 < scores[0] < 0.2


@given(st.floats(-1, 1), st.floats(0, 1), st.booleans(), st.floats(0, 1))
def test_scores_lie_between_zero_and_one(meaning: float, words: float, has_vector: bool, alpha: float) -> None:
    """Whatever the channels say, the result is a score."""
    (score,) = fused_scores(
        np.array([meaning]), np.array([words]), has_vector=np.array([has_vector], dtype=np.bool_), alpha=alpha
    )
    assert 0 <= score <= 1
