"""The head of a hybrid ranking, judged once more by a cross-encoder, where one is configured.

Its chance and the second stage's count alike: the new score is the chance whose log-odds lie in the middle of both. So a score
stays a chance, what both doubt stays at the end, and no labels are needed to weigh one against the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.ranking import Ranking, by_relevance
from agent_memory_server.domain.second_stage import DECIMALS
from agent_memory_server.errors import RerankerUnavailable
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.reranker import Reranker
from agent_memory_server.services.embedding import text_to_embed
from agent_memory_server.services.search_trace import SearchTrace

READ_MAX = 30
"""The most likely memories that the cross-encoder reads: what its time grows with."""
_LEAST = 1e-9


class Reranking:
    def __init__(self, *, reranker: Reranker) -> None:
        self._reranker = reranker

    async def reranked(
        self, store: MemoryStore, text: str, ranking: Ranking, trace: SearchTrace | None = None
    ) -> Ranking:
        """The ranking with the head in its new order. Raises RerankerUnavailable, StoreUnavailable."""
        head = ranking.handles[:READ_MAX]
        memories = await store.get_many(head)
        places = [place for place, handle in enumerate(head) if handle in memories]
        if not places:
            return ranking
        chances = await self._reranker.chances(text, [text_to_embed(memories[head[place]]) for place in places])
        judged = np.array(chances, dtype=np.float64)
        if judged.shape != (len(places),) or not np.isfinite(judged).all():
            raise RerankerUnavailable("the reranker answered something other than one number a text")
        if trace is not None:
            trace.judged = {head[place]: float(chance) for place, chance in zip(places, judged, strict=True)}
        relevance = ranking.relevance.copy()
        relevance[places] = between(relevance[places], judged)
        return by_relevance(
            ranking.handles, relevance, ranking.modes, ranking.total, decimals=DECIMALS, times=ranking.times
        )


def between(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chances whose log-odds are the means of two chances' log-odds."""
    return 1.0 / (1.0 + np.exp(-(_log_odds(one) + _log_odds(other)) / 2.0))


def _log_odds(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(chances, _LEAST, 1.0 - _LEAST)
    return np.log(inside / (1.0 - inside))
