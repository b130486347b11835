"""Finding memories: candidates by vector and by word side by side, one score, recency, a page.

The two channels never gate each other. Words are always looked up, also for a semantic search: that is how a memory whose
vector is still to come (or whose text has nothing to embed) is found by it. What each mode does:

    keyword    by the keyword score. A query without any word is answered by its vector when the embedder is local.
    semantic   by cosine distance, joined by the keyword matches that have no vector at distance 1 - keyword score
               (their hits say ``score_type`` keyword). A query with nothing to embed is answered by its words alone.
    hybrid     by ``hybrid_search``: both channels, the messages around what they found, one calibrated score.

An embedder that fails makes semantic and hybrid raise EmbedderUnavailable: an answer by words alone would look complete.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.ranking import (
    DECIMALS,
    Ranking,
    WordsBeside,
    by_relevance,
    cut,
    ranked_by_words,
    similarities,
    within_distance,
    words_beside,
)
from agent_memory_server.domain.recency import RecencyWeights, blended_scores, recency_scores
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.search import (
    Handle,
    Hit,
    KeywordCandidates,
    Page,
    SearchMode,
    SearchQuery,
    VectorCandidates,
)
from agent_memory_server.domain.tokens import query_tokens
from agent_memory_server.errors import BadRequest, InvalidInput
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.memories import MemoryStore, ReadsTogether
from agent_memory_server.services.context_filling import ContextFilling
from agent_memory_server.services.hybrid_search import KEYWORD_POOL_MAX, HybridSearch
from agent_memory_server.services.reranking import Reranking
from agent_memory_server.services.search_trace import SearchTrace

RERANKED_MAX = 200
"""The first so many by relevance are ordered by recency (or, when equal, by time) as well; pages beyond go by relevance."""
VECTORLESS_CHECKED_MAX = 256
"""Best keyword matches outside the vector channel's candidates whose vectors are looked up."""
_SCORE_DIGITS = 12
_TOLERANCE = 1e-9
_TIMES_SPARE = 12
"""Candidates beyond twice the page whose times are loaded at first: mostly nothing further down can reach the page."""
ACCESS_INTERVAL_MIN_S = 900.0
"""How long after an access the next one counts (contract, section 7.8)."""


