"""From what a search noted about itself to why each candidate has its score and its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agent_memory_server.domain.explanation import ChannelPlace, Part, RecencyShare, ScoreExplanation
from agent_memory_server.domain.keyword_ranking import inverse_document_frequency, keyword_parts
from agent_memory_server.domain.ranking import Ranking, ranked_by_words, similarities
from agent_memory_server.domain.recency import recency_scores
from agent_memory_server.domain.search import Handle, KeywordCandidates, SearchMode, SearchQuery
from agent_memory_server.domain.second_stage import DOUBT, Weighed, weighed
from agent_memory_server.services.search_trace import SearchTrace


class ScoreExplainer:
    """Explains candidates of one search; made once, asked for as many as are wanted."""

    def __init__(self, trace: SearchTrace, query: SearchQuery) -> None:
        """``trace`` of a search that is done and had a text."""
        assert trace.ranking is not None
        assert trace.uncut is not None
        assert trace.now is not None
        self.ranking: Ranking = trace.ranking
        self.uncut: Ranking = trace.uncut
        self.rank_of: Mapping[Handle, int] = {
            self.ranking.handles[place]: rank for rank, place in enumerate(trace.order, start=1)
        }
        """Final ranks of what passed the cuts."""
        self._trace = trace
        self._query = query
        self.now = trace.now
        self._place_of = {handle: place for place, handle in enumerate(self.uncut.handles)}
        unjudged = trace.unjudged
        self._unjudged: Mapping[Handle, float] = (
            {} if unjudged is None else dict(zip(unjudged.handles, unjudged.relevance.tolist(), strict=True))
        )
        self._words = _by_words(trace.matches)
        self._meaning = _by_meaning(trace)
        self._weighed: Weighed | None = None
        self._found_at: Mapping[Handle, int] = {}
        if trace.found is not None:
            self._weighed = weighed(trace.found.candidates, query.alpha)
            self._found_at = {handle: place for place, handle in enumerate(trace.found.handles)}

    @property
    def candidates(self) -> Sequence[Handle]:
        return self.uncut.handles

    def explanation(self, handle: Handle, *, rank: int | None = None) -> ScoreExplanation:
        """``rank``: where the page has it; else where it is in the final order, which for the cut is that of their score."""
        place = self._place_of[handle]
        mode = self.uncut.mode(place)
        relevance = float(self.uncut.relevance[place])
        recency = self._recency(handle)
        parts, base = self._parts(handle, mode)
        return ScoreExplanation(
            mode=mode,
            by_words=self._words.get(handle),
            by_meaning=self._meaning.get(handle),
            in_pool=handle in self._trace.pool if self._weighed is not None else None,
            parts=parts,
            base=base,
            logistic=self._weighed is not None,
            said_once=self._said_once(handle, self._unjudged.get(handle, relevance)),
            judged=self._trace.judged.get(handle),
            score=relevance,
            rank_by_score=place + 1,
            recency=recency,
            final=relevance if recency is None else recency.blended(relevance),
            rank=rank or self.rank_of.get(handle, place + 1),
        )

    def _parts(self, handle: Handle, mode: SearchMode) -> tuple[tuple[Part, ...], float]:
        if self._weighed is not None:
            row = self._weighed.values[self._found_at[handle]].tolist()
            weights = self._weighed.weights.tolist()
            parts = [
                Part(name=name, value=value, weight=weight)
                for name, value, weight in zip(self._weighed.scale.signals, row, weights, strict=True)
            ]
            if self._weighed.shortfall:
                parts.append(Part(name="doubt", value=self._weighed.shortfall, weight=-DOUBT))
            return tuple(parts), self._weighed.scale.bias
        if mode is SearchMode.SEMANTIC:
            near = self._meaning[handle]
            return (Part(name="meaning", value=near.score, weight=1.0),), 0.0
        return self._words_of(handle), 0.0

    def _words_of(self, handle: Handle) -> tuple[Part, ...]:
        """Each query word's share of the keyword score."""
        matches = self._trace.matches
        assert matches is not None
        place = matches.handles.index(handle)
        row = slice(place, place + 1)
        shares = keyword_parts(
            matches.counts[row].astype(np.float64),
            matches.lengths[row].astype(np.float64),
            matches.statistics.average_length,
        )[0].tolist()
        weights = [inverse_document_frequency(token, matches.statistics) for token in matches.tokens]
        return tuple(
            Part(name=f"word:{token}", value=share, weight=weight / sum(weights))
            for token, share, weight in zip(matches.tokens, shares, weights, strict=True)
        )

    def _said_once(self, handle: Handle, relevance: float) -> float | None:
        if self._weighed is None:
            return None
        chance = float(self._weighed.chances[self._found_at[handle]])
        return relevance if relevance < chance - 1e-8 else None

    def _recency(self, handle: Handle) -> RecencyShare | None:
        weights, times = self._query.recency, self._trace.times.get(handle)
        if weights is None or times is None:
            return None
        created, accessed = (np.array([moment], dtype=np.int64) for moment in times)
        return RecencyShare(
            r=float(recency_scores(created, accessed, weights, self.now)[0]),
            semantic_weight=weights.semantic_weight,
            recency_weight=weights.recency_weight,
            in_proportion=self.uncut.modes is SearchMode.HYBRID,
        )


def _by_words(matches: KeywordCandidates | None) -> dict[Handle, ChannelPlace]:
    ranked = ranked_by_words(matches)
    return {
        handle: ChannelPlace(rank=rank, score=float(score))
        for rank, (handle, score) in enumerate(zip(ranked.handles, ranked.relevance, strict=True), start=1)
    }


def _by_meaning(trace: SearchTrace) -> dict[Handle, ChannelPlace]:
    near = trace.near
    if near is None:
        return {}
    return {
        handle: ChannelPlace(rank=rank, score=float(score))
        for rank, (handle, score) in enumerate(zip(near.handles, similarities(near), strict=True), start=1)
    }
