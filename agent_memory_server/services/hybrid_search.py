"""Hybrid search: candidates of both channels, a pool with each message's neighbours, and the second stage's score for all.

Two stages. The first is what the store finds by words and by meaning. The best of each channel are the *seeds*; they and the
messages around them are the *pool*, whose sessions, speakers and times are read. Everything that was found gets a score of
``domain.second_stage``; what lies outside the pool is scored by its own words and meaning alone. So the cost of the second
stage is bounded by the number of seeds, whatever the store holds, and the score is the same whatever the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.keyword_ranking import (
    inverse_document_frequency,
    keyword_scores,
    parts_of,
    word_weights,
)
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.query_dates import date_fit, query_windows
from agent_memory_server.domain.ranking import Ranking, best, by_relevance, ranked_by_words, similarities
from agent_memory_server.domain.search import Handle, KeywordCandidates, SearchMode, VectorCandidates
from agent_memory_server.domain.second_stage import (
    DECIMALS,
    WINDOW,
    Candidates,
    Passage,
    Senses,
    chained,
    in_question,
    relevances,
)
from agent_memory_server.domain.times_told import asks_when, tells_when
from agent_memory_server.domain.token_vectors import nearest_tokens
from agent_memory_server.domain.tokens import index_tokens, query_tokens, telling_spans
from agent_memory_server.ports.embedder import Embedder, EmbedsTokens, QueryTokens, WeighsWords, WeightedSpan
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.services.search_trace import Found, SearchTrace

VECTOR_POOL_MAX = 1_000
"""Candidates of the vector channel, whatever the page, so that all pages are cut from one ranking."""
KEYWORD_POOL_MAX = 2_000
"""Candidates of the keyword channel beside the vector channel."""
SEEDS_MAX = 32
"""The best of each channel whose neighbours, speakers and times are looked at."""
SEEDS_BY_TOKENS_MAX = 48
"""The same where they are compared word by word as well: that finds among more of them what both channels ranked low."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query as the embedder sees it."""

    text: str
    vector: Vector | None
    tokens: QueryTokens | None = None
    spans: tuple[WeightedSpan, ...] = ()
    terms_of: tuple[tuple[str, ...], ...] = ()
    """The index terms of each span."""


