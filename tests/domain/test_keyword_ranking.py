"""BM25 over candidates: what makes a match better, and that the score means the same across queries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory_server.domain.keyword_ranking import K1, B, inverse_document_frequency, keyword_scores
from agent_memory_server.domain.search import KeywordCandidates, KeywordStatistics


def candidates(
    counts: Sequence[Sequence[int]],
    lengths: Sequence[int],
    *,
    documents: int = 100,
    frequency: Mapping[str, int] | None = None,
    average_length: float = 10.0,
) -> KeywordCandidates:
    tokens = tuple(f"t{number}" for number in range(len(counts[0]) if counts else 0))
    return KeywordCandidates(
        tokens=tokens,
        handles=list(range(len(counts))),
        counts=np.asarray(counts, dtype=np.int32).reshape(len(counts), len(tokens)),
        lengths=np.asarray(lengths, dtype=np.int32),
        statistics=KeywordStatistics(
            documents=documents, average_length=average_length, document_frequency=frequency or {}
        ),
    )


def test_the_formula() -> None:
    """One hand-computed value of Robertson's formula, divided by the weight of the query."""
    found = candidates([[2, 0]], [8], frequency={"t0": 3, "t1": 40})
    rare, common = math.log(1 + 97.5 / 3.5), math.log(1 + 60.5 / 40.5)
    part = 2 / (2 + K1 * (1 - B + B * 0.8))
    assert keyword_scores(found)[0] == pytest.approx(rare * part / (rare + common))


def test_rare_words_weigh_more() -> None:
    """Of two memories with one query word each, the one with the rarer word comes first."""
    scores = keyword_scores(candidates([[1, 0], [0, 1]], [10, 10], frequency={"t0": 90, "t1": 2}))
    assert scores[1] > scores[0] > 0


def test_more_occurrences_and_shorter_texts_score_higher() -> None:
    """Term frequency raises the score and length lowers it."""
    once, twice, long = keyword_scores(candidates([[1], [2], [1]], [10, 10, 40], frequency={"t0": 5}))
    assert twice > once > long


def test_an_unknown_query_word_lowers_every_score() -> None:
    """What nobody ever wrote is part of the question: the same match answers less of it."""
    alone = keyword_scores(candidates([[1]], [10], frequency={"t0": 5}))[0]
    beside = keyword_scores(candidates([[1, 0]], [10], frequency={"t0": 5, "t1": 0}))[0]
    assert beside < alone / 2


def test_no_candidates_no_scores() -> None:
    """An empty result is an empty array, not an error."""
    assert keyword_scores(candidates([], [])).shape == (0,)


def test_a_scope_of_one_memory_still_scores() -> None:
    """The weight of a word that everybody uses stays above zero."""
    found = candidates([[1]], [3], documents=1, frequency={"t0": 1}, average_length=3.0)
    assert inverse_document_frequency("t0", found.statistics) > 0
    assert 0 < keyword_scores(found)[0] < 1


def test_stale_statistics_do_no_harm() -> None:
    """More holders than documents (counted a moment apart) is no error and no negative weight."""
    found = candidates([[1]], [3], documents=0, frequency={"t0": 5}, average_length=0.0)
    assert 0 < keyword_scores(found)[0] < 1


@given(
    st.lists(st.lists(st.integers(0, 1_000), min_size=3, max_size=3), min_size=1, max_size=20),
    st.integers(1, 10_000),
    st.lists(st.integers(0, 10_000), min_size=3, max_size=3),
)
def test_scores_lie_between_zero_and_one(counts: list[list[int]], documents: int, frequencies: list[int]) -> None:
    """Whatever the counts, a score is a share."""
    found = candidates(
        counts,
        [sum(row) for row in counts],
        documents=documents,
        frequency={f"t{place}": value for place, value in enumerate(frequencies)},
    )
    scores = keyword_scores(found)
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
