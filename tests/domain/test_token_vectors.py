"""Packed vectors of words: small, near enough to what they were, and compared token by token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory_server.domain.token_vectors import nearest_tokens, packed, unpacked


def drawn(tokens: int, dimensions: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    vectors = np.random.default_rng(seed).standard_normal((tokens, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(tokens=st.integers(1, 9), dimensions=st.integers(1, 70), seed=st.integers(0, 50))
def test_texts_come_back_with_their_own_tokens(tokens: int, dimensions: int, seed: int) -> None:
    """Whatever the size, each text has as many tokens as went in, a quarter of a byte a number, with the right signs."""
    first, second = drawn(tokens, dimensions, seed), drawn(2, dimensions, seed + 1)
    texts = [packed(first), packed(second)]
    assert len(texts[0]) == tokens * -(-dimensions // 4)
    vectors, counts = unpacked(texts, dimensions)
    assert counts.tolist() == [tokens, 2]
    assert vectors.shape == (tokens + 2, dimensions)
    assert (np.sign(vectors) == np.where(np.concatenate([first, second]) < 0, -1, 1)).all()


def test_packed_vectors_are_near_what_they_were() -> None:
    """At the size of a sentence model the cosine with the original is above .9, and the length about one."""
    vectors = drawn(50, 384)
    back, _ = unpacked([packed(vectors)], 384)
    assert np.linalg.norm(back, axis=1) == pytest.approx(1.0, abs=0.02)
    assert ((vectors * back).sum(axis=1) > 0.9).all()


def test_each_query_token_meets_the_nearest_of_each_text() -> None:
    """One row a text, one column a query token; opposites count as nothing, not less."""
    words = drawn(4, 384, seed=3)
    texts = [packed(words[:1]), packed(words[1:3]), packed(-words[:2])]
    found = nearest_tokens(words[:2], texts)
    assert found.shape == (3, 2)
    assert found[0, 0] > 0.9
    assert found[1, 1] > 0.9
    assert found[0, 1] < 0.3
    assert (found[2] < 0.3).all()
    assert found.min() >= 0