class SearchService:
    """Answers searches from one store with one embedder; ``now`` decides about expiry and recency."""

    def __init__(
        self,
        *,
        store: MemoryStore,
        embedder: Embedder,
        now: Callable[[], datetime],
        filling: ContextFilling | None = None,
        reranking: Reranking | None = None,
    ) -> None:
        """``filling``: for searches with a budget of tokens, which are refused without it. ``reranking``: of hybrid searches."""
        self._reranking = reranking
        self._filling = filling
        self._store = store
        # Asked once: looking at a protocol's methods takes as long as a short read.
        self._together = store if isinstance(store, ReadsTogether) else None
        self._embedder = embedder
        self._hybrid = HybridSearch(store=store, embedder=embedder)
        self._now = now

    async def search(self, criteria: MemoryFilter, query: SearchQuery, /, *, trace: SearchTrace | None = None) -> Page:
        """One page. A blank text lists everything that matches the filter, newest first. ``trace`` is told how it came about.

        Raises BadRequest (a distance limit outside semantic mode), InvalidInput (a page too deep), EmbedderUnavailable,
        StoreUnavailable.
        """
        if query.distance_max is not None and query.mode is not SearchMode.SEMANTIC:
            raise BadRequest("distance_threshold is only supported for semantic search mode")
        now = self._now()
        if trace is not None:
            trace.now = now
        page = await self._page(criteria, query, now, trace)
        if query.tokens_max is None:
            return page
        if self._filling is None:
            raise BadRequest("max_tokens is not supported here")
        return await self._filling.filled(criteria, page, tokens_max=query.tokens_max, now=now)

    async def _page(self, criteria: MemoryFilter, query: SearchQuery, now: datetime, trace: SearchTrace | None) -> Page:
        if not query.text.strip():
            return await self._listed(criteria, query, now)
        if query.offset + query.limit > LIMITS.search_window_max:
            raise InvalidInput(
                f"offset + limit of a ranked search must not be more than {LIMITS.search_window_max}",
                field=("body", "offset"),
            )
        together = None if self._together is None else await self._together.as_of_now(criteria)
        return await self._over(together or self._store)._found(criteria, query, now, trace)

    def over(self, store: MemoryStore, *, now: Callable[[], datetime], filling: ContextFilling) -> SearchService:
        """The same search in a store that reads as of one moment already."""
        found = copy(self._over(store))
        found._together, found._now, found._filling = None, now, filling
        return found

    def _over(self, store: MemoryStore) -> SearchService:
        """The same search in another store."""
        if store is self._store:
            return self
        found = copy(self)
        found._store, found._hybrid = store, self._hybrid.over(store)
        return found

    async def _found(
        self, criteria: MemoryFilter, query: SearchQuery, now: datetime, trace: SearchTrace | None
    ) -> Page:
        ranking = await self._ranked(criteria, query, now, trace)
        if self._reranking is not None and query.mode is SearchMode.HYBRID:
            if trace is not None:
                trace.unjudged = ranking
            ranking = await self._reranking.reranked(self._store, query.text, ranking, trace)
        if query.score_min is not None or query.relative_cut is not None:
            if trace is not None:
                trace.uncut = ranking
            ranking = cut(ranking, score_min=query.score_min, relative_cut=query.relative_cut)
        if trace is not None:
            await self._note_order(ranking, query, now, trace)
        hits = await self._page_of(ranking, query, now)
        return Page(hits=hits, total=ranking.total, next_offset=_next_offset(query, ranking.total))

    async def note_access(self, page: Page, /) -> int:
        """Record that these memories were shown: at most once in ``ACCESS_INTERVAL_MIN_S`` each. To be run after answering."""
        at = self._now()
        latest = at - timedelta(seconds=ACCESS_INTERVAL_MIN_S)
        # What was read a moment ago says which of them count already: most searches then write nothing.
        keys = [hit.memory.key for hit in page.hits if hit.memory.last_accessed <= latest]
        if not keys:
            return 0
        return await self._store.touch(keys, at=at, interval_min_s=ACCESS_INTERVAL_MIN_S)

    async def _listed(self, criteria: MemoryFilter, query: SearchQuery, now: datetime) -> Page:
        listing = await self._store.list(criteria, now=now, limit=query.limit, offset=query.offset)
        hits = tuple(Hit(memory=memory, distance=0.0, score=None, score_type=None) for memory in listing.memories)
        end = query.offset + len(hits)
        return Page(hits=hits, total=listing.total, next_offset=end if hits and end < listing.total else None)

    async def _note_order(self, ranking: Ranking, query: SearchQuery, now: datetime, trace: SearchTrace) -> None:
        """The final order of all candidates, which a page alone does not need."""
        trace.ranking = ranking
        trace.uncut = trace.uncut or ranking
        size = min(RERANKED_MAX, len(ranking.handles))
        order, groups = await self._head(ranking, size, size, query.recency, now)
        keys = await self._store.keys(ranking.handles[:size])
        head = sorted(
            (group, _identity(keys[ranking.handles[place]]), place)
            for group, place in zip(groups.tolist(), order.tolist(), strict=True)
            if ranking.handles[place] in keys
        )
        trace.order = [*(place for _, _, place in head), *range(size, len(ranking.handles))]
        trace.times = await self._store.times(ranking.handles[:size])

    async def _ranked(
        self, criteria: MemoryFilter, query: SearchQuery, now: datetime, trace: SearchTrace | None
    ) -> Ranking:
        tokens = query_tokens(query.text)
        match query.mode:
            case SearchMode.KEYWORD:
                if tokens or not self._embedder.is_local:
                    matches = await self._matches(criteria, tokens, now, LIMITS.search_window_max)
                    if trace is not None:
                        trace.matches = matches
                    return ranked_by_words(matches)
                return await self._by_meaning(criteria, query, (), now, trace)
            case SearchMode.SEMANTIC:
                return await self._by_meaning(criteria, query, tokens, now, trace)
            case SearchMode.HYBRID:
                return await self._hybrid.ranked(criteria, query.text, alpha=query.alpha, now=now, trace=trace)

    async def _by_meaning(
        self,
        criteria: MemoryFilter,
        query: SearchQuery,
        tokens: tuple[str, ...],
        now: datetime,
        trace: SearchTrace | None,
    ) -> Ranking:
        matches, (vector,) = await self._side_by_side(criteria, query.text, tokens, now)
        if trace is not None:
            trace.matches, trace.vector = matches, vector
        if vector is None:
            return within_distance(ranked_by_words(matches), query.distance_max)
        # What is cut somewhere is looked at as a whole, to say how many pass.
        bounded = not (query.distance_max is query.score_min is query.relative_cut is None)
        near = await self._store.nearest(
            criteria,
            vector=vector,
            model=self._embedder.model,
            now=now,
            limit=LIMITS.search_window_max if bounded else max(query.offset + query.limit, RERANKED_MAX),
            distance_max=query.distance_max,
        )
        if trace is not None:
            trace.near = near
        if _all_have_vectors(criteria, near, matches):
            matches = None
        others = words_beside(near, matches, outside_max=VECTORLESS_CHECKED_MAX)
        complete = query.distance_max is None and len(near.handles) >= near.total
        vectors = await self._vectors_of(others, complete=complete)
        vectorless = [place for place, handle in enumerate(others.handles) if handle not in vectors]
        words = within_distance(
            Ranking(
                handles=[others.handles[place] for place in vectorless],
                relevance=others.scores[vectorless],
                modes=SearchMode.KEYWORD,
                total=len(vectorless),
            ),
            query.distance_max,
        )
        total = (len(near.handles) if bounded else near.total) + words.total
        if not words.handles:
            return Ranking(near.handles, similarities(near), SearchMode.SEMANTIC, total)
        return by_relevance(
            [*near.handles, *words.handles],
            np.concatenate([similarities(near), words.relevance]),
            [SearchMode.SEMANTIC] * len(near.handles) + [SearchMode.KEYWORD] * len(words.handles),
            total,
        )

    async def _matches(
        self, criteria: MemoryFilter, tokens: tuple[str, ...], now: datetime, limit: int
    ) -> KeywordCandidates | None:
        return await self._store.holding(criteria, tokens=tokens, now=now, limit=limit) if tokens else None

    async def _side_by_side(
        self, criteria: MemoryFilter, text: str, tokens: tuple[str, ...], now: datetime
    ) -> tuple[KeywordCandidates | None, Sequence[Vector | None]]:
        """Keyword matches and the query's vector; a remote embedder and the store work at the same time."""
        if self._embedder.is_local:
            matches = await self._matches(criteria, tokens, now, KEYWORD_POOL_MAX)
            return matches, await self._embedder.embed([text], is_query=True)
        return await asyncio.gather(
            self._matches(criteria, tokens, now, KEYWORD_POOL_MAX), self._embedder.embed([text], is_query=True)
        )

    async def _vectors_of(self, others: WordsBeside, *, complete: bool) -> dict[Handle, Vector]:
        """Vectors of candidates outside the vector channel's; ``complete``: it listed every vector, so they have none."""
        if complete or not others.handles:
            return {}
        return dict(await self._store.vectors(others.handles, model=self._embedder.model))

    async def _page_of(self, ranking: Ranking, query: SearchQuery, now: datetime) -> tuple[Hit, ...]:
        start, end = query.offset, min(query.offset + query.limit, len(ranking.handles))
        if start >= end:
            return ()
        head_end = min(RERANKED_MAX, len(ranking.handles))
        if start >= head_end:
            return await self._loaded(ranking, np.arange(start, end), np.arange(start, end), 0, end - start)
        order, groups = await self._head(ranking, head_end, end, query.recency, now)
        beyond = np.arange(head_end, max(head_end, end))
        order = np.concatenate([order, beyond])
        groups = np.concatenate([groups, RERANKED_MAX + beyond])
        return await self._loaded(ranking, order, groups, start, min(end, len(order)))

    async def _head(
        self, ranking: Ranking, size: int, wanted: int, weights: RecencyWeights | None, now: datetime
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The most relevant places in final order, by score and then newest first; and group numbers, which those share that
        are equal in both. Places whose memory was deleted meanwhile are left out.

        The first ``wanted`` are right, and whole with those that equal the last of them; times that cannot change them are
        not loaded.
        """
        begun = min(size, 2 * wanted + _TIMES_SPARE)
        times = await self._times(ranking, 0, begun)
        places, created, scores = _scored(ranking, begun, times, weights, now)
        if begun < size:
            last = np.partition(scores, -wanted)[-wanted] if len(scores) >= wanted else -np.inf
            reaching = np.flatnonzero(_highest(ranking, size, weights) >= last - _TOLERANCE)
            end = int(reaching[-1]) + 1 if len(reaching) else 0
            if end > begun:
                times |= await self._times(ranking, begun, end)
                places, created, scores = _scored(ranking, end, times, weights, now)
        if not len(places):
            return places, places
        order = np.lexsort((-created, -scores))
        scores, created = scores[order], created[order]
        differs = (scores[1:] != scores[:-1]) | (created[1:] != created[:-1])
        return places[order], np.concatenate([[0], np.cumsum(differs)])

    async def _times(self, ranking: Ranking, start: int, end: int) -> dict[Handle, tuple[int, int]]:
        """Times of these candidates; only what was not read on the way is asked for."""
        handles = ranking.handles[start:end]
        known = {handle: ranking.times[handle] for handle in handles if handle in ranking.times}
        missing = [handle for handle in handles if handle not in known]
        return known | dict(await self._store.times(missing)) if missing else known

    async def _loaded(
        self, ranking: Ranking, order: NDArray[np.int64], groups: NDArray[np.int64], start: int, end: int
    ) -> tuple[Hit, ...]:
        """The hits from ``start`` to ``end`` of the order. Within a group ids decide, so groups at the edges are loaded whole."""
        if start >= end:
            return ()
        group_of: list[int] = groups.tolist()
        first, last = bisect_left(group_of, group_of[start]), bisect_right(group_of, group_of[end - 1])
        places: list[int] = order[first:last].tolist()
        memories = await self._store.get_many([ranking.handles[place] for place in places])
        found = [
            (group, _identity(memories[ranking.handles[place]].key), place)
            for group, place in zip(group_of[first:last], places, strict=True)
            if ranking.handles[place] in memories
        ]
        found.sort()
        return tuple(
            _hit(memories[ranking.handles[place]], ranking, place) for _, _, place in found[start - first : end - first]
        )


def _scored(
    ranking: Ranking,
    end: int,
    times: Mapping[Handle, tuple[int, int]],
    weights: RecencyWeights | None,
    now: datetime,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Of the first ``end`` places, those that are still there: place, time of creation, and final score."""
    held = [(place, *times[handle]) for place, handle in enumerate(ranking.handles[:end]) if handle in times]
    places, created, accessed = np.array(held, dtype=np.int64).reshape(len(held), 3).T
    scores = ranking.relevance[places]
    if weights is not None:
        recency = recency_scores(created, accessed, weights, now)
        scores = blended_scores(scores, recency, weights, in_proportion=_is_chance(ranking))
    return places, created, _rounded(scores)


def _rounded(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """To significant digits: chances are small, and what lies within a rounding step would change places as time goes by."""
    mantissas, exponents = np.frexp(scores)
    return np.ldexp(np.round(mantissas, _SCORE_DIGITS), exponents)


def _highest(ranking: Ranking, size: int, weights: RecencyWeights | None) -> NDArray[np.float64]:
    """What each of the first could score at most, whatever its times."""
    relevance = ranking.relevance[:size]
    if weights is None:
        return relevance
    most = np.full(len(relevance), 1.0 if weights.recency_weight > 0 else 0.0)
    return blended_scores(relevance, most, weights, in_proportion=_is_chance(ranking))


def _is_chance(ranking: Ranking) -> bool:
    return ranking.modes is SearchMode.HYBRID


def _all_have_vectors(criteria: MemoryFilter, near: VectorCandidates, matches: KeywordCandidates | None) -> bool:
    """Whether no memory can lack a vector: where nothing but the scope narrows, both channels counted the same memories."""
    if matches is None:
        return True
    return criteria.is_scope_only and not criteria.include_superseded and near.total >= matches.statistics.documents


def _identity(key: MemoryKey) -> tuple[str, str, str]:
    return key.id, key.namespace or "", key.user_id or ""


def _hit(memory: Memory, ranking: Ranking, place: int) -> Hit:
    relevance = float(ranking.relevance[place])
    return Hit(
        memory=memory,
        distance=min(2.0, max(0.0, round(1.0 - relevance, DECIMALS))),
        score=min(1.0, max(0.0, relevance)),
        score_type=ranking.mode(place),
        handle=ranking.handles[place],
    )


def _next_offset(query: SearchQuery, total: int) -> int | None:
    end = query.offset + query.limit
    return end if end < min(total, LIMITS.search_window_max) else None
