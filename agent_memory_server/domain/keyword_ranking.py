"""How well a memory's words answer a query's: BM25 over the candidates of one search, all at once.

    idf(t)    = ln(1 + (N - df + 0.5) / (df + 0.5))
    part(t)   = tf / (tf + k1 * (1 - b + b * length / average length))
    score     = sum idf(t) * part(t)  /  sum idf(t)

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009); idf with the 1 + of Lucene,
so that a word in most memories weighs little rather than less than nothing. k1 = 0.9 and b = 0.4 are the values of
Anserini, which suit short texts better than 1.2 and 0.75 (measured on conversations as well).

Dividing by the sum of the weights (BM25's supremum for the query; its factor k1 + 1 cancels out) makes the score the
share of the query's information that the memory holds. It lies in 0..1 and means the same across queries and pages:
a query word that nobody ever wrote lowers it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.search import KeywordCandidates, KeywordStatistics

K1 = 0.9
B = 0.4


def inverse_document_frequency(token: str, statistics: KeywordStatistics) -> float:
    """The weight of a query token: the rarer in the caller's scope, the heavier; always above zero."""
    frequency = statistics.document_frequency.get(token, 0)
    documents = max(statistics.documents, frequency)
    return math.log1p((documents - frequency + 0.5) / (frequency + 0.5))


def word_weights(candidates: KeywordCandidates) -> NDArray[np.float64]:
    """``inverse_document_frequency`` of each query token."""
    return np.array([inverse_document_frequency(token, candidates.statistics) for token in candidates.tokens])


def keyword_parts(
    counts: NDArray[np.float64], lengths: NDArray[np.float64], average_length: float
) -> NDArray[np.float64]:
    """Shape (candidates, query tokens): BM25's saturating term parts, before the tokens' weights."""
    saturation = K1 * (1.0 - B + B * lengths / max(average_length, 1.0))
    return counts / (counts + saturation[:, np.newaxis])


def parts_of(candidates: KeywordCandidates) -> NDArray[np.float64]:
    """``keyword_parts`` of all candidates."""
    return keyword_parts(
        candidates.counts.astype(np.float64),
        candidates.lengths.astype(np.float64),
        candidates.statistics.average_length,
    )


def keyword_scores(
    candidates: KeywordCandidates, parts: NDArray[np.float64] | None = None, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """One score a candidate, 0..1, in the candidates' order; who has computed the parts and the weights hands them in."""
    if not len(candidates.handles) or not candidates.tokens:
        return np.zeros(len(candidates.handles))
    weights = word_weights(candidates) if weights is None else weights
    parts = parts_of(candidates) if parts is None else parts
    return np.clip(parts @ weights / weights.sum(), 0.0, 1.0)