class HybridSearch:
    """Ranks by ``domain.second_stage``; with an embedder that can, the query's words are weighed by their rarity."""

    def __init__(self, *, store: MemoryStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._weighing = embedder if isinstance(embedder, WeighsWords) else None
        self._with_tokens = embedder if isinstance(embedder, EmbedsTokens) else None

    def over(self, store: MemoryStore) -> HybridSearch:
        """The same search in another store."""
        found = copy(self)
        found._store = store
        return found

    async def ranked(
        self, criteria: MemoryFilter, text: str, *, alpha: float, now: datetime, trace: SearchTrace | None = None
    ) -> Ranking:
        """By falling relevance. A query with nothing to embed is answered by its words alone.

        Raises EmbedderUnavailable, StoreUnavailable.
        """
        matches, asked = await self._channels(criteria, text, now)
        if trace is not None:
            trace.matches, trace.vector = matches, asked.vector
        if asked.vector is None:
            ranking = ranked_by_words(matches)
            return Ranking(ranking.handles, ranking.relevance, SearchMode.HYBRID, ranking.total)
        found = await self._found(criteria, asked, asked.vector, matches, now, trace)
        relevance = relevances(found.candidates, alpha)
        return by_relevance(
            found.handles, relevance, SearchMode.HYBRID, found.total, decimals=DECIMALS, times=found.times
        )

    async def candidates(self, criteria: MemoryFilter, text: str, *, now: datetime) -> Found | None:
        """What ``ranked`` scores, for whoever fits or explains the score; None when there is nothing to embed."""
        matches, asked = await self._channels(criteria, text, now)
        return None if asked.vector is None else await self._found(criteria, asked, asked.vector, matches, now)

    async def _found(
        self,
        criteria: MemoryFilter,
        asked: _Asked,
        vector: Vector,
        matches: KeywordCandidates | None,
        now: datetime,
        trace: SearchTrace | None = None,
    ) -> Found:
        text = asked.text
        near = await self._store.nearest(
            criteria, vector=vector, model=self._embedder.model, now=now, limit=VECTOR_POOL_MAX
        )
        words = None if matches is None else _Words.of(matches)
        most = SEEDS_MAX if asked.tokens is None else SEEDS_BY_TOKENS_MAX
        seeds = _seeds(near, matches, words, most)
        pool = await self._store.pool(criteria, seeds, span=WINDOW, now=now)
        passages = pool.passages
        handles = list(dict.fromkeys((*near.handles, *(() if matches is None else matches.handles), *passages)))
        place_of = {handle: place for place, handle in enumerate(handles)}
        meaning, has_vector = await self._meaning(handles, near, seeds, vector)
        parts, word_weights = _scattered(place_of, matches, words)
        before, after = chained(place_of, pool.around)
        tokens = query_tokens(text) if matches is None else matches.tokens
        about = _about_passages(place_of, passages, tokens, text, now)
        is_name = np.array([token in about.name_terms for token in tokens], dtype=np.bool_)[: parts.shape[1]]
        person, of_another = about.person, about.of_another
        if is_name.any():
            mentions = (parts[:, is_name] > 0).any(axis=1)
            person, of_another = np.maximum(person, about.is_unnamed & mentions), of_another & ~mentions
        candidates = Candidates(
            parts=parts,
            word_weights=word_weights,
            is_name=is_name,
            meaning=meaning,
            has_vector=has_vector,
            before=before,
            after=after,
            conversation=about.conversation,
            person=person,
            of_another=of_another,
            date=about.date,
            question=about.question,
            time=about.time,
            told=_told(place_of, passages),
            senses=await self._senses(asked, place_of, passages, about.name_terms),
        )
        times = {handle: (each.created_us, each.accessed_us) for handle, each in passages.items()}
        found = Found(handles, candidates, len(handles), times)
        if trace is not None:
            trace.near, trace.found, trace.pool = near, found, frozenset(passages)
        return found

    async def _channels(
        self, criteria: MemoryFilter, text: str, now: datetime
    ) -> tuple[KeywordCandidates | None, _Asked]:
        """Keyword matches and the query's vector; a remote embedder and the store work at the same time."""
        tokens = query_tokens(text)
        if self._weighing is not None or self._with_tokens is not None:
            matches = await self._matches(criteria, tokens, now)
            return matches, await self._weighted(text, matches)
        if self._embedder.is_local:
            matches = await self._matches(criteria, tokens, now)
            (vector,) = await self._embedder.embed([text], is_query=True)
        else:
            matches, (vector,) = await asyncio.gather(
                self._matches(criteria, tokens, now), self._embedder.embed([text], is_query=True)
            )
        return matches, _Asked(text, vector)

    async def _matches(
        self, criteria: MemoryFilter, tokens: tuple[str, ...], now: datetime
    ) -> KeywordCandidates | None:
        if not tokens:
            return None
        return await self._store.holding(criteria, tokens=tokens, now=now, limit=KEYWORD_POOL_MAX)

    async def _weighted(self, text: str, matches: KeywordCandidates | None) -> _Asked:
        """The query's vector with each word as heavy as it is rare in the caller's scope; stop words count for nothing."""
        spans: list[WeightedSpan] = []
        terms_of: list[tuple[str, ...]] = []
        if matches is not None:
            rarity = {token: inverse_document_frequency(token, matches.statistics) for token in matches.tokens}
            for start, end, terms in telling_spans(text):
                spans.append(WeightedSpan(start, end, max(rarity.get(term, 0.0) for term in terms)))
                terms_of.append(terms)
        vector: Vector | None = None
        tokens: QueryTokens | None = None
        if spans and self._with_tokens is not None:
            vector, tokens = await self._with_tokens.embed_query_tokens(text, spans)
        elif spans and self._weighing is not None:
            vector = await self._weighing.embed_weighted(text, spans)
        if vector is None:
            (vector,) = await self._embedder.embed([text], is_query=True)
        return _Asked(text, vector, tokens, tuple(spans), tuple(terms_of))

    async def _senses(
        self, asked: _Asked, place_of: Mapping[Handle, int], passages: Mapping[Handle, Passage], names: frozenset[str]
    ) -> Senses | None:
        """How near the pool comes to each token of the query; None where nothing can be compared."""
        tokens = asked.tokens
        if tokens is None or not passages:
            return None
        held = await self._store.token_vectors(list(passages), model=self._embedder.model)
        # The pool's order, whatever the store's: rankings must not depend on it.
        compared = [handle for handle in passages if handle in held]
        if not compared:
            return None
        is_name = np.array([not names.isdisjoint(terms) for terms in asked.terms_of], dtype=np.bool_)
        weights = np.array([span.weight for span in asked.spans])
        return Senses(
            places=np.array([place_of[handle] for handle in compared], dtype=np.int64),
            parts=nearest_tokens(tokens.vectors, [held[handle] for handle in compared]),
            weights=weights[tokens.spans],
            is_name=is_name[tokens.spans],
        )

    async def _meaning(
        self, handles: Sequence[Handle], near: VectorCandidates, seeds: Sequence[Handle], vector: Vector
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Cosines of all candidates. Beyond the vector channel they are computed for the seeds only: the others' are below the
        last one of the channel, which stands for them."""
        known = len(near.handles)
        meaning = np.zeros(len(handles))
        has_vector = np.zeros(len(handles), dtype=np.bool_)
        meaning[:known] = similarities(near)
        has_vector[:known] = True
        if known >= near.total:
            return meaning, has_vector
        wanted = frozenset(seeds)
        places = [place for place in range(known, len(handles)) if handles[place] in wanted]
        stored = await self._store.vectors([handles[place] for place in places], model=self._embedder.model)
        held = [place for place in places if handles[place] in stored]
        if held:
            rows = np.stack([stored[handles[place]] for place in held]).astype(np.float64)
            meaning[held] = np.round(np.einsum("ij,j->i", rows, vector.astype(np.float64)), 6)
            has_vector[held] = True
        beyond = np.ones(len(handles), dtype=np.bool_)
        beyond[:known] = False
        beyond[places] = False
        meaning[beyond], has_vector[beyond] = meaning[known - 1] if known else 0.0, True
        return meaning, has_vector


@dataclass(frozen=True, slots=True)
class _Words:
    """What each text earns of each query word, the words' weights, and the score that they make."""

    parts: NDArray[np.float64]
    weights: NDArray[np.float64]
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, matches: KeywordCandidates) -> _Words:
        parts, weights = parts_of(matches), word_weights(matches)
        return cls(parts, weights, keyword_scores(matches, parts, weights))


@dataclass(frozen=True, slots=True)
class _About:
    conversation: NDArray[np.int64]
    person: NDArray[np.float64]
    of_another: NDArray[np.bool_]
    is_unnamed: NDArray[np.bool_]
    date: NDArray[np.float64]
    question: NDArray[np.float64]
    time: NDArray[np.float64]
    name_terms: frozenset[str]
    """The words of all speakers' names."""


def _seeds(near: VectorCandidates, matches: KeywordCandidates | None, words: _Words | None, most: int) -> list[Handle]:
    """The best of each channel, each once: the same on every engine, given the same candidates."""
    seeds: dict[Handle, None] = dict.fromkeys(best(near.handles, similarities(near), most))
    if matches is not None and words is not None and len(matches.handles):
        seeds.update(dict.fromkeys(best(matches.handles, words.scores, most)))
    return list(seeds)


def _scattered(
    place_of: Mapping[Handle, int], matches: KeywordCandidates | None, words: _Words | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Term parts of all candidates and the words' weights; nothing where no word was looked up."""
    if matches is None or words is None:
        return np.zeros((len(place_of), 0)), np.zeros(0)
    parts = np.zeros((len(place_of), len(matches.tokens)))
    if len(matches.handles):
        parts[[place_of[handle] for handle in matches.handles]] = words.parts
    frequency = matches.statistics.document_frequency
    is_written = np.array([frequency.get(token, 0) > 0 for token in matches.tokens])
    return parts, in_question(words.weights, is_written)


def _about_passages(
    place_of: Mapping[Handle, int],
    passages: Mapping[Handle, Passage],
    tokens: Sequence[str],
    text: str,
    now: datetime,
) -> _About:
    """What the pool's passages say; candidates outside the pool get nothing."""
    size, wanted, found = len(place_of), frozenset(tokens), passages.values()
    terms_of = {name: index_tokens(name) for name in {each.name for each in found} if name is not None}
    about = _About(
        np.full(size, -1, dtype=np.int64),
        np.zeros(size),
        np.zeros(size, dtype=np.bool_),
        np.zeros(size, dtype=np.bool_),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        frozenset(term for terms in terms_of.values() for term in terms),
    )
    if not passages:
        return about
    places = [place_of[handle] for handle in passages]
    about.is_unnamed[places] = [each.name is None for each in found]
    about.question[places] = [each.is_question for each in found]
    if asks_when(text):
        about.time[places] = [each.event_us is not None or tells_when(each.opening) for each in found]
    if terms_of:
        named = {name for name, terms in terms_of.items() if not wanted.isdisjoint(terms)}
        about.person[places] = [each.name in named for each in found]
        if named:
            about.of_another[places] = [each.name is not None and each.name not in named for each in found]
    numbers: dict[Hashable, int] = {}
    about.conversation[places] = [
        numbers.setdefault(each.session, len(numbers)) if each.is_message and each.session is not None else -1
        for each in found
    ]
    windows = query_windows(text, now)
    if windows:
        moments = [each.created_us if each.event_us is None else each.event_us for each in found]
        about.date[places] = date_fit(windows, np.array(moments, dtype=np.int64))
    return about


def _told(
    place_of: Mapping[Handle, int], passages: Mapping[Handle, Passage]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the pool's memories came from which of its messages."""
    derived = [(handle, passage) for handle, passage in passages.items() if passage.sources]
    if not derived:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    said = {(each.session, each.id): place_of[handle] for handle, each in passages.items() if each.is_message}
    pairs = [
        (place_of[handle], said[(passage.session, source)])
        for handle, passage in derived
        for source in passage.sources
        if (passage.session, source) in said
    ]
    found = np.array(pairs, dtype=np.int64).reshape(len(pairs), 2)
    return found[:, 0], found[:, 1]
