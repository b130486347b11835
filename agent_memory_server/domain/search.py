"""What a search asks for and answers. Distance: smaller is nearer (cosine, 0..2). Score: larger is better (0..1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.records import Memory

Handle = int | str
"""How an engine names a stored memory within one process: opaque, valid until that memory is deleted."""


class SearchMode(StrEnum):
    SEMANTIC = "semantic"
    KEYWORD = "keyword"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """A search within a filter that is passed beside it. A blank ``text`` lists by ``created_at desc, id``."""

    text: str
    mode: SearchMode = SearchMode.SEMANTIC
    alpha: float = 0.7
    """Weight of the vector side in hybrid mode, 0..1."""
    distance_max: float | None = None
    limit: int = 10
    offset: int = 0
    recency: RecencyWeights | None = None
    """None: no recency boost."""
    score_min: float | None = None
    """Only memories whose score is at least this."""
    relative_cut: float | None = None
    """Only memories whose score is at least this share of the best one's, 0..1."""
    tokens_max: int | None = None
    """Fill a budget of language-model tokens, with what stands around the hits; ``limit`` then only bounds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A memory on a page. ``score`` and ``score_type`` are None in a listing, whose distance is 0."""

    memory: Memory
    distance: float
    score: float | None
    score_type: SearchMode | None
    handle: Handle | None = None
    """How the store names it, where a ranked search found it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Hits and what was said around them as one text, a line each, in the order in which it was said."""

    text: str
    tokens: int
    memory_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``total``: all matches of the filter for listings, the candidates found for ranked searches."""

    hits: tuple[Hit, ...]
    total: int
    next_offset: int | None
    context: Context | None = None
    """Where the search had a budget of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorCandidates:
    """The nearest memories, by ascending distance; ``total`` counts all that have a vector and match the filter."""

    handles: Sequence[Handle]
    distances: NDArray[np.float32]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordStatistics:
    """Statistics of the caller's scope alone (selector, namespace and user): other scopes never influence a score."""

    documents: int
    average_length: float
    """Index terms a memory."""
    document_frequency: Mapping[str, int]
    """For each query token: how many memories of the scope hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordCandidates:
    """Every memory that matches the filter and holds a query token (up to the store's documented bound)."""

    tokens: tuple[str, ...]
    handles: Sequence[Handle]
    counts: NDArray[np.int32]
    """Shape (handles, tokens): how often each token stands in each memory."""
    lengths: NDArray[np.int32]
    """Shape (handles,): index terms in each memory."""
    statistics: KeywordStatistics
