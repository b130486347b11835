"""Candidates in order of relevance: what becomes of the two channels' answers before recency and paging.

Relevances are rounded, so that equal texts are equal whichever way and in whichever order they were computed, and equal ones
are ordered by handle: the same store and query give the same ranking, however the store ordered its candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.keyword_ranking import keyword_scores
from agent_memory_server.domain.search import Handle, KeywordCandidates, SearchMode, VectorCandidates

DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates by falling relevance, which is 1 - distance or a score in 0..1. ``total`` may exceed the candidates."""

    handles: Sequence[Handle]
    relevance: NDArray[np.float64]
    modes: Sequence[SearchMode] | SearchMode
    """What the relevance is: one for all, or one a candidate."""
    total: int
    times: Mapping[Handle, tuple[int, int]] = field(default_factory=dict[Handle, tuple[int, int]])
    """(created_at, last_accessed) of those that were read on the way, in microseconds since the epoch."""

    def mode(self, place: int) -> SearchMode:
        return self.modes if isinstance(self.modes, SearchMode) else self.modes[place]

    def taken(self, places: Sequence[int], total: int) -> Ranking:
        """The candidates at these places, in their order."""
        return Ranking(
            handles=[self.handles[place] for place in places],
            relevance=self.relevance[list(places)],
            modes=self.modes if isinstance(self.modes, SearchMode) else [self.modes[place] for place in places],
            total=total,
            times=self.times,
        )


def by_relevance(
    handles: Sequence[Handle],
    relevance: NDArray[np.float64],
    modes: Sequence[SearchMode] | SearchMode,
    total: int,
    *,
    decimals: int = DECIMALS,
    times: Mapping[Handle, tuple[int, int]] | None = None,
) -> Ranking:
    """The ranking of candidates that come in any order."""
    rounded = np.round(relevance, decimals)
    return Ranking(handles, rounded, modes, total, times or {}).taken(_falling(rounded, handles), total)


def best(handles: Sequence[Handle], relevance: NDArray[np.float64], most: int) -> list[Handle]:
    """About the first ``most`` of ``by_relevance``: those that equal the last one are in or out together.

    They are in while that makes a quarter more at most. Which ones are taken so never goes by their handles, which each
    engine makes its own way; only where more than that equal the very best do handles decide.
    """
    rounded = np.round(relevance, DECIMALS)
    if len(rounded) > most > 0:
        last = np.partition(rounded, -most)[-most]
        places: list[int] = np.flatnonzero(rounded >= last).tolist()
        if len(places) > most + most // 4:
            places = np.flatnonzero(rounded > last).tolist() or places
        rounded, handles = rounded[places], [handles[place] for place in places]
    return [handles[place] for place in _falling(rounded, handles)[: most + most // 4]]


def ranked_by_words(matches: KeywordCandidates | None) -> Ranking:
    """Keyword matches alone; ``None``: nothing was looked up."""
    if matches is None:
        return Ranking((), np.zeros(0), SearchMode.KEYWORD, 0)
    return by_relevance(matches.handles, keyword_scores(matches), SearchMode.KEYWORD, len(matches.handles))


def similarities(near: VectorCandidates) -> NDArray[np.float64]:
    """1 - distance of each, -1..1."""
    return np.round(1.0 - near.distances.astype(np.float64), DECIMALS)


def within_distance(ranking: Ranking, distance_max: float | None) -> Ranking:
    """Only the candidates whose 1 - relevance is no more; and ``total`` counts them."""
    if distance_max is None:
        return ranking
    kept: list[int] = np.flatnonzero(np.round(1.0 - ranking.relevance, DECIMALS) <= distance_max).tolist()
    return ranking.taken(kept, len(kept))


def cut(ranking: Ranking, *, score_min: float | None, relative_cut: float | None) -> Ranking:
    """Only the candidates that score enough, in themselves and against the best one; and ``total`` counts them.

    Relevance falls, so what is left is the beginning, or nothing.
    """
    lowest = lowest_score(ranking, score_min=score_min, relative_cut=relative_cut)
    kept = int(np.searchsorted(-ranking.relevance, -lowest, side="right"))
    if kept == len(ranking.handles):
        return ranking
    return ranking.taken(range(kept), kept)


def lowest_score(ranking: Ranking, *, score_min: float | None, relative_cut: float | None) -> float:
    """The least score that passes both cuts; minus infinity without any."""
    lowest = -np.inf if score_min is None else score_min
    if relative_cut is not None and len(ranking.handles):
        lowest = max(lowest, relative_cut * max(0.0, float(ranking.relevance[0])))
    return float(lowest)


@dataclass(frozen=True, slots=True)
class WordsBeside:
    """Keyword scores seen from the vector channel: of its candidates (0 where no word matches), and the best of the others."""

    of_near: NDArray[np.float64]
    handles: Sequence[Handle]
    scores: NDArray[np.float64]


def words_beside(near: VectorCandidates, matches: KeywordCandidates | None, *, outside_max: int) -> WordsBeside:
    """``outside_max`` bounds the others: the best by score are kept."""
    of_near = np.zeros(len(near.handles))
    if matches is None or not len(matches.handles):
        return WordsBeside(of_near, (), np.zeros(0))
    scores = np.round(keyword_scores(matches), DECIMALS)
    place_of = {handle: place for place, handle in enumerate(near.handles)}
    places = np.fromiter((place_of.get(handle, -1) for handle in matches.handles), np.int64, len(scores))
    inside = places >= 0
    of_near[places[inside]] = scores[inside]
    outside: list[int] = np.flatnonzero(~inside).tolist()
    handles = [matches.handles[place] for place in outside]
    best = _falling(scores[outside], handles)[:outside_max]
    return WordsBeside(of_near, [handles[place] for place in best], scores[outside][best])


def _falling(relevance: NDArray[np.float64], handles: Sequence[Handle]) -> list[int]:
    """Places by falling relevance, equal ones by handle. Texts take long to compare: only handles of equals are."""
    order = np.argsort(-relevance, kind="stable")
    ranked = relevance[order]
    same = ranked[1:] == ranked[:-1]
    if same.any():
        tied = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
        places = order[tied]
        equals: list[int] = places.tolist()
        order[tied] = places[np.lexsort((np.asarray([handles[place] for place in equals]), -relevance[places]))]
    found: list[int] = order.tolist()
    return found
